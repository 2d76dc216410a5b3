//! A client that writes as fast as it can, and remembers what was acknowledged and what was under way.

use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::history::{Answer, Effect, Found, History, Life, Write};
use super::server::{is_error, is_ok};
use super::support::resp::{Connection, Frame, encode};

/// Keys of one connection; few enough that each is written often.
const KEYS: u64 = 300;
/// The most commands that are sent before their replies are read.
const PIPELINE_MAX: u64 = 48;
/// What may pass between the sending of a relative time and its start.
const DELAY_MS: i64 = 30_000;
/// How long a writer rests that was refused: nobody needs refusals by the million.
const REST: Duration = Duration::from_millis(2);

/// Random numbers of a seed (SplitMix64).
#[derive(Clone, Debug)]
pub struct Random(pub u64);

impl Random {
    /// A seed from `SOJOURN_SEED`, or a new one.
    pub fn seed() -> u64 {
        let new = || SystemTime::now().duration_since(UNIX_EPOCH).map_or(1, |since| since.as_micros() as u64);
        std::env::var("SOJOURN_SEED").map_or_else(|_| new(), |seed| seed.parse().expect("SOJOURN_SEED: a number"))
    }

    /// A number below `end`.
    pub fn below(&mut self, end: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        (mixed ^ (mixed >> 31)) % end
    }
}

pub fn now_ms() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_millis() as i64
}

/// One connection's work, which goes on after a restart of the server.
pub struct Writer {
    name: usize,
    random: Random,
    versions: u64,
    pub history: History,
}

/// How the writes of all connections were answered.
#[derive(Debug, Default)]
pub struct Answers {
    pub acked: AtomicU64,
    pub refused: AtomicU64,
    pub uncertain: AtomicU64,
}

/// A script that is as much a transaction as MULTI and EXEC.
const SET_BOTH: &[u8] = b"redis.call('SET', KEYS[1], ARGV[1]) return redis.call('SET', KEYS[2], ARGV[1])";

/// A command, or a whole transaction: the number of its replies, what the last one says, and the keys that it changes.
struct Sent {
    replies: usize,
    answer: fn(&Frame) -> Option<Answer>,
    keys: Vec<Vec<u8>>,
}

impl Sent {
    /// Reads its replies.
    fn read(&self, connection: &mut Connection) -> io::Result<Answer> {
        for _ in 1..self.replies {
            connection.read()?;
        }
        let frame = connection.read()?;
        if is_error(&frame, "MISCONF") || is_error(&frame, "EXECABORT") {
            return Ok(Answer::Refused);
        }
        if is_error(&frame, "UNCERTAIN") {
            return Ok(Answer::Uncertain);
        }
        let answer = (self.answer)(&frame);
        Ok(answer.unwrap_or_else(|| panic!("not the reply to a write of {:?}: {frame:?}", self.keys)))
    }
}

impl Writer {
    pub fn new(name: usize, seed: u64) -> Self {
        let mut history = History::default();
        for number in 0..KEYS / 10 {
            history.pairs.push((pair_key(name, "one", number), pair_key(name, "other", number)));
        }
        Self { name, random: Random(seed.wrapping_add(name as u64)), versions: 0, history }
    }

    /// Writes until the connection breaks. Counts each answer.
    pub fn run(mut self, address: SocketAddr, answers: &Answers) -> Self {
        let Ok(mut connection) = Connection::open(address) else { return self };
        // The end of the connection is the end of this round.
        while self.round(&mut connection, answers).is_ok() {}
        self
    }

    fn round(&mut self, connection: &mut Connection, answers: &Answers) -> io::Result<()> {
        let mut bytes = Vec::new();
        let count = 1 + self.random.below(PIPELINE_MAX);
        let sent: Vec<Sent> = (0..count).map(|_| self.write(&mut bytes)).collect();
        connection.send(&bytes)?;
        let mut was_refused = false;
        for write in sent {
            let answer = write.read(connection)?;
            write.keys.iter().for_each(|key| self.history.answered(key, answer));
            was_refused |= answer == Answer::Refused;
            let count = match answer {
                Answer::Done | Answer::DoneOn { .. } => &answers.acked,
                Answer::Refused => &answers.refused,
                Answer::Uncertain => &answers.uncertain,
            };
            count.fetch_add(1, Ordering::Relaxed);
        }
        if was_refused {
            thread::sleep(REST);
        }
        Ok(())
    }

    /// Adds one write to what is sent.
    fn write(&mut self, bytes: &mut Vec<u8>) -> Sent {
        let number = self.random.below(KEYS);
        let key = format!("{}:{}:{number}", ["sess", "key"][(number % 2) as usize], self.name).into_bytes();
        let newest = self.history.newest(&key);
        match (self.random.below(10), newest) {
            (0..=1, Some(_)) => self.expire(bytes, key),
            (2, Some(life)) if life.end.is_some() => self.same_value(bytes, key, life),
            (3..=4, Some(_)) => self.delete(bytes, key),
            (5..=6, _) => self.transaction(bytes),
            (_, _) => self.set(bytes, key),
        }
    }

    fn set(&mut self, bytes: &mut Vec<u8>, key: Vec<u8>) -> Sent {
        let value = self.value();
        let end = now_ms() + 3_600_000 + self.random.below(3_600_000) as i64;
        if self.random.below(5) == 0 {
            bytes.extend(encode(&[&b"SET"[..], &key, &value]));
            return self.sent(key, Effect::Put(value, None), done);
        }
        bytes.extend(encode(&[&b"SET"[..], &key, &value, b"PXAT", end.to_string().as_bytes()]));
        self.sent(key, Effect::Put(value, Some(end)), done)
    }

    /// What express-session does on every request: the same bytes with a new end.
    fn same_value(&mut self, bytes: &mut Vec<u8>, key: Vec<u8>, life: Life) -> Sent {
        let end = now_ms() + 3_600_000 + self.random.below(7_200_000) as i64;
        bytes.extend(encode(&[&b"SET"[..], &key, &life.value, b"PXAT", end.to_string().as_bytes()]));
        self.sent(key, Effect::Put(life.value, Some(end)), done)
    }

    fn expire(&mut self, bytes: &mut Vec<u8>, key: Vec<u8>) -> Sent {
        let ttl_s = 600 + self.random.below(6_000) as i64;
        let end = now_ms() + ttl_s * 1_000;
        let (command, word, to) = match self.random.below(3) {
            0 => ("EXPIRE", ttl_s, end + DELAY_MS),
            1 => ("PEXPIRE", ttl_s * 1_000, end + DELAY_MS),
            _ => ("PEXPIREAT", end, end),
        };
        bytes.extend(encode(&[command.as_bytes(), &key, word.to_string().as_bytes()]));
        self.sent(key, Effect::Expire(end, to), done_on)
    }

    fn delete(&mut self, bytes: &mut Vec<u8>, key: Vec<u8>) -> Sent {
        bytes.extend(encode(&[&b"DEL"[..], &key]));
        self.sent(key, Effect::Delete, done_on)
    }

    /// Notes a command of one reply and one key.
    fn sent(&mut self, key: Vec<u8>, effect: Effect, answer: fn(&Frame) -> Option<Answer>) -> Sent {
        self.history.sent(&key, Write { effect, sent_ms: now_ms() });
        Sent { replies: 1, answer, keys: vec![key] }
    }

    /// Two keys that are always written together, by an EXEC or by a script.
    fn transaction(&mut self, bytes: &mut Vec<u8>) -> Sent {
        let number = self.random.below(self.history.pairs.len() as u64) as usize;
        let (one, other) = self.history.pairs[number].clone();
        let value = self.value();
        for key in [&one, &other] {
            self.history.sent(key, Write { effect: Effect::Put(value.clone(), None), sent_ms: now_ms() });
        }
        if self.random.below(2) == 0 {
            bytes.extend(encode(&[b"EVAL", SET_BOTH, b"2", &one, &other, &value]));
            return Sent { replies: 1, answer: done, keys: vec![one, other] };
        }
        bytes.extend(encode(&["MULTI"]));
        for key in [&one, &other] {
            bytes.extend(encode(&[&b"SET"[..], key, &value]));
        }
        bytes.extend(encode(&["EXEC"]));
        let answer = |frame: &Frame| {
            let all = frame.items().len() == 2 && frame.items().iter().all(is_ok);
            all.then_some(Answer::Done)
        };
        Sent { replies: 4, answer, keys: vec![one, other] }
    }

    /// A session as an app stores it, or bytes that no `json` column takes; never one that was there before.
    fn value(&mut self) -> Vec<u8> {
        self.versions += 1;
        let version = self.versions;
        match self.random.below(4) {
            0 => [&[0x80, 0x04, 0x00][..], format!("{}-{version}", self.name).as_bytes(), &[0xff]].concat(),
            _ => {
                let filling = "x".repeat(self.random.below(300) as usize);
                format!(r#"{{"cookie":{{"originalMaxAge":3600000}},"n":"{}-{version}","f":"{filling}"}}"#, self.name)
                    .into_bytes()
            }
        }
    }

    /// All keys of this connection as the server has them now.
    pub fn find(&self, address: SocketAddr) -> BTreeMap<Vec<u8>, Found> {
        let mut connection = Connection::open(address).expect("a connection");
        let keys: Vec<&Vec<u8>> = self.history.keys.keys().collect();
        let mut all = BTreeMap::new();
        for part in keys.chunks(100) {
            let asked: Vec<u8> = part
                .iter()
                .flat_map(|key| [encode(&[&b"GET"[..], key]), encode(&[&b"PEXPIRETIME"[..], key])].concat())
                .collect();
            connection.send(&asked).expect("a server");
            for key in part {
                let value = connection.read().expect("a value");
                let end = connection.read().expect("an end").integer().expect("a number");
                assert!(matches!(value, Frame::Bulk(..)), "not the reply to GET: {value:?}");
                let found = value.bytes().map(|value| (value.to_vec(), Some(end).filter(|end| *end >= 0)));
                all.insert((*key).clone(), found);
            }
        }
        all
    }
}

fn done(frame: &Frame) -> Option<Answer> {
    is_ok(frame).then_some(Answer::Done)
}

fn done_on(frame: &Frame) -> Option<Answer> {
    let count = frame.integer().filter(|count| (0..=1).contains(count))?;
    Some(Answer::DoneOn { there: count == 1 })
}

fn pair_key(name: usize, which: &str, number: u64) -> Vec<u8> {
    // One of the two lives in a session table, if its value can.
    let prefix = if which == "one" { "sess" } else { "pair" };
    format!("{prefix}:pair-{name}:{which}:{number}").into_bytes()
}
