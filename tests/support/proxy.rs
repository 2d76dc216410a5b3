//! A TCP proxy that stands between a server and its database and does what networks do: it cuts connections, lets
//! nothing through, is slow, or loses what was sent in the middle.

use std::collections::BTreeSet;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Runtime;
use tokio::sync::watch;

/// How much one chunk holds.
const CHUNK_BYTES: usize = 16 * 1024;

/// Which way bytes go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Towards {
    Database,
    Server,
}

/// What becomes of each chunk. Connections are numbered in the order in which they were made.
#[derive(Clone, Copy, Debug)]
struct Flow {
    delay: Duration,
    /// Connections with a smaller number wait, chunks and ends alike.
    stalled_before: u64,
}

/// After so many more bytes one way everything is cut, and new connections stall.
#[derive(Clone, Copy, Debug)]
struct Trap {
    towards: Towards,
    bytes_left: usize,
}

#[derive(Debug)]
struct State {
    database: SocketAddr,
    flow: watch::Sender<Flow>,
    cuts: watch::Sender<u64>,
    trap: Mutex<Option<Trap>>,
    traps_sprung: AtomicU64,
    connections: AtomicU64,
    open: Mutex<BTreeSet<u64>>,
}

/// A running proxy; all connections end with it.
#[derive(Debug)]
pub struct Proxy {
    address: SocketAddr,
    state: Arc<State>,
    /// Its tasks end with it.
    _runtime: Runtime,
}

impl Proxy {
    /// Listens on a free port and passes everything on to a database on this machine.
    pub fn start(database_port: u16) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build();
        let runtime = runtime.expect("a runtime");
        let listener = runtime.block_on(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))).expect("a free port");
        let address = listener.local_addr().expect("the port of a bound listener");
        let state = Arc::new(State {
            database: SocketAddr::from((Ipv4Addr::LOCALHOST, database_port)),
            flow: watch::Sender::new(PASS),
            cuts: watch::Sender::new(0),
            trap: Mutex::new(None),
            traps_sprung: AtomicU64::new(0),
            connections: AtomicU64::new(0),
            open: Mutex::default(),
        });
        runtime.spawn(accept(listener, Arc::clone(&state)));
        Self { address, state, _runtime: runtime }
    }

    pub fn port(&self) -> u16 {
        self.address.port()
    }

    /// Lets everything through, what was stalled first.
    pub fn pass(&self) {
        self.state.flow.send_replace(PASS);
    }

    /// Lets nothing through from now on, and says so to nobody.
    pub fn stall(&self) {
        self.state.flow.send_replace(STALL);
    }

    /// The same for the connections that exist; new ones pass. Answers the number of the first of those.
    pub fn stall_present(&self) -> u64 {
        let stalled_before = self.state.connections.load(Ordering::SeqCst);
        self.state.flow.send_replace(Flow { stalled_before, ..PASS });
        stalled_before
    }

    /// Delays every chunk.
    pub fn slow(&self, delay: Duration) {
        self.state.flow.send_replace(Flow { delay, ..PASS });
    }

    /// Ends all connections; new ones are passed on as before.
    pub fn cut(&self) {
        self.state.cuts.send_modify(|cuts| *cuts += 1);
    }

    /// Lets so many more bytes through one way; at the next one everything is cut and stalled.
    pub fn cut_after(&self, towards: Towards, bytes: usize) {
        *self.state.trap() = Some(Trap { towards, bytes_left: bytes });
    }

    /// How often [`Self::cut_after`] has cut.
    pub fn traps_sprung(&self) -> u64 {
        self.state.traps_sprung.load(Ordering::SeqCst)
    }

    /// How many connections with a smaller number have not ended on both sides.
    pub fn open_before(&self, number: u64) -> usize {
        self.state.open().range(..number).count()
    }
}

const PASS: Flow = Flow { delay: Duration::ZERO, stalled_before: 0 };
const STALL: Flow = Flow { delay: Duration::ZERO, stalled_before: u64::MAX };

impl State {
    fn trap(&self) -> MutexGuard<'_, Option<Trap>> {
        self.trap.lock().expect("no panic while it is held")
    }

    fn open(&self) -> MutexGuard<'_, BTreeSet<u64>> {
        self.open.lock().expect("no panic while it is held")
    }

    /// How many bytes of a chunk still pass, if the trap springs in it.
    fn spring(&self, towards: Towards, bytes: usize) -> Option<usize> {
        let mut trap = self.trap();
        let set = trap.as_mut().filter(|trap| trap.towards == towards)?;
        if set.bytes_left >= bytes {
            set.bytes_left -= bytes;
            return None;
        }
        let passing = set.bytes_left;
        *trap = None;
        Some(passing)
    }
}

async fn accept(listener: TcpListener, state: Arc<State>) {
    while let Ok((client, _)) = listener.accept().await {
        let number = state.connections.fetch_add(1, Ordering::SeqCst);
        let cuts = state.cuts.subscribe();
        state.open().insert(number);
        let state = Arc::clone(&state);
        tokio::spawn(async move {
            serve(client, number, cuts, &state).await;
            state.open().remove(&number);
        });
    }
}

/// Ends when both sides have ended, when one breaks, or when it is cut.
async fn serve(client: TcpStream, number: u64, mut cuts: watch::Receiver<u64>, state: &State) {
    let relayed = async {
        let database = TcpStream::connect(state.database).await?;
        client.set_nodelay(true)?;
        database.set_nodelay(true)?;
        let ((from_client, to_client), (from_database, to_database)) = (client.into_split(), database.into_split());
        tokio::try_join!(
            relay(state, number, Towards::Database, from_client, to_database),
            relay(state, number, Towards::Server, from_database, to_client),
        )
    };
    tokio::select! {
        // A connection that breaks ends here as it would without a proxy.
        _broken = relayed => {}
        _cut = cuts.changed() => {}
    }
}

async fn relay(
    state: &State,
    number: u64,
    towards: Towards,
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
) -> io::Result<()> {
    let mut flow = state.flow.subscribe();
    let mut chunk = vec![0; CHUNK_BYTES];
    loop {
        let count = from.read(&mut chunk).await?;
        // The sender lives as long as `state`.
        let delay = flow.wait_for(|flow| number >= flow.stalled_before).await.map_or(Duration::ZERO, |flow| flow.delay);
        if count == 0 {
            return to.shutdown().await;
        }
        tokio::time::sleep(delay).await;
        if let Some(passing) = state.spring(towards, count) {
            to.write_all(&chunk[..passing]).await?;
            state.flow.send_replace(STALL);
            state.cuts.send_modify(|cuts| *cuts += 1);
            state.traps_sprung.fetch_add(1, Ordering::SeqCst);
            return Ok(());
        }
        to.write_all(&chunk[..count]).await?;
    }
}
