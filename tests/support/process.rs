//! Server processes that never outlive the tests: killed when dropped, and by the kernel if the test run itself is
//! killed.

use std::ffi::OsStr;
use std::fs;
use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::process::{Child, Command};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Mutex, OnceLock};
use std::thread;
use std::time::{Duration, Instant};

use super::resp::{Connection, Frame};

/// How long a server may take from its start to its first answer.
const START_TIMEOUT: Duration = Duration::from_secs(20);
/// Tries to find a port that nobody else takes meanwhile.
const PORT_TRIES: usize = 10;

/// What the kernel says of a process's memory, in bytes: `VmRSS` what it holds, `VmHWM` the most since [`forget_peak`].
pub fn status_bytes(pid: u32, name: &str) -> u64 {
    status_bytes_of(pid, name).expect("the process lives, and the kernel says")
}

/// The same, `None` if the process has ended.
pub fn status_bytes_of(pid: u32, name: &str) -> Option<u64> {
    let text = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))?;
    Some(line.trim().trim_end_matches(" kB").parse::<u64>().ok()? * 1024)
}

/// Makes the most that a process held what it holds now (man 5 proc_pid_clear_refs).
pub fn forget_peak(pid: u32) {
    fs::write(format!("/proc/{pid}/clear_refs"), "5").expect("the peak is reset");
}

/// A running server.
#[derive(Debug)]
pub struct Server {
    child: Child,
    address: SocketAddr,
}

impl Server {
    /// Starts what `command` makes for a free port, and waits for its first answer.
    pub fn start(name: &str, command: impl Fn(u16) -> Command) -> Self {
        for _ in 0..PORT_TRIES {
            let address = free_address();
            let child = spawn(command(address.port())).unwrap_or_else(|error| panic!("{name} does not start: {error}"));
            let mut server = Self { child, address };
            if server.becomes_ready() {
                return server;
            }
        }
        panic!("{name} ended or did not answer on any of {PORT_TRIES} ports")
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Its process, for what the kernel says of it.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    fn becomes_ready(&mut self) -> bool {
        let start = Instant::now();
        while start.elapsed() < START_TIMEOUT {
            if self.child.try_wait().is_ok_and(|ended| ended.is_some()) {
                return false;
            }
            if self.answers() {
                return true;
            }
            thread::sleep(Duration::from_millis(5));
        }
        false
    }

    fn answers(&self) -> bool {
        let answer = Connection::open(self.address).and_then(|mut connection| connection.call(&[b"PING"]));
        // A server that wants a password is ready to say so.
        matches!(answer, Ok(Frame::Line(b'+', _)))
            || matches!(answer, Ok(Frame::Line(b'-', text)) if text.starts_with(b"NOAUTH"))
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Either fails only if the process has ended by itself.
        let _ended = self.child.kill();
        let _ended = self.child.wait();
    }
}

fn free_address() -> SocketAddr {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
    listener.local_addr().expect("the port of a bound listener")
}

/// A command that the kernel kills when the thread that spawned it ends.
pub fn dying_with_us(program: impl AsRef<OsStr>) -> Command {
    let mut command = Command::new("setpriv");
    command.args(["--pdeathsig", "KILL", "--"]).arg(program);
    command
}

/// The built server, or the one that `SOJOURN_BINARY` names: a negative control gives the proofs a server that must fail them.
pub fn sojourn() -> Command {
    dying_with_us(std::env::var_os("SOJOURN_BINARY").unwrap_or_else(|| env!("CARGO_BIN_EXE_sojourn").into()))
}

type Order = (Command, Sender<io::Result<Child>>);

/// Spawns in one thread that lives as long as the tests: the kernel counts the death of a *thread* as the parent's.
fn spawn(command: Command) -> io::Result<Child> {
    static ORDERS: OnceLock<Mutex<Sender<Order>>> = OnceLock::new();
    let orders = ORDERS.get_or_init(|| {
        let (sender, receiver) = channel();
        thread::spawn(move || serve_orders(&receiver));
        Mutex::new(sender)
    });
    let (sender, receiver) = channel();
    orders.lock().expect("no panic while ordering").send((command, sender)).expect("the spawner lives");
    receiver.recv().expect("the spawner answers")
}

fn serve_orders(orders: &Receiver<Order>) {
    for (mut command, answer) in orders {
        // A test that gave up waiting has no use for the answer.
        let _given_up = answer.send(command.spawn());
    }
}
