//! The server under test, within this process.

use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, LazyLock};
use std::thread::{self, JoinHandle};

use sojourn::clock::Clock;
use sojourn::config::{self, Changes, Command};
use sojourn::server::{self, Options, ServerError};
use tokio::sync::oneshot;

use super::calls::KEYS;
use super::client::Client;

/// Where each input's clock starts: 2026-01-01T00:00:00Z.
const START_MS: i64 = 1_767_225_600_000;

/// No input needs values beyond a mebibyte, and with the usual limit one SETRANGE takes half a gigabyte.
const FLAGS: &[&str] =
    &["sojourn", "--port", "0", "--metrics-addr", "off", "--database-url", "memory://", "--proto-max-bulk-len", "1mb"];

/// The CONFIG SET that undoes every other.
static DEFAULTS: LazyLock<Vec<&'static str>> = LazyLock::new(|| {
    let rows = config::ROWS
        .iter()
        .filter(|row| row.changes == Changes::AnyTime && !FLAGS.contains(&&*format!("--{}", row.name)));
    ["config", "set"].into_iter().chain(rows.flat_map(|row| [row.name, row.default])).collect()
});

pub struct Server {
    address: SocketAddr,
    /// A connection of its own, from before any input could lock it out.
    operator: Client,
    users: Vec<u8>,
    now_ms: Arc<AtomicI64>,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<Result<(), ServerError>>>,
}

impl Server {
    pub fn start() -> Self {
        let now_ms = Arc::new(AtomicI64::new(START_MS));
        let loaded = match config::load(FLAGS.iter().map(Into::into), &[], |path| std::fs::read_to_string(path)) {
            Ok(Command::Serve(loaded)) => *loaded,
            other => panic!("these are good settings: {other:?}"),
        };
        let (listening, listens) = oneshot::channel();
        let (stop, stopped) = oneshot::channel();
        let options =
            Options { clock: Clock::Manual(Arc::clone(&now_ms)), listening: Some(listening), ..Options::default() };
        let thread = thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
            runtime.block_on(server::run(loaded, options, async { drop(stopped.await) }))
        });
        let address = listens.blocking_recv().expect("an address");
        let mut operator = connect(address);
        operator.wait_until_ready();
        let users = operator.ask(&["acl", "list"]).expect("a reply");
        Self { address, operator, users, now_ms, stop: Some(stop), thread: Some(thread) }
    }

    /// Takes it back to its start: no keys, the settings of then, and the time of then.
    pub fn start_afresh(&mut self) {
        let is_as_before = self.forget_keys()
            && self.operator.is_obeyed(&DEFAULTS)
            && self.operator.ask(&["acl", "list"]).as_ref() == Some(&self.users);
        if is_as_before {
            self.now_ms.store(START_MS, Ordering::SeqCst);
        } else {
            *self = Self::start();
        }
    }

    /// Key by key, as long as that is enough: FLUSHALL, which locks every shard, takes longer than most inputs.
    fn forget_keys(&mut self) -> bool {
        if self.has_keys() {
            for database in 0..16 {
                self.operator.call(&["select", &database.to_string()]);
                let words: Vec<&str> = ["del"].into_iter().chain(KEYS.iter().copied()).collect();
                self.operator.call(&words);
            }
            self.operator.read_replies();
        }
        !self.has_keys() || self.operator.is_obeyed(&["flushall"])
    }

    fn has_keys(&mut self) -> bool {
        let keyspace = self.operator.ask(&["info", "keyspace"]).unwrap_or_default();
        keyspace.windows(5).any(|bytes| bytes == b"keys=")
    }

    pub fn connect(&self) -> Client {
        connect(self.address)
    }

    pub fn advance_ms(&self, by_ms: i64) {
        self.now_ms.fetch_add(by_ms, Ordering::SeqCst);
    }
}

fn connect(address: SocketAddr) -> Client {
    Client::new(TcpStream::connect(address).expect("a connection"))
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.stop.take());
        let ended = self.thread.take().map(JoinHandle::join);
        assert!(matches!(ended, Some(Ok(Ok(())))), "the server did not stop as it should: {ended:?}");
    }
}
