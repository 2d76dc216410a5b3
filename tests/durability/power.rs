//! A crash of the process does not try the disk: the page cache survives it. So the system calls of server and database are
//! traced, and between the arrival of a SET and its `+OK` the log must have been written and flushed.

mod trace;

use std::fs::{self, File};
use std::path::Path;
use std::process::{Child, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use tempfile::TempDir;

use super::postgres::PostgresServer;
use super::server::{Server, is_ok, wait_for, wait_until};
use super::support::process::dying_with_us;
use super::support::resp::{Connection, encode};
use trace::Verdict;

const PREFIX: &str = "sess:power-";
/// The digits after the prefix.
const MARKER_BYTES: usize = 8;
/// SETs one after the other, then rounds on several connections at a time, each round a few SETs in one piece.
const SINGLE: usize = 60;
const CONNECTIONS: usize = 4;
const ROUNDS: usize = 20;
const PIPELINE: usize = 3;
/// Tracing makes everything slow.
const PATIENT: &[&str] = &["--write-timeout", "20s"];
/// Far beyond a write of the log: cut short, it would hide what is in it.
const TRACED_BYTES_MAX: &str = "1000000";

/// strace, attached to processes and to all that they start.
pub struct Strace {
    child: Child,
    folder: TempDir,
}

impl Strace {
    /// Traces these calls.
    pub fn attach(pids: &[u32], calls: &str) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let mut command = dying_with_us("strace");
        command.args(["-f", "-y", "-a", "1", "-s", TRACED_BYTES_MAX, "-e", "signal=none", "-e"]);
        command.arg(format!("trace={calls}")).arg("-o").arg(folder.path().join("trace"));
        for pid in pids {
            command.args(["-p", &pid.to_string()]);
        }
        let errors = File::create(folder.path().join("errors")).expect("a file");
        let child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(errors).spawn();
        let mut strace = Self { child: child.expect("strace starts"), folder };
        wait_until("strace to be attached", || {
            let ended = strace.child.try_wait().expect("a status");
            assert!(ended.is_none(), "strace cannot trace here, which this test needs: {}", strace.read("errors"));
            pids.iter().all(|pid| is_traced(*pid))
        });
        strace
    }

    /// Lets the processes go on without it; answers the trace.
    pub fn end(mut self) -> String {
        let asked = std::process::Command::new("kill").args(["-INT", &self.child.id().to_string()]).status();
        assert!(asked.is_ok_and(|status| status.success()), "cannot end strace");
        wait_for("the end of strace", || self.child.try_wait().expect("a status"));
        self.read("trace")
    }

    fn read(&self, name: &str) -> String {
        String::from_utf8_lossy(&fs::read(self.folder.path().join(name)).unwrap_or_default()).into_owned()
    }
}

impl Drop for Strace {
    fn drop(&mut self) {
        // Either fails only if it has ended by itself.
        let _ended = self.child.kill();
        let _ended = self.child.wait();
    }
}

/// Whether every thread of a process is traced. One that has ended since, as PostgreSQL's workers do, writes nothing any more.
fn is_traced(pid: u32) -> bool {
    let Ok(threads) = fs::read_dir(format!("/proc/{pid}/task")) else { return true };
    let mut status = threads.map(|thread| fs::read_to_string(thread?.path().join("status")));
    status.all(|status| status.is_ok_and(|status| !status.contains("TracerPid:\t0\n")))
}

/// A process and its children.
fn family(pid: u32) -> Vec<u32> {
    let children = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).expect("a process");
    let children = children.split_whitespace().map(|child| child.parse().expect("a number"));
    std::iter::once(pid).chain(children).collect()
}

/// Sets `count` keys in one piece, each with a marker of its own, and waits for all replies.
fn set(connection: &mut Connection, next: &AtomicUsize, count: usize) {
    let first = next.fetch_add(count, Ordering::Relaxed);
    let set = |number: usize| {
        let key = format!("{PREFIX}{number:0MARKER_BYTES$}");
        let marker = &key[PREFIX.len()..];
        // Twice, since the log may go on in another page in the middle of one.
        encode(&["SET", &key, &format!(r#"{{"marker":"{marker}","again":"{marker}"}}"#)])
    };
    connection.send(&(first..first + count).flat_map(set).collect::<Vec<u8>>()).expect("a server");
    for _ in 0..count {
        let reply = connection.read().expect("a reply");
        assert!(is_ok(&reply), "{reply:?}");
    }
}

/// Writes under the trace, alone and beside each other, and judges every SET.
fn trace_writes(server: &Server, database: &[u32], is_log: impl Fn(&str) -> bool) -> Verdict {
    let next = AtomicUsize::new(0);
    // Tables are made and statements prepared before.
    set(&mut server.connect(), &next, 1);
    // What read the keys at the start may just have ended.
    let alive = database.iter().copied().filter(|pid| Path::new(&format!("/proc/{pid}")).exists());
    let traced: Vec<u32> = alive.chain([server.pid()]).collect();
    let strace = Strace::attach(&traced, trace::CALLS);
    let mut connection = server.connect();
    (0..SINGLE).for_each(|_| set(&mut connection, &next, 1));
    thread::scope(|scope| {
        for _ in 0..CONNECTIONS {
            scope.spawn(|| {
                let mut connection = server.connect();
                (0..ROUNDS).for_each(|_| set(&mut connection, &next, PIPELINE));
            });
        }
    });
    trace::judge(&strace.end(), PREFIX, MARKER_BYTES, is_log)
}

fn assert_flushed(verdict: &Verdict) {
    let Verdict { seen, early } = verdict;
    println!("{} of {seen} SETs were acknowledged before they were flushed", early.len());
    assert!(early.is_empty(), "{} of {seen}, such as {}", early.len(), early[0]);
    assert_eq!(*seen, SINGLE + CONNECTIONS * ROUNDS * PIPELINE, "every SET was traced");
}

#[test]
fn power_postgres_set_is_flushed_before_its_reply() {
    // The server does not rely on the default of the database, which here is the wrong one.
    let postgres = PostgresServer::start(&["wal_sync_method=fdatasync", "synchronous_commit=off", "autovacuum=off"]);
    let server = Server::start(&postgres.url(&postgres.create_database()), PATIENT);
    let verdict = trace_writes(&server, &family(postgres.pid()), |path| path.contains("/pg_wal/"));
    assert_flushed(&verdict);
}

#[test]
fn power_sqlite_set_is_flushed_before_its_reply() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("sojourn.db");
    let server = Server::start(&format!("sqlite://{}", file.display()), PATIENT);
    let log = folder.path().canonicalize().expect("a folder").join("sojourn.db-wal");
    let verdict = trace_writes(&server, &[], |path| Path::new(path) == log);
    assert_flushed(&verdict);
}
