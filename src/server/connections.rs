//! The tasks of one worker's connections. A task that fails takes down nobody else, and its words are not logged: they may
//! quote what was at hand.

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::task::JoinSet;
use tracing::error;

/// The connections of one worker.
#[derive(Debug)]
pub(super) struct Connections {
    tasks: JoinSet<()>,
    /// How many there are and how many are on their way here; counted up by whoever sends them.
    load: Arc<AtomicUsize>,
}

impl Connections {
    /// None yet.
    pub fn new(load: Arc<AtomicUsize>) -> Self {
        Self { tasks: JoinSet::new(), load }
    }

    /// Serves one more.
    pub fn start(&mut self, connection: impl Future<Output = ()> + Send + 'static) {
        self.tasks.spawn(connection);
    }

    /// Waits until one has ended, by itself or by a panic; answers `false` when there is none.
    pub async fn one_ended(&mut self) -> bool {
        let Some(ended) = self.tasks.join_next().await else { return false };
        self.load.fetch_sub(1, Ordering::Relaxed);
        if ended.is_err() {
            error!("a connection's task failed; the others go on");
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::{TcpListener, TcpStream};

    use super::*;

    /// Answers every byte, and panics at a `!`.
    async fn answer(mut stream: TcpStream) {
        while let Ok(byte) = stream.read_u8().await {
            assert_ne!(byte, b'!', "an error of ours");
            stream.write_u8(byte).await.unwrap();
        }
    }

    #[tokio::test]
    async fn a_connection_that_panics_is_closed_and_the_others_go_on() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let load = Arc::new(AtomicUsize::new(3));
        let mut connections = Connections::new(Arc::clone(&load));
        let mut clients = Vec::new();
        for _ in 0..3 {
            clients.push(TcpStream::connect(listener.local_addr().unwrap()).await.unwrap());
            connections.start(answer(listener.accept().await.unwrap().0));
        }
        clients[1].write_u8(b'!').await.unwrap();
        assert!(connections.one_ended().await);
        assert_eq!(load.load(Ordering::Relaxed), 2);
        assert!(clients[1].read_u8().await.is_err(), "it is closed");
        for client in [0, 2] {
            clients[client].write_u8(b'a').await.unwrap();
            assert_eq!(clients[client].read_u8().await.unwrap(), b'a');
        }
        drop(clients);
        while connections.one_ended().await {}
        assert_eq!(load.load(Ordering::Relaxed), 0);
    }
}
