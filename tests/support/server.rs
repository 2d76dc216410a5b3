//! The built server as a process that tests kill, stop and start again, with its log in a file.

use std::fs::File;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::sleep;
use std::time::{Duration, Instant};

use tempfile::TempDir;

use super::process::sojourn;
use super::resp::{Connection, Frame};

/// The longest that anything a test waits for may take on a busy machine.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// For a server that fetches no value before somebody asks for it: at a limit at which none leaves.
pub const COLD: &[&str] = &["--maxmemory-policy", "noeviction"];

/// The name of a server's log in its folder.
const LOG: &str = "log";

/// Waits until `found` finds something; panics with what it waited for when that takes too long.
pub fn wait_for<T>(what: &str, mut found: impl FnMut() -> Option<T>) -> T {
    let begun = Instant::now();
    loop {
        if let Some(found) = found() {
            return found;
        }
        assert!(begun.elapsed() < PATIENCE, "waited in vain for {what}");
        sleep(Duration::from_millis(5));
    }
}

/// Says that it is over when it is dropped, by a panic too: a scope waits for its threads, and a test that failed would hang.
pub struct Over<'a>(pub &'a AtomicBool);

impl Drop for Over<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Waits until `is` says yes.
pub fn wait_until(what: &str, mut is: impl FnMut() -> bool) {
    wait_for(what, || is().then_some(()));
}

/// A port that was free a moment ago.
pub fn free_port() -> u16 {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
    listener.local_addr().expect("the port of a bound listener").port()
}

/// The flags of a server on this port and database; more can be added.
pub fn command(port: u16, database_url: &str, arguments: &[&str]) -> Command {
    let mut command = sojourn();
    command.args(["--port", &port.to_string(), "--database-url", database_url, "--metrics-addr", "off"]);
    command.args(arguments).stdin(Stdio::null());
    for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("SOJOURN_")) {
        command.env_remove(name);
    }
    command
}

/// A running server; killed when dropped.
pub struct Server {
    child: Child,
    address: SocketAddr,
    log: PathBuf,
    _folder: TempDir,
}

impl Server {
    /// Starts it, without waiting for anything.
    pub fn spawn(database_url: &str, arguments: &[&str]) -> Self {
        Self::spawn_on(free_port(), database_url, arguments)
    }

    /// The same on a port of the caller's choice.
    pub fn spawn_on(port: u16, database_url: &str, arguments: &[&str]) -> Self {
        let (folder, log) = log_file();
        let mut command = command(port, database_url, arguments);
        command.stdout(log.try_clone().expect("a second handle")).stderr(log);
        Self::running(command, SocketAddr::from((Ipv4Addr::LOCALHOST, port)), folder)
    }

    /// The same by a command of the caller's, for a server that will be found there.
    pub fn spawned_by(mut command: Command, address: SocketAddr) -> Self {
        let (folder, log) = log_file();
        command.stderr(log);
        Self::running(command, address, folder)
    }

    fn running(mut command: Command, address: SocketAddr, folder: TempDir) -> Self {
        let child = command.spawn().expect("sojourn starts");
        Self { child, address, log: folder.path().join(LOG), _folder: folder }
    }

    /// Starts it and waits until it serves and knows all keys.
    pub fn start(database_url: &str, arguments: &[&str]) -> Self {
        let server = Self::start_serving(database_url, arguments);
        // DBSIZE waits for that. One that wants a password first is an answer, too.
        wait_until("all keys to be known", || server.try_call(&["DBSIZE"]).is_some());
        server
    }

    /// Starts it and waits until it serves, be all keys known or not.
    pub fn start_serving(database_url: &str, arguments: &[&str]) -> Self {
        let mut server = Self::spawn(database_url, arguments);
        server.wait_until_ready();
        server
    }

    /// Waits until it serves; panics with its log if it ends instead.
    pub fn wait_until_ready(&mut self) {
        wait_until("the server to be ready", || {
            let ended = self.child.try_wait().expect("a status");
            assert!(ended.is_none(), "the server ended with {ended:?}: {}", self.log());
            matches!(self.try_call(&["PING"]), Some(Frame::Line(b'+', _)))
        });
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// All that it logged so far.
    pub fn log(&self) -> String {
        read(&self.log)
    }

    /// Waits until its log holds this.
    pub fn wait_for_log(&self, text: &str) {
        let begun = Instant::now();
        while !self.log().contains(text) {
            assert!(begun.elapsed() < PATIENCE, "waited in vain for {text:?} in the log: {}", self.log());
            sleep(Duration::from_millis(5));
        }
    }

    /// A number of INFO.
    pub fn info(&self, name: &str) -> u64 {
        self.connect().info(name)
    }

    pub fn connect(&self) -> Connection {
        wait_for("a connection", || Connection::open(self.address).ok())
    }

    /// One command on a connection of its own; `None` if there is no answer.
    pub fn try_call(&self, words: &[&str]) -> Option<Frame> {
        Connection::open(self.address).ok()?.call(words).ok()
    }

    /// One command on a connection of its own.
    pub fn call(&self, words: &[&str]) -> Frame {
        self.connect().call(words).unwrap_or_else(|error| panic!("{words:?}: {error}: {}", self.log()))
    }

    /// Stops all its threads; the signal alone takes effect when the first of them is scheduled to see it.
    pub fn pause(&self) {
        self.signal("STOP");
        let is_stopped = |task: &Path| {
            let stat = std::fs::read_to_string(task.join("stat")).unwrap_or_default();
            // After the name in its parentheses.
            stat.rsplit(") ").next().is_some_and(|rest| rest.starts_with('T'))
        };
        let tasks = PathBuf::from(format!("/proc/{}/task", self.child.id()));
        wait_until("the threads to stop", || {
            std::fs::read_dir(&tasks).expect("its threads").flatten().all(|task| is_stopped(&task.path()))
        });
    }

    /// Sends it a signal by its name.
    pub fn signal(&self, name: &str) {
        let sent = Command::new("kill").args([&format!("-{name}"), &self.child.id().to_string()]).status();
        assert!(sent.is_ok_and(|status| status.success()), "cannot send {name}");
    }

    /// `kill -9`, and the end of it.
    pub fn kill(mut self) {
        self.child.kill().expect("a running server");
        self.child.wait().expect("its end");
    }

    /// Waits until it ends by itself.
    pub fn wait_for_end(&mut self) -> ExitStatus {
        let log = self.log.clone();
        wait_for(&format!("the server to end: {}", read(&log)), || self.child.try_wait().expect("a status"))
    }

    /// SIGTERM, and its end.
    pub fn stop(&mut self) -> ExitStatus {
        self.signal("TERM");
        self.wait_for_end()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Either fails only if it has ended by itself.
        let _ended = self.child.kill();
        let _ended = self.child.wait();
    }
}

/// A run that ends by itself: its exit code and all that it printed.
pub fn run_to_end(database_url: &str, arguments: &[&str]) -> (Option<i32>, String) {
    run_to_end_on(free_port(), database_url, arguments)
}

/// The same on a port of the caller's choice.
pub fn run_to_end_on(port: u16, database_url: &str, arguments: &[&str]) -> (Option<i32>, String) {
    let mut server = Server::spawn_on(port, database_url, arguments);
    let status = server.wait_for_end();
    (status.code(), server.log())
}

fn log_file() -> (TempDir, File) {
    let folder = tempfile::tempdir().expect("a folder");
    let log = File::create(folder.path().join(LOG)).expect("a log file");
    (folder, log)
}

fn read(log: &Path) -> String {
    String::from_utf8_lossy(&std::fs::read(log).unwrap_or_default()).into_owned()
}

/// Whether a reply is an error that starts with this word.
pub fn is_error(frame: &Frame, word: &str) -> bool {
    matches!(frame, Frame::Line(b'-', text) if text.starts_with(word.as_bytes()))
}

/// Whether a reply is `+OK`.
pub fn is_ok(frame: &Frame) -> bool {
    matches!(frame, Frame::Line(b'+', text) if text == b"OK")
}
