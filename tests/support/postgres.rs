//! A real PostgreSQL for tests: made in a temporary folder, on a free port, and gone when it is dropped or when the test
//! process ends in whatever way. Never touches a server that it did not start.

#![allow(dead_code, reason = "each test binary that includes this file uses another part of it")]

use std::net::TcpListener;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

/// How long a start may take on a busy machine.
const START_TIMEOUT: Duration = Duration::from_secs(60);

/// Ends the server and removes its folder as soon as its standard input ends, which it does when the test process is gone.
const GUARD: &str = r#"
trap '' INT TERM HUP
cat > /dev/null
pid=$(head -n 1 "$1/data/postmaster.pid" 2> /dev/null)
[ -n "$pid" ] && kill -QUIT "$pid" 2> /dev/null
for _ in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20 21 22 23 24 25 26 27 28 29 30; do
    [ -n "$pid" ] && kill -0 "$pid" 2> /dev/null || break
    sleep 0.1
done
[ -n "$pid" ] && kill -KILL "$pid" 2> /dev/null
rm -rf "$1"
"#;

/// A running PostgreSQL.
pub struct PostgresServer {
    programs: PathBuf,
    folder: PathBuf,
    port: u16,
    settings: Vec<String>,
    server: Option<Child>,
    guard: Child,
    databases: AtomicU32,
}

impl PostgresServer {
    /// Starts a server with further settings, each as `name=value`.
    pub fn start(settings: &[&str]) -> Self {
        Self::start_in(&std::env::temp_dir(), settings)
    }

    /// The same, with its files in a new folder in `parent`.
    pub fn start_in(parent: &Path, settings: &[&str]) -> Self {
        Self::make(parent, &[], settings)
    }

    /// The same on a small disk: all of it, with a log in small pieces.
    pub fn start_on(disk: &Path, settings: &[&str]) -> Self {
        Self::make(disk, &["--wal-segsize=1"], settings)
    }

    /// The same with only its log on a small disk.
    pub fn start_with_log_on(disk: &Path, settings: &[&str]) -> Self {
        let log = format!("--waldir={}", disk.join("log").display());
        Self::make(&std::env::temp_dir(), &["--wal-segsize=1", &log], settings)
    }

    fn make(parent: &Path, initdb: &[&str], settings: &[&str]) -> Self {
        let programs = programs();
        let folder = new_folder(parent);
        let guard = guard(&folder);
        let made = as_ordinary_user(&programs.join("initdb"), &folder)
            .args(["-E", "UTF8", "--locale=C", "-A", "trust", "-U", "postgres", "--no-sync", "-D"])
            .arg(folder.join("data"))
            .args(initdb)
            .output()
            .unwrap();
        assert!(made.status.success(), "initdb: {}", String::from_utf8_lossy(&made.stderr));
        let settings = settings.iter().map(|setting| (*setting).to_owned()).collect();
        let mut server =
            Self { programs, folder, port: 0, settings, server: None, guard, databases: AtomicU32::new(0) };
        server.run();
        server
    }

    /// A physical standby of this server, to which each commit must come from now on before it is acknowledged.
    pub fn standby(&self) -> Self {
        let folder = new_folder(&std::env::temp_dir());
        let guard = guard(&folder);
        let source = format!("host=127.0.0.1 port={} user=postgres application_name=standby", self.port);
        let copied = as_ordinary_user(&self.programs.join("pg_basebackup"), &folder)
            .args(["-R", "-c", "fast", "-X", "stream", "-d", &source, "-D"])
            .arg(folder.join("data"))
            .output()
            .unwrap();
        assert!(copied.status.success(), "pg_basebackup: {}", String::from_utf8_lossy(&copied.stderr));
        let (programs, settings) = (self.programs.clone(), self.settings.clone());
        let mut standby =
            Self { programs, folder, port: 0, settings, server: None, guard, databases: AtomicU32::new(0) };
        standby.run();
        self.sql("postgres", "alter system set synchronous_standby_names = 'standby'");
        self.sql("postgres", "select pg_reload_conf()");
        standby
    }

    /// Makes a standby the primary, which waits for no standby of its own.
    pub fn promote(&self) {
        assert_eq!(self.sql("postgres", "select pg_promote()"), "t");
    }

    /// The URL of a database of two servers, of which the first is tried first.
    pub fn url_of_both(&self, other: &Self, database: &str) -> String {
        format!("postgres://postgres@127.0.0.1:{},127.0.0.1:{}/{database}", self.port, other.port)
    }

    /// The URL of one of its databases.
    pub fn url(&self, database: &str) -> String {
        format!("postgres://postgres@127.0.0.1:{}/{database}", self.port)
    }

    /// The URL of one of its databases for another role.
    pub fn url_as(&self, role: &str, database: &str) -> String {
        format!("postgres://{role}@127.0.0.1:{}/{database}", self.port)
    }

    /// One of PostgreSQL's programs, of the same version.
    pub fn program(&self, name: &str) -> PathBuf {
        self.programs.join(name)
    }

    /// Its port on 127.0.0.1.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The first of its processes, the parent of all others.
    pub fn pid(&self) -> u32 {
        self.server.as_ref().expect("it runs").id()
    }

    /// A new, empty database; answers its name.
    pub fn create_database(&self) -> String {
        let name = format!("test_{}", self.databases.fetch_add(1, Ordering::Relaxed));
        self.sql("postgres", &format!("create database {name} template template0"));
        name
    }

    /// Runs SQL with psql, one transaction per `sql`; answers its output without alignment. Panics on an error.
    pub fn sql(&self, database: &str, sql: &str) -> String {
        let output = Command::new(self.programs.join("psql"))
            .args(["-XAtq", "-v", "ON_ERROR_STOP=1", "-h", "127.0.0.1", "-U", "postgres", "-p"])
            .arg(self.port.to_string())
            .args(["-d", database, "-c", sql])
            .output()
            .unwrap();
        assert!(output.status.success(), "{sql}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap().trim_end().to_owned()
    }

    /// Ends it at once, as a crash would: no checkpoint, connections cut.
    pub fn kill_immediate(&mut self) {
        // One that has ended by itself has left its number to others.
        if let Some(mut server) = self.server.take()
            && server.try_wait().unwrap().is_none()
        {
            let _ = Command::new("kill").args(["-QUIT", &server.id().to_string()]).status();
            let _ = server.wait();
        }
    }

    /// Whether it has not ended by itself.
    pub fn is_running(&mut self) -> bool {
        self.server.as_mut().is_some_and(|server| server.try_wait().unwrap().is_none())
    }

    /// All that it logged so far.
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.folder.join("log")).unwrap_or_default()
    }

    /// Ends it if it runs, and starts it again on the same port with the same data.
    pub fn restart(&mut self) {
        self.kill_immediate();
        self.run();
    }

    /// `kill -9` of all its processes at once, as the OOM killer or a container's end would.
    pub fn kill_9(&mut self) {
        let Some(mut server) = self.server.take() else { return };
        let id = server.id().to_string();
        // Stopped first, so that it starts no further process between the look and the kill.
        kill("STOP", &id);
        let children = std::fs::read_to_string(format!("/proc/{id}/task/{id}/children")).unwrap();
        kill("KILL", &format!("{id} {children}"));
        let _ = server.wait();
        // The next start is refused as long as one of them has the shared memory.
        let until = Instant::now() + START_TIMEOUT;
        while children.split_whitespace().any(runs) {
            assert!(Instant::now() < until, "a process of PostgreSQL outlives kill -9: {children}");
            std::thread::sleep(Duration::from_millis(2));
        }
    }

    /// `kill -9` of the one process that has the advisory lock of a database's owner. PostgreSQL then ends all others and
    /// starts again by itself.
    pub fn kill_9_writer(&self, database: &str) {
        let writer = "select pid from pg_locks where locktype = 'advisory' and granted";
        kill("KILL", &self.sql(database, writer));
    }

    /// Starts the server process and waits until it answers. A free port may be taken by somebody else before it is
    /// used, so the first start tries a few.
    fn run(&mut self) {
        for _ in 0..5 {
            if self.databases.load(Ordering::Relaxed) == 0 && self.server.is_none() && self.port == 0 {
                self.port = free_port();
            }
            let mut server = self.command().spawn().unwrap();
            if self.is_ready(&mut server) {
                self.server = Some(server);
                return;
            }
            if self.databases.load(Ordering::Relaxed) == 0 {
                self.port = 0;
            }
        }
        panic!("PostgreSQL did not start: {}", self.log());
    }

    fn command(&self) -> Command {
        let log = std::fs::File::options().create(true).append(true).open(self.folder.join("log")).unwrap();
        let mut command = as_ordinary_user(&self.programs.join("postgres"), &self.folder);
        command.arg("-D").arg(self.folder.join("data")).arg("-p").arg(self.port.to_string());
        command.arg("-k").arg(&self.folder).args(["-c", "listen_addresses=127.0.0.1"]);
        for setting in &self.settings {
            command.args(["-c", setting]);
        }
        command.stdin(Stdio::null()).stdout(log.try_clone().unwrap()).stderr(log);
        command
    }

    fn is_ready(&self, server: &mut Child) -> bool {
        let until = Instant::now() + START_TIMEOUT;
        while Instant::now() < until && server.try_wait().unwrap().is_none() {
            let ready = Command::new(self.programs.join("pg_isready"))
                .args(["-q", "-h", "127.0.0.1", "-p", &self.port.to_string()])
                .status();
            if ready.is_ok_and(|status| status.success()) {
                return true;
            }
            std::thread::sleep(Duration::from_millis(30));
        }
        let _ = server.kill();
        let _ = server.wait();
        false
    }
}

impl Drop for PostgresServer {
    fn drop(&mut self) {
        // The end of its standard input is the guard's signal.
        drop(self.guard.stdin.take());
        if let Some(mut server) = self.server.take() {
            let _ = server.wait();
        }
        let _ = self.guard.wait();
    }
}

/// The newest installed PostgreSQL, or the one in PATH.
fn programs() -> PathBuf {
    let version = |path: &Path| path.parent()?.file_name()?.to_str()?.parse::<u32>().ok();
    let installed = std::fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    let newest = installed
        .map(|folder| folder.path().join("bin"))
        .filter(|bin| bin.join("initdb").exists())
        .max_by_key(|bin| version(bin));
    let in_path = || {
        let path = std::env::var_os("PATH").unwrap_or_default();
        std::env::split_paths(&path).find(|folder| folder.join("initdb").exists())
    };
    newest.or_else(in_path).expect("PostgreSQL (initdb, postgres, psql) is needed for this test")
}

/// A new folder in `parent` that PostgreSQL may write to.
fn new_folder(parent: &Path) -> PathBuf {
    let folder = tempfile::Builder::new().prefix("sojourn-postgres-").tempdir_in(parent).unwrap().keep();
    if is_root() {
        assert!(Command::new("chown").arg("postgres").arg(&folder).status().unwrap().success());
    }
    folder
}

fn guard(folder: &Path) -> Child {
    let mut command = Command::new("sh");
    command.args(["-c", GUARD, "guard"]).arg(folder);
    command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap()
}

fn is_root() -> bool {
    std::fs::metadata("/proc/self").is_ok_and(|process| process.uid() == 0)
}

/// PostgreSQL refuses to run as root; then it runs as the user `postgres`.
fn as_ordinary_user(program: &Path, folder: &Path) -> Command {
    let mut command = if is_root() {
        let mut command = Command::new("setpriv");
        command.args(["--reuid=postgres", "--regid=postgres", "--init-groups", "--"]).arg(program);
        command
    } else {
        Command::new(program)
    };
    command.current_dir(folder);
    command
}

fn free_port() -> u16 {
    TcpListener::bind(("127.0.0.1", 0)).unwrap().local_addr().unwrap().port()
}

/// Sends a signal to these processes; one that has ended meanwhile needs none.
fn kill(signal: &str, ids: &str) {
    let _ = Command::new("kill").arg(format!("-{signal}")).args(ids.split_whitespace()).stderr(Stdio::null()).status();
}

/// Whether this process has not ended; one that only its parent has not asked for yet has.
fn runs(id: &str) -> bool {
    let status = std::fs::read_to_string(format!("/proc/{id}/status"));
    status.is_ok_and(|status| !status.contains("State:\tZ"))
}
