//! Runs one attack on each server and measures what it did to the server and to the neighbour.

use std::cell::Cell;
use std::fs;
use std::net::{SocketAddr, TcpStream};
use std::process::Command;
use std::sync::Once;
use std::time::Duration;

use crate::neighbour::Neighbour;
use crate::pace::paced;
use crate::support::process::{forget_peak, status_bytes};
use crate::support::processors::{OTHER_WORK_MAX, busy_cores};
use crate::support::redis::Redis;
use crate::support::resp::{Connection, encode};
use crate::support::sojourn::Sojourn;
use crate::table;
use crate::verdict::{Figures, Rounds};

/// No request of the neighbour may take longer while Sojourn is attacked, on a busy machine and in a debug build.
const NEIGHBOUR_MAX: Duration = Duration::from_secs(2);

/// A redis-server that is durable before it replies.
pub const AOF_ALWAYS: [&str; 6] = ["--save", "", "--appendonly", "yes", "--appendfsync", "always"];

const MEBIBYTE: f64 = 1024.0 * 1024.0;

/// Whether this is the long form.
pub fn is_full() -> bool {
    std::env::var("SOJOURN_ATTACKS").is_ok_and(|form| form == "full")
}

/// How much of something, in the short and in the long form.
pub fn so_many<T>(short: T, full: T) -> T {
    if is_full() { full } else { short }
}

/// How often each server is attacked, in turn; the figures are medians.
fn rounds() -> usize {
    let given = std::env::var("SOJOURN_ATTACK_ROUNDS").ok();
    given.map_or(1, |rounds| rounds.parse().expect("SOJOURN_ATTACK_ROUNDS is a number")).max(1)
}

/// How long a repeating attack is rehearsed.
const REHEARSAL: Duration = Duration::from_millis(300);

/// How long an attack goes on.
pub fn duration() -> Duration {
    so_many(Duration::from_millis(700), Duration::from_secs(3))
}

enum Server {
    Sojourn(Sojourn),
    Redis(Redis),
}

/// One of the two servers, and how long it is to be attacked.
pub struct Subject {
    server: Server,
    lasts: Duration,
}

impl Subject {
    /// A Sojourn that is attacked for as long as an attack lasts.
    pub fn sojourn(sojourn: Sojourn) -> Self {
        Self { server: Server::Sojourn(sojourn), lasts: duration() }
    }

    fn redis(redis: Redis) -> Self {
        Self { server: Server::Redis(redis), lasts: duration() }
    }

    pub const fn is_sojourn(&self) -> bool {
        matches!(self.server, Server::Sojourn(_))
    }

    /// How long the attack is to go on.
    pub const fn lasts(&self) -> Duration {
        self.lasts
    }

    pub fn address(&self) -> SocketAddr {
        match &self.server {
            Server::Sojourn(sojourn) => sojourn.address(),
            Server::Redis(redis) => redis.address(),
        }
    }

    fn pid(&self) -> u32 {
        match &self.server {
            Server::Sojourn(sojourn) => sojourn.pid(),
            Server::Redis(redis) => redis.pid(),
        }
    }

    /// A connection of the attacker.
    pub fn connect(&self) -> Connection {
        Connection::open(self.address()).expect("a connection")
    }

    /// A connection of the attacker of which nothing is read in the usual way.
    pub fn stream(&self) -> TcpStream {
        stream_to(self.address())
    }

    /// What the process holds now, in bytes.
    pub fn resident_bytes(&self) -> u64 {
        status_bytes(self.pid(), "VmRSS")
    }

    /// The most that it held since the last [`Self::forget_peak`].
    fn peak_bytes(&self) -> u64 {
        status_bytes(self.pid(), "VmHWM")
    }

    fn forget_peak(&self) {
        forget_peak(self.pid());
    }
}

/// What an attacker can say in the end.
pub struct Aftermath {
    /// What happened to it.
    pub attacker: String,
    /// Connections that were open at the end.
    pub held: usize,
}

/// One attack.
pub struct Attack<'a> {
    /// The test's name, which repeats it.
    pub test: &'static str,
    /// What is tried, and how much.
    pub what: String,
    /// Arguments for both servers, as `--name value` pairs.
    pub settings: &'a [&'a str],
    /// Arguments for Sojourn alone.
    pub own_settings: &'a [&'a str],
    /// Whether redis-server is spared: the attack means nothing there, or would take the whole machine.
    pub spares_redis: bool,
    /// What the attack needs; its memory counts, what the neighbour notices of it does not.
    pub prepare: Option<fn(&Subject)>,
    /// Whether it does the same all the time, so that a short rehearsal shows what the server keeps from then on.
    pub repeats: bool,
    pub run: Box<dyn Fn(&Subject) -> Aftermath + 'a>,
}

impl<'a> Attack<'a> {
    /// An attack without settings.
    pub fn new(test: &'static str, what: String, run: impl Fn(&Subject) -> Aftermath + 'a) -> Self {
        Self {
            test,
            what,
            settings: &[],
            own_settings: &[],
            spares_redis: false,
            prepare: None,
            repeats: false,
            run: Box::new(run),
        }
    }

    /// The same of an attack that does the same all the time.
    pub fn repeating(test: &'static str, what: String, run: impl Fn(&Subject) -> Aftermath + 'a) -> Self {
        Self { repeats: true, ..Self::new(test, what, run) }
    }

    /// Runs it on both servers, and reports their rows; answers Sojourn's figures, and redis-server's if it is not spared.
    pub fn carry_out(&self) -> (Figures, Option<Figures>) {
        let settings = [&["--save", "", "--appendonly", "no"], self.settings].concat();
        self.compare(&|| Sojourn::start("memory://", &self.own_arguments()), &settings)
    }

    fn own_arguments(&self) -> Vec<&str> {
        self.settings.iter().chain(self.own_settings).copied().collect()
    }

    /// The same with files, both servers durable before they reply: with `memory://` Sojourn's memory holds each record twice.
    pub fn carry_out_on_files(&self) -> (Figures, Option<Figures>) {
        let (folder, rounds) = (tempfile::tempdir().expect("a folder"), Cell::new(0));
        let start = || {
            let round = rounds.replace(rounds.get() + 1);
            let url = format!("sqlite://{}/{round}.db", folder.path().display());
            Sojourn::start(&url, &self.own_arguments())
        };
        self.compare(&start, &[&AOF_ALWAYS, self.settings].concat())
    }

    /// The same with a Sojourn and a redis-server of the caller's choice, started anew in each round.
    pub fn compare(&self, sojourn: &dyn Fn() -> Sojourn, redis: &[&str]) -> (Figures, Option<Figures>) {
        raise_open_files();
        let (mut own, mut other, mut other_work) = (Vec::new(), Vec::new(), 0.0_f64);
        for _ in 0..rounds() {
            if is_full() {
                other_work = other_work.max(busy_cores().expect("the kernel says"));
            }
            own.push(self.run_on(&mut Subject::sojourn(sojourn())));
            if !self.spares_redis {
                let redis = Redis::start_in(&std::env::temp_dir(), redis);
                other.push(self.run_on(&mut Subject::redis(redis)));
            }
        }
        let (own, other) = (Rounds(own), Some(Rounds(other)).filter(|rounds| !rounds.0.is_empty()));
        let verdict = match &other {
            _ if other_work > OTHER_WORK_MAX => format!("void: {other_work:.2} processors did other work"),
            Some(other) => own.worse_than(other),
            None => String::new(),
        };
        let mut lines = vec![row(&self.what, "Sojourn", &own, &verdict, &format!("`{}`", self.test))];
        lines.extend(other.as_ref().map(|other| row("", "redis-server", other, "", "")));
        table::report(self.test, &lines);
        (own.into_median(), other.map(Rounds::into_median))
    }

    fn run_on(&self, subject: &mut Subject) -> Figures {
        let password = self.settings.iter().position(|word| *word == "--requirepass").map(|at| self.settings[at + 1]);
        warm_up(subject.address(), password);
        if self.repeats {
            let lasts = std::mem::replace(&mut subject.lasts, REHEARSAL);
            (self.run)(subject);
            subject.lasts = lasts;
        }
        let before = subject.resident_bytes();
        subject.forget_peak();
        self.prepare.inspect(|prepare| prepare(subject));
        let neighbour = Neighbour::move_in(subject.address(), password);
        let aftermath = (self.run)(subject);
        let grown_bytes = subject.peak_bytes().saturating_sub(before);
        let neighbour = neighbour.move_out();
        if subject.is_sojourn() {
            assert!(neighbour.max < NEIGHBOUR_MAX, "{}: {neighbour:?}", self.test);
        }
        Figures { grown_bytes, aftermath, neighbour }
    }
}

/// What a server takes for its first clients it keeps for the next: threads have memory of their own from then on. So some come
/// before it is measured.
fn warm_up(address: SocketAddr, password: Option<&str>) {
    let mut clients: Vec<_> = (0..16).map(|_| Connection::open(address).expect("a connection")).collect();
    for client in &mut clients {
        if let Some(password) = password {
            client.call(&["AUTH", password]).expect("a reply");
        }
        let requests = [encode(&["SET", "warm", "{}", "EX", "60"]), encode(&["GET", "warm"]), encode(&["DEL", "warm"])];
        client.send(&requests.concat().repeat(100)).expect("sent");
    }
    for client in &mut clients {
        (0..300).for_each(|_| drop(client.read().expect("a reply")));
    }
}

fn row(what: &str, server: &str, rounds: &Rounds, verdict: &str, test: &str) -> String {
    let (Aftermath { attacker, held }, cells) = (rounds.aftermath(), rounds.cells().join(" | "));
    format!("| {what} | {server} | {held} | {cells} | {attacker} | {verdict} | {test} |")
}

#[expect(clippy::cast_precision_loss, reason = "one decimal is shown")]
pub fn mebibytes(bytes: u64) -> f64 {
    bytes as f64 / MEBIBYTE
}

/// A connection of which nothing is read in the usual way.
pub fn stream_to(address: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(address).expect("a connection");
    stream.set_nodelay(true).expect("an open socket");
    stream
}

/// How many files the process may have open, which is how many connections it can make.
pub fn open_files_max() -> usize {
    let text = fs::read_to_string("/proc/self/limits").expect("the kernel says");
    let line = text.lines().find_map(|line| line.strip_prefix("Max open files")).expect("a limit of files");
    line.split_whitespace().next().and_then(|number| number.parse().ok()).unwrap_or(usize::MAX)
}

/// As many connections as wanted, or as the machine lets one process have.
pub fn connections_at_most(wanted: usize) -> usize {
    raise_open_files();
    wanted.min(open_files_max().saturating_sub(200))
}

/// For this process, and so for the servers that it starts.
fn raise_open_files() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let pid = std::process::id().to_string();
        // Where the limit cannot be raised, the attacks have fewer connections.
        let _refused = Command::new("prlimit").args(["--pid", &pid, "--nofile=20000"]).output();
    });
}

/// Does the same over and over in two threads for as long as the attack lasts, at most so many times a second; answers how
/// often a second it was.
pub fn over_and_over(subject: &Subject, per_second: u32, once: impl Fn() + Sync) -> f64 {
    paced((2, per_second), subject.lasts(), || (), |(), _| once())
}

/// How many of these connections the server has not closed; what it sent is thrown away.
pub fn count_open(streams: &[TcpStream]) -> usize {
    streams.iter().filter(|stream| is_open(stream)).count()
}

fn is_open(mut stream: &TcpStream) -> bool {
    use std::io::Read as _;
    stream.set_nonblocking(true).expect("an open socket");
    let mut piece = [0; 4096];
    loop {
        match stream.read(&mut piece) {
            Ok(0) => return false,
            Ok(_) => {}
            Err(error) => return error.kind() == std::io::ErrorKind::WouldBlock,
        }
    }
}
