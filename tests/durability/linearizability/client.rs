//! A client that sends random commands on few keys, one after the other, and records what it was answered.

use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use super::super::load::Random;
use super::super::server::{is_error, is_ok};
use super::super::support::resp::{Connection, Frame, encode};
use super::model::{Command, Operation, Reply, VALUE_STEP, Value};
use super::record::{Record, Recorded};

/// Keys of a round: few, so that clients meet.
const KEYS: u64 = 4;
/// What both accounts hold together.
pub const TOTAL: i64 = 1_000;
/// The name of their record.
const ACCOUNTS: &str = "accounts";
/// The first end, in the year 2100, and what lies between two ends: more than a touch may lag.
const FIRST_END_MS: i64 = 4_102_444_800_000;
const END_STEP_MS: i64 = 1_000_000;
const ENDS: u64 = 20;
/// How long a client rests that was refused or not let in: in an outage only reads go on, and they hardly ever meet.
const REST: Duration = Duration::from_millis(40);

/// What the clients of a round share.
pub struct Stage {
    address: Mutex<SocketAddr>,
    answered: AtomicU64,
    over: AtomicBool,
    round: u64,
}

impl Stage {
    pub fn new(address: SocketAddr, round: u64) -> Self {
        Self { address: Mutex::new(address), answered: AtomicU64::new(0), over: AtomicBool::new(false), round }
    }

    /// Where the server listens from now on.
    pub fn move_to(&self, address: SocketAddr) {
        *self.address.lock().expect("no panic") = address;
    }

    /// How many operations had a known outcome.
    pub fn answered(&self) -> u64 {
        self.answered.load(Ordering::Relaxed)
    }

    fn is_over(&self) -> bool {
        self.over.load(Ordering::Relaxed)
    }

    /// Ends the round when what it answers is dropped.
    pub fn ends_when_dropped(&self) -> impl Drop {
        End(&self.over)
    }

    /// The keys that are read and written one by one: of both tables, and of one that changes between them.
    pub fn keys(&self) -> Vec<String> {
        (0..KEYS).map(|number| format!("{}:{}-{number}", ["sess", "key"][(number % 2) as usize], self.round)).collect()
    }

    /// The two keys that only EXEC writes.
    pub fn accounts(&self) -> [String; 2] {
        [format!("sess:{}-one", self.round), format!("key:{}-other", self.round)]
    }
}

struct End<'a>(&'a AtomicBool);

impl Drop for End<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// What came of a command.
enum Outcome {
    Known(Reply),
    /// Refused, or an EXEC whose watched key had changed: not applied, now or later.
    NotApplied,
    /// Applied or not.
    Unknown,
}

/// One client, and its records by key.
pub struct Client {
    random: Random,
    /// The next value that it writes, never one that anybody wrote before.
    next: i64,
    pub records: BTreeMap<String, Record>,
}

impl Client {
    /// A client of this number, below 1 000.
    pub fn new(number: u64, seed: u64) -> Self {
        Self {
            random: Random(seed.wrapping_add(number << 32)),
            next: (number as i64 + 1) << 40,
            records: BTreeMap::new(),
        }
    }

    /// Goes on, over as many connections as it takes, until the round is over.
    pub fn run(mut self, stage: &Stage) -> Self {
        while !stage.is_over() {
            let address = *stage.address.lock().expect("no panic");
            // A connection that breaks is followed by the next one; what was under way on it is recorded as unknown.
            if let Ok(mut connection) = Connection::open(address) {
                while !stage.is_over() && self.act(stage, &mut connection).is_ok() {}
            }
            thread::sleep(REST);
        }
        self
    }

    fn act(&mut self, stage: &Stage, connection: &mut Connection) -> io::Result<()> {
        let known = match self.random.below(6) {
            0 => self.move_money(connection, &stage.accounts())?,
            1 => self.read_accounts(connection, &stage.accounts())?.is_some(),
            _ => {
                let keys = stage.keys();
                let key = &keys[self.random.below(KEYS) as usize];
                match self.random.below(12) {
                    0 => self.set_watched(connection, key)?,
                    kind => {
                        let command = self.command(kind);
                        self.call(connection, key, command)?.is_some()
                    }
                }
            }
        };
        if known {
            stage.answered.fetch_add(1, Ordering::Relaxed);
        } else {
            thread::sleep(REST);
        }
        Ok(())
    }

    fn command(&mut self, kind: u64) -> Command {
        let end = FIRST_END_MS + self.random.below(ENDS) as i64 * END_STEP_MS;
        match kind {
            1 => Command::SetNx(self.value()),
            2 | 3 => Command::Set(self.value()),
            4 => Command::GetDel,
            5 => Command::Del,
            6 => Command::GetEx(end),
            7 => Command::Incr,
            8 => Command::Shorten(end),
            9 if self.random.below(3) == 0 => Command::ExpireNow,
            9 | 10 => Command::End,
            _ => Command::Get,
        }
    }

    fn value(&mut self) -> Value {
        self.next += VALUE_STEP;
        if self.random.below(2) == 0 { Value::Session(self.next) } else { Value::Number(self.next) }
    }

    /// One command. `None` if it was not applied, or if its outcome is not known.
    pub fn call(&mut self, connection: &mut Connection, key: &str, command: Command) -> io::Result<Option<Reply>> {
        self.recorded(key, command, || connection.call(&words(key, command)).map(|frame| outcome(&frame)))
    }

    /// WATCH, GET, and an EXEC that must not happen if the key changed in between.
    fn set_watched(&mut self, connection: &mut Connection, key: &str) -> io::Result<bool> {
        if !is_ok(&connection.call(&["WATCH", key])?) {
            return Ok(false);
        }
        let Some(read) = self.call(connection, key, Command::Get)? else { return unwatch(connection) };
        let expected = if let Reply::Value(value) = read { Some(value) } else { None };
        let new = self.value();
        let set = words(key, Command::Set(new));
        let send = || exec(connection, &[set], |_| Some(Reply::Ok));
        Ok(self.recorded(key, Command::WatchedSet { expected, new }, send)?.is_some())
    }

    /// Reads both accounts and moves money between them, if neither changed in between.
    fn move_money(&mut self, connection: &mut Connection, accounts: &[String; 2]) -> io::Result<bool> {
        let [one, other] = accounts;
        if !is_ok(&connection.call(&["WATCH", one, other])?) {
            return Ok(false);
        }
        let send = || connection.call(&["MGET", one, other]).map(|frame| known_or(&frame, balances(frame.items())));
        let Some(Reply::Value(read @ Value::Accounts(held, _))) = self.recorded(ACCOUNTS, Command::Get, send)? else {
            return unwatch(connection);
        };
        let amount = self.random.below(100) as i64;
        let new = Value::Accounts(held - amount, TOTAL - held + amount);
        let command = Command::WatchedSet { expected: Some(read), new };
        Ok(self.set_accounts(connection, accounts, command, new)?.is_some())
    }

    /// Sets both accounts in one EXEC.
    pub fn set_accounts(
        &mut self,
        connection: &mut Connection,
        [one, other]: &[String; 2],
        command: Command,
        new: Value,
    ) -> io::Result<Option<Reply>> {
        let Value::Accounts(first, second) = new else { return Ok(None) };
        let sets = [words(one, Command::Set(Value::Session(first))), words(other, Command::Set(Value::Number(second)))];
        self.recorded(ACCOUNTS, command, || exec(connection, &sets, |_| Some(Reply::Ok)))
    }

    /// Reads both accounts in one EXEC.
    pub fn read_accounts(
        &mut self,
        connection: &mut Connection,
        [one, other]: &[String; 2],
    ) -> io::Result<Option<Reply>> {
        let gets = [words(one, Command::Get), words(other, Command::Get)];
        self.recorded(ACCOUNTS, Command::Get, || exec(connection, &gets, balances))
    }

    /// Does and records something. Reads without an answer say nothing and are left out.
    fn recorded(
        &mut self,
        key: &str,
        command: Command,
        send: impl FnOnce() -> io::Result<Outcome>,
    ) -> io::Result<Option<Reply>> {
        let called = Instant::now();
        let outcome = send();
        let returned = Instant::now();
        let reply = match outcome {
            Ok(Outcome::Known(reply)) => Some(reply),
            Ok(Outcome::NotApplied) => return Ok(None),
            Ok(Outcome::Unknown) | Err(_) => None,
        };
        if reply.is_some() || !matches!(command, Command::Get | Command::End) {
            let recorded = Recorded { operation: Operation { command, reply }, called, returned };
            self.records.entry(key.to_owned()).or_default().0.push(recorded);
        }
        outcome.map(|_| reply)
    }
}

/// A command's words.
fn words(key: &str, command: Command) -> Vec<String> {
    let words = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect();
    match command {
        Command::Get => words(&["GET", key]),
        Command::Set(value) | Command::WatchedSet { new: value, .. } => words(&["SET", key, &text(value)]),
        Command::SetNx(value) => words(&["SET", key, &text(value), "NX"]),
        Command::GetDel => words(&["GETDEL", key]),
        Command::Del => words(&["DEL", key]),
        Command::GetEx(end) => words(&["GETEX", key, "PXAT", &end.to_string()]),
        Command::Incr => words(&["INCR", key]),
        Command::Shorten(end) => words(&["PEXPIREAT", key, &end.to_string(), "LT"]),
        Command::ExpireNow => words(&["EXPIRE", key, "0"]),
        Command::End => words(&["PEXPIRETIME", key]),
    }
}

fn text(value: Value) -> String {
    match value {
        Value::Session(number) => format!(r#"{{"n":{number}}}"#),
        Value::Number(number) => number.to_string(),
        Value::Accounts(..) => panic!("no key holds both accounts"),
    }
}

fn value(text: &[u8]) -> Value {
    let text = std::str::from_utf8(text).expect("text");
    let session = text.strip_prefix(r#"{"n":"#).and_then(|rest| rest.strip_suffix('}'));
    let number = session.unwrap_or(text).parse().expect("a value that was written");
    if session.is_some() { Value::Session(number) } else { Value::Number(number) }
}

/// The values of both accounts, whose sum never changes.
fn balances(frames: &[Frame]) -> Option<Reply> {
    let [one, other] = frames else { return None };
    let balance = |frame: &Frame| match frame.bytes().map(value) {
        Some(Value::Session(number) | Value::Number(number)) => number,
        Some(Value::Accounts(..)) | None => panic!("an account is gone: {frames:?}"),
    };
    let (one, other) = (balance(one), balance(other));
    assert_eq!(one + other, TOTAL, "a transfer was torn: {frames:?}");
    Some(Reply::Value(Value::Accounts(one, other)))
}

/// One command's outcome.
fn outcome(frame: &Frame) -> Outcome {
    let reply = match frame {
        Frame::Line(b'+', _) => Some(Reply::Ok),
        Frame::Line(b':', _) => frame.integer().map(Reply::Integer),
        Frame::Line(b'-', text) if text.starts_with(b"ERR value is not an integer") => Some(Reply::NotAnInteger),
        Frame::Bulk(b'$', bytes) => Some(bytes.as_deref().map_or(Reply::Nil, |bytes| Reply::Value(value(bytes)))),
        Frame::Line(..) | Frame::Bulk(..) | Frame::Aggregate(..) => None,
    };
    known_or(frame, reply)
}

/// The outcome of a reply that is an error, if it is not a known one.
fn known_or(frame: &Frame, reply: Option<Reply>) -> Outcome {
    if let Some(reply) = reply {
        return Outcome::Known(reply);
    }
    if is_error(frame, "UNCERTAIN") {
        return Outcome::Unknown;
    }
    let is_refused = ["MISCONF", "LOADING", "EXECABORT"].iter().any(|word| is_error(frame, word));
    assert!(is_refused || matches!(frame, Frame::Aggregate(_, None)), "an unexpected reply: {frame:?}");
    Outcome::NotApplied
}

/// MULTI, these commands and EXEC in one go; `reply` is what the replies in it say together.
fn exec(
    connection: &mut Connection,
    commands: &[Vec<String>],
    reply: impl Fn(&[Frame]) -> Option<Reply>,
) -> io::Result<Outcome> {
    let mut bytes = encode(&["MULTI"]);
    commands.iter().for_each(|words| bytes.extend(encode(words)));
    bytes.extend(encode(&["EXEC"]));
    connection.send(&bytes)?;
    for _ in 0..=commands.len() {
        // +OK and +QUEUED, or an error that EXEC repeats.
        connection.read()?;
    }
    let frame = connection.read()?;
    let reply = if let Frame::Aggregate(_, Some(items)) = &frame { reply(items) } else { None };
    Ok(known_or(&frame, reply))
}

/// Ends a WATCH that came to nothing.
fn unwatch(connection: &mut Connection) -> io::Result<bool> {
    connection.call(&["UNWATCH"]).map(|_| false)
}
