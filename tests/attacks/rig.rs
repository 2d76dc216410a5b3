//! Runs one attack on each server and measures what it did to the server and to the neighbour.

use std::cell::Cell;
use std::fs;
use std::net::{SocketAddr, TcpStream};
use std::process::Command;
use std::sync::Once;
use std::time::{Duration, Instant};

use crate::neighbour::{Latencies, Neighbour};
use crate::support::redis::Redis;
use crate::support::resp::Connection;
use crate::support::sojourn::Sojourn;

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

/// How long an attack goes on.
pub fn duration() -> Duration {
    so_many(Duration::from_millis(700), Duration::from_secs(3))
}

/// One of the two servers.
pub enum Subject {
    Sojourn(Sojourn),
    Redis(Redis),
}

impl Subject {
    pub const fn is_sojourn(&self) -> bool {
        matches!(self, Self::Sojourn(_))
    }

    pub fn address(&self) -> SocketAddr {
        match self {
            Self::Sojourn(sojourn) => sojourn.address(),
            Self::Redis(redis) => redis.address(),
        }
    }

    fn pid(&self) -> u32 {
        match self {
            Self::Sojourn(sojourn) => sojourn.pid(),
            Self::Redis(redis) => redis.pid(),
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
        self.status("VmRSS:")
    }

    /// The most that it held since the last [`Self::forget_peak`].
    fn peak_bytes(&self) -> u64 {
        self.status("VmHWM:")
    }

    fn forget_peak(&self) {
        fs::write(format!("/proc/{}/clear_refs", self.pid()), "5").expect("the peak is reset");
    }

    fn status(&self, name: &str) -> u64 {
        let text = fs::read_to_string(format!("/proc/{}/status", self.pid())).expect("the server lives");
        let line = text.lines().find_map(|line| line.strip_prefix(name)).expect("the kernel says");
        line.trim().trim_end_matches(" kB").parse::<u64>().expect("a number") * 1024
    }
}

/// What an attacker can say in the end.
pub struct Aftermath {
    /// What happened to it.
    pub attacker: String,
    /// Connections that were open at the end.
    pub held: usize,
}

/// What an attack did to one server.
pub struct Figures {
    pub grown_bytes: u64,
    pub aftermath: Aftermath,
    pub neighbour: Latencies,
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
    pub run: Box<dyn Fn(&Subject) -> Aftermath + 'a>,
}

impl<'a> Attack<'a> {
    /// An attack without settings.
    pub fn new(test: &'static str, what: String, run: impl Fn(&Subject) -> Aftermath + 'a) -> Self {
        Self { test, what, settings: &[], own_settings: &[], spares_redis: false, run: Box::new(run) }
    }

    /// Runs it on both servers, and prints their rows; answers Sojourn's figures, and redis-server's if it is not spared.
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
        let (mut own, mut other) = (Vec::new(), Vec::new());
        for _ in 0..rounds() {
            own.push(self.run_on(&Subject::Sojourn(sojourn())));
            if !self.spares_redis {
                other.push(self.run_on(&Subject::Redis(Redis::start_in(&std::env::temp_dir(), redis))));
            }
        }
        let own = Figures::median(own).expect("there is a round");
        let other = Figures::median(other);
        println!("{}", self.row(self.what.as_str(), "Sojourn", &own, &format!("`{}`", self.test)));
        if let Some(other) = &other {
            println!("{}", self.row("", "redis-server", other, ""));
        }
        (own, other)
    }

    fn run_on(&self, subject: &Subject) -> Figures {
        let password = self.settings.iter().position(|word| *word == "--requirepass").map(|at| self.settings[at + 1]);
        let neighbour = Neighbour::move_in(subject.address(), password);
        let before = subject.resident_bytes();
        subject.forget_peak();
        let aftermath = (self.run)(subject);
        let grown_bytes = subject.peak_bytes().saturating_sub(before);
        let neighbour = neighbour.move_out();
        if subject.is_sojourn() {
            assert!(neighbour.max < NEIGHBOUR_MAX, "{}: {neighbour:?}", self.test);
        }
        Figures { grown_bytes, aftermath, neighbour }
    }

    fn row(&self, what: &str, server: &str, figures: &Figures, test: &str) -> String {
        format!(
            "| {what} | {server} | {} | {:.1} | {} | {} | {test} |",
            figures.aftermath.held,
            mebibytes(figures.grown_bytes),
            figures.neighbour,
            figures.aftermath.attacker,
        )
    }
}

impl Figures {
    /// The median of each figure; what the attacker says is that of the round in the middle by the neighbour's p99.
    fn median(mut rounds: Vec<Self>) -> Option<Self> {
        let middle = rounds.len() / 2;
        let by = |of: fn(&Latencies) -> Duration| {
            let mut all: Vec<_> = rounds.iter().map(|round| of(&round.neighbour)).collect();
            all.sort_unstable();
            all.get(middle).copied()
        };
        let neighbour = Latencies {
            p50: by(|latencies| latencies.p50)?,
            p99: by(|latencies| latencies.p99)?,
            max: by(|latencies| latencies.max)?,
        };
        let mut grown_bytes: Vec<_> = rounds.iter().map(|round| round.grown_bytes).collect();
        grown_bytes.sort_unstable();
        rounds.sort_by_key(|round| round.neighbour.p99);
        Some(Self { grown_bytes: grown_bytes[middle], aftermath: rounds.swap_remove(middle).aftermath, neighbour })
    }
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

/// Does the same over and over in two threads for as long as an attack lasts; answers how often a second.
pub fn over_and_over(once: impl Fn() + Sync) -> f64 {
    let tried = || {
        let (begun, mut times) = (Instant::now(), 0_u32);
        while begun.elapsed() < duration() {
            once();
            times += 1;
        }
        times
    };
    let times: u32 = std::thread::scope(|threads| {
        let threads = [threads.spawn(tried), threads.spawn(tried)];
        threads.map(|thread| thread.join().expect("it ends")).iter().sum()
    });
    f64::from(times) / duration().as_secs_f64()
}

/// Waits until something is so.
pub fn wait_until(what: &str, mut is_so: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !is_so() {
        assert!(begun.elapsed() < Duration::from_secs(20), "{what}: not within 20 seconds");
        std::thread::sleep(Duration::from_millis(5));
    }
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
