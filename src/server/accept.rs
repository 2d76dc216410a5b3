//! Accepts connections: one listener per address hands each one to the least loaded worker, a thread with a runtime of
//! its own. A connection never moves, so its commands run without crossing threads.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use socket2::{SockRef, TcpKeepalive};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tracing::{debug, error, warn};

use super::serve::{self, Signals};
use crate::app::{App, Client, Full, Seat};

/// Connections that wait for a worker to take them; the kernel's backlog holds more.
const HANDOVER_MAX: usize = 1_024;

/// The pause after the process ran out of file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

const FULL: &str = "-ERR max number of clients reached\r\n";
const FULL_FOR_ADDRESS: &str = "-ERR max number of clients of this address reached\r\n";

/// Redis's words for protected mode (networking.c, `acceptCommonHandler`), with what applies here.
const PROTECTED: &str = "-DENIED Sojourn is running in protected mode because protected mode is enabled and no password is set for the \
    default user. In this mode connections are only accepted from the loopback interface. If you want to connect from external computers, \
    set a password with 'requirepass', or disable protected mode with 'protected-mode no' if the network is trusted.\r\n";

/// A connection and the seat that it takes.
type Guest = (std::net::TcpStream, Seat);

/// One worker's end of the handover.
#[derive(Clone, Debug)]
struct Worker {
    connections: mpsc::Sender<Guest>,
    load: Arc<AtomicUsize>,
}

/// The workers.
#[derive(Debug)]
pub struct Workers {
    workers: Vec<Worker>,
    threads: Vec<std::thread::JoinHandle<()>>,
}

impl Workers {
    /// Starts one worker per core.
    ///
    /// # Errors
    /// When a thread or its runtime cannot be made.
    pub fn start(app: &Arc<App>, stopping: &watch::Receiver<bool>) -> std::io::Result<Self> {
        let count = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        let mut started = Self { workers: Vec::new(), threads: Vec::new() };
        for number in 0..count {
            let (connections, handed) = mpsc::channel(HANDOVER_MAX);
            let load = Arc::new(AtomicUsize::new(0));
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
            let work = work(Arc::clone(app), handed, Arc::clone(&load), stopping.clone());
            let thread = std::thread::Builder::new().name(format!("worker-{number}"));
            started.threads.push(thread.spawn(move || runtime.block_on(work))?);
            started.workers.push(Worker { connections, load });
        }
        Ok(started)
    }

    /// Hands a connection to the worker with the fewest.
    async fn hand_over(&self, stream: TcpStream, seat: Seat) {
        let Ok(stream) = stream.into_std() else { return };
        if let Some(worker) = self.workers.iter().min_by_key(|worker| worker.load.load(Ordering::Relaxed)) {
            worker.load.fetch_add(1, Ordering::Relaxed);
            // A worker ends only when the server stops; the connection is closed then.
            let _ = worker.connections.send((stream, seat)).await;
        }
    }

    /// Waits until all connections have ended.
    pub fn join(self) {
        drop(self.workers);
        for thread in self.threads {
            if thread.join().is_err() {
                error!("a worker thread panicked");
            }
        }
    }
}

/// A worker: serves what it is handed, until the server stops and its connections have ended.
async fn work(
    app: Arc<App>,
    mut handed: mpsc::Receiver<Guest>,
    load: Arc<AtomicUsize>,
    stopping: watch::Receiver<bool>,
) {
    let mut stopped = stopping.clone();
    let mut tasks = JoinSet::new();
    let (relay, settlements) = watch::channel(0);
    tokio::spawn(relay_settlements(app.write_through.settlements(), relay));
    loop {
        tokio::select! {
            guest = handed.recv() => {
                let Some((stream, seat)) = guest else { break };
                let (app, load) = (Arc::clone(&app), Arc::clone(&load));
                let signals = Signals { settlements: settlements.clone(), stopping: stopping.clone() };
                tasks.spawn(async move {
                    welcome(app, stream, signals).await;
                    drop(seat);
                    load.fetch_sub(1, Ordering::Relaxed);
                });
            }
            Some(ended) = tasks.join_next() => {
                if let Err(error) = ended {
                    load.fetch_sub(1, Ordering::Relaxed);
                    error!(%error, "a connection's task failed; the others go on");
                }
            }
            _ = stopped.wait_for(|stopping| *stopping) => break,
        }
    }
    while tasks.join_next().await.is_some() {}
}

/// Tells this worker's connections of settlements. Waking a task of another thread costs a system call each; so the
/// writer wakes one task of each worker, which wakes the connections of its own thread.
async fn relay_settlements(mut settlements: watch::Receiver<u64>, relay: watch::Sender<u64>) {
    while settlements.changed().await.is_ok() {
        let settled = *settlements.borrow_and_update();
        relay.send_replace(settled);
    }
}

/// Makes a client of a connection and serves it.
async fn welcome(app: Arc<App>, stream: std::net::TcpStream, signals: Signals) {
    let served = async {
        let stream = TcpStream::from_std(stream)?;
        stream.set_nodelay(true)?;
        keep_alive(&app, &stream)?;
        let info = app.clients.add(stream.peer_addr()?, stream.local_addr()?);
        let id = info.id;
        app.metrics.connections_received.increment();
        app.metrics.connected_clients.set(app.clients.count() as u64);
        let _registered = Registered { app: Arc::clone(&app), id };
        let client = Client::new(info, !app.needs_password());
        serve::serve(Arc::clone(&app), client, stream, signals).await;
        Ok::<(), std::io::Error>(())
    };
    if let Err(error) = served.await {
        debug!(%error, "a connection ended before it was served");
    }
}

/// Forgets the client when its connection ends, also by a panic.
struct Registered {
    app: Arc<App>,
    id: u64,
}

impl Drop for Registered {
    fn drop(&mut self) {
        self.app.clients.remove(self.id);
        self.app.metrics.connected_clients.set(self.app.clients.count() as u64);
    }
}

fn keep_alive(app: &App, stream: &TcpStream) -> std::io::Result<()> {
    let Some(interval) = app.tcp_keepalive() else { return Ok(()) };
    SockRef::from(stream).set_tcp_keepalive(&TcpKeepalive::new().with_time(interval))
}

/// Accepts connections on one address until the server stops.
pub async fn accept(listener: TcpListener, app: Arc<App>, workers: Arc<Workers>, mut stopping: watch::Receiver<bool>) {
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            _ = stopping.wait_for(|stopping| *stopping) => return,
        };
        match accepted {
            Ok((stream, peer)) => match admit(&app, peer) {
                Ok(seat) => workers.hand_over(stream, seat).await,
                Err(line) => {
                    app.metrics.connections_rejected.increment();
                    tokio::spawn(serve::refuse(stream, line));
                }
            },
            Err(error) => {
                warn!(%error, "a connection could not be accepted");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

/// A seat for a connection from this peer, or what it is told instead.
fn admit(app: &App, peer: SocketAddr) -> Result<Seat, &'static str> {
    let seat = app.take_seat(peer.ip()).map_err(|full| match full {
        Full::Everywhere => FULL,
        Full::ForAddress => FULL_FOR_ADDRESS,
    })?;
    if app.is_protected() && !is_loopback(peer.ip()) { Err(PROTECTED) } else { Ok(seat) }
}

/// An IPv4 address may come mapped into IPv6.
fn is_loopback(address: IpAddr) -> bool {
    address.to_canonical().is_loopback()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_loopback_is_inside_however_it_is_written() {
        for (address, inside) in [
            ("127.0.0.1", true),
            ("127.9.9.9", true),
            ("::1", true),
            ("::ffff:127.0.0.1", true),
            ("192.0.2.1", false),
            ("::ffff:192.0.2.1", false),
            ("2001:db8::1", false),
        ] {
            assert_eq!(is_loopback(address.parse().unwrap()), inside, "{address}");
        }
    }

    #[test]
    fn refusals_are_one_error_line_each() {
        for line in [FULL, FULL_FOR_ADDRESS, PROTECTED] {
            assert!(line.starts_with('-') && line.ends_with("\r\n"), "{line:?}");
            assert_eq!(line.matches('\n').count(), 1, "{line:?}");
        }
    }
}
