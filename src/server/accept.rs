//! Accepts connections: one listener per address hands each one to the least loaded worker, a thread with a runtime of
//! its own. A connection never moves, so its commands run without crossing threads.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use socket2::{SockRef, TcpKeepalive};
use tokio::net::TcpStream;
use tokio::sync::{mpsc, watch};
use tracing::{debug, error, warn};

use super::connections::Connections;
use super::listen::Listener;
use super::serve::{self, Signals};
use super::stream::Stream;
use crate::app::{App, Client, Full, Seat};
use crate::tls::Tls;

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

/// A connection on its way to a worker.
#[derive(Debug)]
struct Accepted {
    stream: std::net::TcpStream,
    /// What it speaks under the protocol.
    tls: Option<Arc<Tls>>,
    /// The seat that it takes.
    seat: Seat,
}

/// One worker's end of the handover.
#[derive(Clone, Debug)]
struct Worker {
    connections: mpsc::Sender<Accepted>,
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
            let write_through = Arc::clone(&app.write_through);
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .on_thread_park(move || write_through.wake_writer())
                .build()?;
            let work = work(Arc::clone(app), handed, Arc::clone(&load), stopping.clone());
            let thread = std::thread::Builder::new().name(format!("worker-{number}"));
            started.threads.push(thread.spawn(move || runtime.block_on(work))?);
            started.workers.push(Worker { connections, load });
        }
        Ok(started)
    }

    /// Hands a connection to the worker with the fewest.
    async fn hand_over(&self, stream: TcpStream, tls: Option<Arc<Tls>>, seat: Seat) {
        let Ok(stream) = stream.into_std() else { return };
        if let Some(worker) = self.workers.iter().min_by_key(|worker| worker.load.load(Ordering::Relaxed)) {
            worker.load.fetch_add(1, Ordering::Relaxed);
            // A worker ends only when the server stops; the connection is closed then.
            let _ = worker.connections.send(Accepted { stream, tls, seat }).await;
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
    mut handed: mpsc::Receiver<Accepted>,
    load: Arc<AtomicUsize>,
    stopping: watch::Receiver<bool>,
) {
    let mut stopped = stopping.clone();
    let mut connections = Connections::new(load);
    let (relay, settlements) = watch::channel(0);
    tokio::spawn(relay_settlements(app.write_through.settlements(), relay));
    loop {
        tokio::select! {
            accepted = handed.recv() => {
                let Some(accepted) = accepted else { break };
                let signals = Signals { settlements: settlements.clone(), stopping: stopping.clone() };
                connections.start(welcome(Arc::clone(&app), accepted, signals));
            }
            true = connections.one_ended() => {}
            _ = stopped.wait_for(|stopping| *stopping) => break,
        }
    }
    while connections.one_ended().await {}
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
async fn welcome(app: Arc<App>, accepted: Accepted, signals: Signals) {
    let served = async {
        // The seat is given back when the connection ends.
        let Accepted { stream, tls, seat: _seat } = accepted;
        let stream = TcpStream::from_std(stream)?;
        stream.set_nodelay(true)?;
        keep_alive(&app, &stream)?;
        let info = app.clients.add(stream.peer_addr()?, stream.local_addr()?);
        let id = info.id;
        app.metrics.connections_received.increment();
        app.metrics.connected_clients.set(app.clients.count() as u64);
        let _registered = Registered { app: Arc::clone(&app), id };
        let stream = match tls {
            None => Stream::Plain(stream),
            // In a box: what a handshake needs is not kept for the life of every connection.
            Some(tls) => match Box::pin(secure(&app, &tls, stream, &signals)).await? {
                Some(stream) => stream,
                None => return Ok(()),
            },
        };
        let client = Client::new(info, &app.users);
        serve::serve(Arc::clone(&app), client, stream, signals).await;
        Ok::<(), std::io::Error>(())
    };
    if let Err(error) = served.await {
        debug!(%error, "a connection ended before it was served");
    }
}

/// Shakes hands with a client that is to speak TLS; `None` when it is not served. Only now can it be told why.
async fn secure(app: &App, tls: &Tls, stream: TcpStream, signals: &Signals) -> std::io::Result<Option<Stream>> {
    let peer = stream.peer_addr()?;
    let mut stopping = signals.stopping.clone();
    let accepted = tokio::select! {
        accepted = tls.accept(stream) => accepted,
        _ = stopping.wait_for(|stopping| *stopping) => return Ok(None),
    };
    let stream = accepted.inspect_err(|_| app.metrics.tls_handshakes_failed.increment())?;
    let stream = Stream::Tls(Box::new(stream));
    if is_outsider(app, peer) {
        app.metrics.connections_rejected.increment();
        serve::refuse(stream, PROTECTED).await;
        return Ok(None);
    }
    Ok(Some(stream))
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
pub async fn accept(listener: Listener, app: Arc<App>, workers: Arc<Workers>, mut stopping: watch::Receiver<bool>) {
    let Listener { socket, tls } = listener;
    loop {
        let accepted = tokio::select! {
            accepted = socket.accept() => accepted,
            _ = stopping.wait_for(|stopping| *stopping) => return,
        };
        match accepted {
            Ok((stream, peer)) => match admit(&app, peer, tls.is_some()) {
                Ok(seat) => workers.hand_over(stream, tls.clone(), seat).await,
                Err(line) => {
                    app.metrics.connections_rejected.increment();
                    // As in Redis, one that waits for a handshake is not told why: it could not read it.
                    if tls.is_none() {
                        tokio::spawn(serve::refuse(Stream::Plain(stream), line));
                    }
                }
            },
            Err(error) => {
                warn!(%error, "a connection could not be accepted");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

/// A seat for a connection from this peer, or what it is told instead. One that speaks TLS is asked where it comes from after
/// its handshake.
fn admit(app: &App, peer: SocketAddr, is_tls: bool) -> Result<Seat, &'static str> {
    let seat = app.take_seat(peer.ip()).map_err(|full| match full {
        Full::Everywhere => FULL,
        Full::ForAddress => FULL_FOR_ADDRESS,
    })?;
    if !is_tls && is_outsider(app, peer) { Err(PROTECTED) } else { Ok(seat) }
}

/// Whether protected mode keeps this peer out.
fn is_outsider(app: &App, peer: SocketAddr) -> bool {
    app.is_protected() && !is_loopback(peer.ip())
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
