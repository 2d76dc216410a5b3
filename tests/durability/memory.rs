//! What the server says of its memory, and what it does at its limit, asked of real processes.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use crate::postgres::PostgresServer;
use crate::server::{Over, Server, is_ok, wait_until};
use crate::support::process::{sojourn, status_bytes};
use crate::support::resp::{Connection, Frame, encode};

const SESSIONS: usize = 300_000;
/// How far the account may be off.
const OFF_MAX: f64 = 0.05;

fn key(number: usize) -> String {
    // As long as the keys of connect-redis: `sess:` and 32 letters.
    format!("sess:{number:032x}")
}

fn value(number: usize, bytes: usize) -> String {
    let start = format!("{{\"user\":{number},\"padding\":\"");
    let padding = "x".repeat(bytes - start.len() - 2);
    format!("{start}{padding}\"}}")
}

fn log_in(client: &mut Connection, numbers: std::ops::Range<usize>, bytes: usize) {
    client.write_all(numbers.map(|number| encode(&["SET", &key(number), &value(number, bytes), "EX", "86400"])));
}

/// The growth of the resident memory from 50 000 sessions to 300 000, beside that of `used_memory`.
#[test]
fn used_memory_is_what_the_process_holds_for_its_sessions() {
    let folder = tempfile::tempdir().expect("a folder");
    let url = format!("sqlite://{}", folder.path().join("sojourn.db").display());
    // A value that is compressed takes less from then on.
    let server = Server::start(&url, &["--maxmemory", "0", "--compress-above", "0"]);
    let mut client = server.connect();
    let measure = |client: &mut Connection| {
        wait_until("all commits", || client.info("backlog") == 0);
        (status_bytes(server.pid(), "VmRSS"), client.info("used_memory"))
    };
    // What the process takes besides its sessions, the caches of the database above all, is there by then.
    log_in(&mut client, 0..SESSIONS / 6, 300);
    let (resident_before, used_before) = measure(&mut client);
    log_in(&mut client, SESSIONS / 6..SESSIONS, 300);
    // What has been freed goes back to the system within some seconds.
    wait_until("what is resident is what is counted", || {
        let (resident, used) = measure(&mut client);
        let (grown, counted) = ((resident - resident_before) as f64, (used - used_before) as f64);
        assert!(counted > 250_000.0 * 337.0, "{counted} bytes counted");
        (grown / counted - 1.0).abs() < OFF_MAX
    });
}

const WRITERS: usize = 4;
const SESSIONS_EACH: usize = 4_000;
const ROUNDS: usize = 40;
const SESSIONS_A_ROUND: usize = 100;
/// Room for about a quarter of the values.
const LIMIT_BYTES: u64 = 4_300_000;
const VALUE_BYTES: usize = 600;

/// What one client writes and reads: sessions of its own, of which it knows the newest version.
struct Writer {
    client: Connection,
    first: usize,
    versions: Vec<usize>,
    random: fastrand::Rng,
    operations: usize,
}

fn versioned(number: usize, version: usize) -> String {
    value(number * 1_000 + version, VALUE_BYTES)
}

impl Writer {
    fn new(server: &Server, number: usize) -> Self {
        let random = fastrand::Rng::with_seed(number as u64);
        Self {
            client: server.connect(),
            first: number * SESSIONS_EACH,
            versions: vec![0; SESSIONS_EACH],
            random,
            operations: 0,
        }
    }

    /// Some sessions are written and read at once, others only read, and at the end the written ones once more, before their
    /// commits can be through: all in one pipeline.
    fn round(&mut self) {
        let (mut requests, mut expected, mut again) = (Vec::new(), Vec::new(), BTreeSet::new());
        for _ in 0..SESSIONS_A_ROUND {
            let written = self.random.usize(..SESSIONS_EACH);
            self.versions[written] += 1;
            let new = versioned(self.first + written, self.versions[written]);
            requests.extend(encode(&["SET", &key(self.first + written), &new, "EX", "86400"]));
            requests.extend(encode(&["GET", &key(self.first + written)]));
            let read = self.random.usize(..SESSIONS_EACH);
            requests.extend(encode(&["GET", &key(self.first + read)]));
            expected.extend([None, Some((written, self.versions[written])), Some((read, self.versions[read]))]);
            again.insert(written);
        }
        for session in again {
            requests.extend(encode(&["GET", &key(self.first + session)]));
            expected.push(Some((session, self.versions[session])));
        }
        self.client.send(&requests).expect("a server");
        for expected in expected {
            let reply = self.client.read().expect("a reply");
            match expected {
                None => assert!(is_ok(&reply), "a write is refused: {reply:?}"),
                Some((session, version)) => self.check(&reply, session, version),
            }
            self.operations += 1;
        }
    }

    fn check(&self, reply: &Frame, session: usize, version: usize) {
        let expected = (version > 0).then(|| versioned(self.first + session, version).into_bytes());
        let found = reply.bytes().map(<[u8]>::to_vec);
        assert!(found == expected, "session {session} is not what was written last: {reply:?}, version {version}");
    }

    /// Every session, whether its value is in memory or not.
    fn check_all(&mut self) {
        for session in 0..SESSIONS_EACH {
            let reply = self.client.call(&["GET", &key(self.first + session)]).expect("a reply");
            self.check(&reply, session, self.versions[session]);
        }
    }

    fn count(&self) -> usize {
        self.versions.iter().filter(|version| **version > 0).count()
    }
}

/// Writes and reads far more than fits, and looks at the account meanwhile.
fn load(server: &Server) -> Vec<Writer> {
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        let told = Over(&done);
        let watch = scope.spawn(|| {
            let (mut client, mut most, mut looks) = (server.connect(), 0, 0);
            while !done.load(Ordering::Relaxed) {
                most = most.max(client.info("used_memory"));
                looks += 1;
            }
            (most, looks)
        });
        let writers = (0..WRITERS).map(|number| {
            scope.spawn(move || {
                let mut writer = Writer::new(server, number);
                (0..ROUNDS).for_each(|_| writer.round());
                writer
            })
        });
        let writers: Vec<_> = writers.collect();
        let ended: Vec<_> = writers.into_iter().map(thread::ScopedJoinHandle::join).collect();
        drop(told);
        let (most, looks) = watch.join().expect("no panic");
        assert!(looks >= 20, "{looks} looks");
        assert!(most as f64 <= LIMIT_BYTES as f64 * (1.0 + OFF_MAX), "{most} bytes of {LIMIT_BYTES}");
        ended.into_iter().map(|writer| writer.unwrap_or_else(|panic| std::panic::resume_unwind(panic))).collect()
    })
}

/// All keys, as SCAN finds them.
fn scan(client: &mut Connection) -> BTreeSet<Vec<u8>> {
    let (mut cursor, mut found) = ("0".to_owned(), BTreeSet::new());
    loop {
        let page = client.call(&["SCAN", &cursor, "COUNT", "1000"]).expect("a reply");
        let [next, keys] = page.items() else { panic!("no page: {page:?}") };
        for key in keys.items() {
            assert!(found.insert(key.bytes().expect("a key").to_vec()), "SCAN says {key:?} twice");
        }
        cursor = String::from_utf8_lossy(next.bytes().expect("a cursor")).into_owned();
        if cursor == "0" {
            return found;
        }
    }
}

fn evicting_loses_no_session(url: &str) {
    // However busy the machine is, no commit counts as lost here.
    let server = Server::start(url, &["--maxmemory", &LIMIT_BYTES.to_string(), "--write-timeout", "30s"]);
    let mut writers = load(&server);
    let operations: usize = writers.iter().map(|writer| writer.operations).sum();
    assert!(operations >= WRITERS * ROUNDS * SESSIONS_A_ROUND * 3, "{operations} operations");
    let sessions: usize = writers.iter().map(Writer::count).sum();
    let mut client = server.connect();
    assert_eq!(client.call(&["DBSIZE"]).expect("a reply").integer(), i64::try_from(sessions).ok());
    assert_eq!(scan(&mut client).len(), sessions);
    let (evicted, loaded) = (client.info("evicted_values"), client.info("cold_loads"));
    assert!(evicted > 1_000 && loaded > 1_000, "{evicted} evicted, {loaded} loaded");
    assert_eq!(client.info("evicted_keys"), 0);
    writers.iter_mut().for_each(Writer::check_all);
    assert_eq!(client.info("hot_values") + client.info("cold_values"), sessions as u64);
    less_memory(&mut client, sessions);
}

/// CONFIG SET takes effect at once, down to where not even the keys fit.
fn less_memory(client: &mut Connection, sessions: usize) {
    let set = |client: &mut Connection, bytes: u64| {
        let reply = client.call(&["CONFIG", "SET", "maxmemory", &bytes.to_string()]).expect("a reply");
        assert!(is_ok(&reply), "{reply:?}");
    };
    let less = LIMIT_BYTES * 3 / 4;
    set(client, less);
    wait_until("values to leave", || client.info("used_memory") <= less);
    assert!(client.info("hot_values") > 0);
    set(client, 10);
    wait_until("all values to leave", || client.info("hot_values") == 0);
    let full = client.call(&["SET", "sess:new", "{}"]).expect("a reply");
    assert_eq!(full, Frame::Line(b'-', b"OOM command not allowed when used memory > 'maxmemory'.".to_vec()));
    let keys: Vec<_> = scan(client).into_iter().take(10).collect();
    for key in &keys {
        assert!(client.call(&[b"GET", &key[..]]).expect("a reply").bytes().is_some(), "a read goes on");
        assert_eq!(client.call(&[b"EXPIRE", &key[..], b"90000"]).expect("a reply").integer(), Some(1));
    }
    let delete: Vec<&[u8]> = std::iter::once(&b"DEL"[..]).chain(keys.iter().map(Vec::as_slice)).collect();
    assert_eq!(client.call(&delete).expect("a reply").integer(), Some(10), "a delete goes on");
    assert_eq!(client.call(&["DBSIZE"]).expect("a reply").integer(), i64::try_from(sessions - 10).ok());
    set(client, 0);
    assert!(is_ok(&client.call(&["SET", "sess:new", "{}"]).expect("a reply")));
}

#[test]
fn evicting_under_load_loses_no_session_on_sqlite() {
    let folder = tempfile::tempdir().expect("a folder");
    evicting_loses_no_session(&format!("sqlite://{}", folder.path().join("sojourn.db").display()));
}

#[test]
fn evicting_under_load_loses_no_session_on_postgresql() {
    // Nobody crashes here, and the disk is not what is tried.
    let postgres = PostgresServer::start(&["fsync=off"]);
    evicting_loses_no_session(&postgres.url(&postgres.create_database()));
}

/// Of so many sessions each fourth is left: three of four places on their pages are holes.
const SESSIONS_IN_MEMORY: usize = 80_000;
const ONE_IN: usize = 4;
/// Fewer than 4 MiB of holes are left alone; the rest is room for what comes and goes meanwhile.
const HOLES_BYTES_MAX: u64 = 5 << 20;

#[test]
fn pages_with_holes_are_given_back() {
    let folder = tempfile::tempdir().expect("a folder");
    let url = format!("sqlite://{}", folder.path().join("sojourn.db").display());
    let server = Server::start(&url, &["--activedefrag", "no", "--compress-above", "0"]);
    let mut client = server.connect();
    log_in(&mut client, 0..SESSIONS_IN_MEMORY, 600);
    let holes = |client: &mut Connection| client.info("allocator_frag_bytes");
    let leaving: Vec<usize> = (0..SESSIONS_IN_MEMORY).filter(|number| number % ONE_IN != 0).collect();
    for some in leaving.chunks(1_000) {
        let requests: Vec<u8> = some.iter().flat_map(|number| encode(&["DEL", &key(*number)])).collect();
        client.send(&requests).expect("a server");
        some.iter().for_each(|_| assert_eq!(client.read().expect("a reply").integer(), Some(1)));
    }
    // The control: who was told to leave them does, by the server's own clock ten times a second.
    let uptime = client.info("uptime_in_seconds");
    wait_until("some looks at the allocator", || client.info("uptime_in_seconds") >= uptime + 2);
    let (before, resident) = (holes(&mut client), status_bytes(server.pid(), "VmRSS"));
    assert!(before > 4 * HOLES_BYTES_MAX, "{before} bytes of holes");
    assert_eq!(client.info("active_defrag_hits"), 0);
    assert!(is_ok(&client.call(&["CONFIG", "SET", "activedefrag", "yes"]).expect("a reply")));
    wait_until("the holes to be closed", || holes(&mut client) < HOLES_BYTES_MAX);
    assert!(client.info("active_defrag_hits") >= (SESSIONS_IN_MEMORY / ONE_IN) as u64);
    wait_until("the pages to be given back", || {
        status_bytes(server.pid(), "VmRSS") < resident - (before - HOLES_BYTES_MAX) / 2
    });
    // Nothing is left to do, so it rests.
    wait_until("a rest", || client.info("active_defrag_running") == 0);
    for number in (0..SESSIONS_IN_MEMORY).step_by(ONE_IN) {
        let reply = client.call(&["GET", &key(number)]).expect("a reply");
        assert_eq!(reply.bytes(), Some(value(number, 600).as_bytes()));
    }
}

/// Built in its own folder, the program has the settings of the allocator by which holes can be closed.
#[test]
fn the_allocator_has_one_arena_and_small_caches() {
    let output = sojourn().arg("--version").env("MALLOC_CONF", "stats_print:true").output().expect("a run");
    let printed = String::from_utf8_lossy(&output.stderr);
    for setting in ["opt.narenas: 1", "opt.tcache_max: 16384", "opt.dirty_decay_ms: 500"] {
        let mut lines = printed.lines().map(str::trim);
        assert!(lines.any(|line| line.split(" (").next() == Some(setting)), "{setting} is missing in {printed}");
    }
}
