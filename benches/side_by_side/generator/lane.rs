//! One connection with many requests under way. Replies come in the order of the requests, so a queue of what is awaited
//! says what each reply means.

use std::collections::VecDeque;
use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::visits::Visit;
use super::{REPLY_TIMEOUT, Tally};
use crate::stage::Result;
use crate::stage::session::{PREFIX, TTL_SECONDS, login_sid, sid, value};

/// How often a reader that has nothing to read looks whether all is said.
const LOOK: Duration = Duration::from_millis(20);

/// Where an open load waits for a server that does not keep up, so that neither side's buffers fill: its latencies
/// count from the schedule all the same.
const AWAITED_MAX: usize = 4_096;

/// What a reply means.
#[derive(Clone, Copy, Debug)]
enum Meaning {
    /// The session of a visit was read, and the rest of the visit follows.
    Opened(Visit),
    /// A session was read, and nothing follows.
    Read,
    /// A session was written.
    Written,
    /// A life was lengthened, or a session deleted.
    Done,
    /// The new session of this number stands.
    LoggedIn(u64),
}

#[derive(Clone, Copy, Debug)]
struct Awaited {
    meaning: Meaning,
    /// When the request was to be sent, if its latency counts and this reply is its last.
    ends: Option<Instant>,
}

/// A connection.
#[derive(Debug)]
pub struct Lane {
    stream: TcpStream,
    outgoing: Mutex<Outgoing>,
}

/// What was sent and not answered, and what is about to be sent.
#[derive(Debug, Default)]
pub struct Outgoing {
    awaited: VecDeque<Awaited>,
    bytes: Vec<u8>,
    /// New sessions that stand.
    logged_in: VecDeque<u64>,
}

impl Lane {
    /// Connects.
    ///
    /// # Errors
    /// When nobody listens there.
    pub fn open(address: SocketAddr) -> Result<Self> {
        let stream = TcpStream::connect(address)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(LOOK))?;
        stream.set_write_timeout(Some(REPLY_TIMEOUT))?;
        Ok(Self { stream, outgoing: Mutex::default() })
    }

    /// Sends what `write` adds, in one piece.
    ///
    /// # Errors
    /// When the server is gone.
    pub fn send(&self, write: impl FnOnce(&mut Outgoing)) -> Result<()> {
        let mut outgoing = self.lock();
        write(&mut outgoing);
        self.flush(&mut outgoing)
    }

    /// Waits until there is room for another request.
    ///
    /// # Errors
    /// When there is none for long.
    pub fn wait_for_room(&self) -> Result<()> {
        let begun = Instant::now();
        while self.lock().awaited.len() >= AWAITED_MAX {
            if begun.elapsed() > REPLY_TIMEOUT {
                return Err("the server does not answer".into());
            }
            std::thread::sleep(Duration::from_millis(1));
        }
        Ok(())
    }

    /// Reads replies until `finished` is set and nothing is awaited. `next` says which visit begins when one ends.
    ///
    /// # Errors
    /// An error reply, a session that is not there, a server that is gone or silent.
    pub fn read(&self, finished: &AtomicBool, mut next: impl FnMut() -> Option<Visit>) -> Result<Tally> {
        let mut tally = Tally::new();
        let mut input = Vec::with_capacity(64 * 1024);
        let mut chunk = vec![0; 64 * 1024];
        let mut heard = Instant::now();
        loop {
            match (&self.stream).read(&mut chunk) {
                Ok(0) => return Err("the server closed a connection".into()),
                Ok(read) => {
                    heard = Instant::now();
                    input.extend_from_slice(&chunk[..read]);
                    self.take_replies(&mut input, &mut tally, &mut next)?;
                }
                Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {}
                Err(error) => return Err(error.into()),
            }
            let nothing_awaited = || self.lock().awaited.is_empty();
            if finished.load(Ordering::Acquire) && nothing_awaited() {
                return Ok(tally);
            }
            if heard.elapsed() > REPLY_TIMEOUT && !nothing_awaited() {
                return Err("a reply does not come".into());
            }
        }
    }

    fn take_replies(
        &self,
        input: &mut Vec<u8>,
        tally: &mut Tally,
        next: &mut impl FnMut() -> Option<Visit>,
    ) -> Result<()> {
        let mut outgoing = self.lock();
        let now = Instant::now();
        let mut start = 0;
        while let Some((reply, length)) = first_reply(&input[start..])? {
            start += length;
            let awaited = outgoing.awaited.pop_front().ok_or("a reply that nobody asked for")?;
            outgoing.take(awaited.meaning, reply, awaited.ends, tally)?;
            if let (Some(scheduled), false) = (awaited.ends, matches!(awaited.meaning, Meaning::Opened(_))) {
                tally.record(now.saturating_duration_since(scheduled));
                if let Some(visit) = next() {
                    outgoing.open(visit, now);
                }
            }
        }
        input.drain(..start);
        self.flush(&mut outgoing)
    }

    fn flush(&self, outgoing: &mut Outgoing) -> Result<()> {
        (&self.stream).write_all(&outgoing.bytes)?;
        outgoing.bytes.clear();
        Ok(())
    }

    fn lock(&self) -> MutexGuard<'_, Outgoing> {
        // Whoever panicked ends the run.
        self.outgoing.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Outgoing {
    /// Begins a visit: its session is read.
    pub fn open(&mut self, visit: Visit, scheduled: Instant) {
        self.request(&["GET", &session(visit.key)], Meaning::Opened(visit), Some(scheduled));
    }

    /// Reads a session.
    pub fn read(&mut self, key: u32, scheduled: Instant) {
        self.request(&["GET", &session(key)], Meaning::Read, Some(scheduled));
    }

    /// Writes a session; its latency does not count.
    pub fn write(&mut self, key: u32, nonce: u64) {
        self.set(&session(key), nonce, Meaning::Written);
    }

    fn set(&mut self, key: &str, nonce: u64, meaning: Meaning) {
        self.request(&["SET", key, &value(nonce), "EX", &TTL_SECONDS.to_string()], meaning, None);
    }

    fn request(&mut self, words: &[&str], meaning: Meaning, ends: Option<Instant>) {
        // Writing to a vector cannot fail.
        let _ = write!(self.bytes, "*{}\r\n", words.len());
        for word in words {
            let _ = write!(self.bytes, "${}\r\n{word}\r\n", word.len());
        }
        self.awaited.push_back(Awaited { meaning, ends });
    }

    fn take(&mut self, meaning: Meaning, reply: Reply, ends: Option<Instant>, tally: &mut Tally) -> Result<()> {
        match (meaning, reply) {
            (Meaning::Opened(visit), Reply::Value) => self.go_on(visit, ends),
            (Meaning::Read, Reply::Value) => {}
            (Meaning::Done, Reply::Integer(1)) => {}
            (Meaning::Written, Reply::Line) => tally.sets += 1,
            (Meaning::LoggedIn(nonce), Reply::Line) => {
                tally.sets += 1;
                self.logged_in.push_back(nonce);
            }
            (meaning, reply) => return Err(format!("{meaning:?} was answered with {reply:?}").into()),
        }
        Ok(())
    }

    /// The rest of a visit. The life is lengthened first; what comes last ends the visit.
    fn go_on(&mut self, visit: Visit, scheduled: Option<Instant>) {
        let key = session(visit.key);
        self.request(&["EXPIRE", &key, &TTL_SECONDS.to_string()], Meaning::Done, None);
        if visit.writes {
            self.set(&key, visit.nonce, Meaning::Written);
        }
        if visit.logs_in {
            let key = format!("{PREFIX}{}", login_sid(visit.nonce));
            self.set(&key, visit.nonce, Meaning::LoggedIn(visit.nonce));
        }
        if let Some(nonce) = self.logged_in.pop_front_if(|_| visit.logs_out) {
            self.request(&["DEL", &format!("{PREFIX}{}", login_sid(nonce))], Meaning::Done, None);
        }
        if let Some(last) = self.awaited.back_mut() {
            last.ends = scheduled;
        }
    }
}

fn session(key: u32) -> String {
    format!("{PREFIX}{}", sid(key))
}

/// A reply, as far as the generator cares.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Reply {
    /// A value.
    Value,
    /// No value.
    Nil,
    /// A status.
    Line,
    /// A number.
    Integer(i64),
}

/// The first reply of `input` and its length, if it is whole.
fn first_reply(input: &[u8]) -> Result<Option<(Reply, usize)>> {
    let Some(end) = memchr::memchr(b'\n', input) else { return Ok(None) };
    let (kind, text) = (input[0], String::from_utf8_lossy(&input[1..end.max(2) - 1]));
    let head = end + 1;
    match kind {
        b'+' => Ok(Some((Reply::Line, head))),
        b':' => Ok(Some((Reply::Integer(text.parse()?), head))),
        b'$' if text == "-1" => Ok(Some((Reply::Nil, head))),
        b'$' => {
            let length = head + text.parse::<usize>()? + 2;
            Ok((input.len() >= length).then_some((Reply::Value, length)))
        }
        _ => Err(format!("the server answers {}{text}", char::from(kind)).into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn replies_are_taken_whole() {
        let replies = b"$3\r\nabc\r\n";
        for cut in 0..replies.len() {
            assert_eq!(first_reply(&replies[..cut]).expect("no error"), None, "cut at {cut}");
        }
        assert_eq!(first_reply(b"$3\r\nabc\r\n+OK").expect("no error"), Some((Reply::Value, 9)));
        assert_eq!(first_reply(b"$-1\r\n").expect("no error"), Some((Reply::Nil, 5)));
        assert_eq!(first_reply(b":17\r\n").expect("no error"), Some((Reply::Integer(17), 5)));
        assert!(first_reply(b"-ERR no\r\n").is_err());
    }

    #[test]
    fn a_visit_ends_with_its_last_command_and_counts_from_its_schedule() {
        let mut outgoing = Outgoing::default();
        let scheduled = Instant::now();
        let visit = Visit { key: 1, writes: true, logs_in: false, logs_out: true, nonce: 5 };
        let mut tally = Tally::new();
        outgoing.take(Meaning::Opened(visit), Reply::Value, Some(scheduled), &mut tally).expect("a value");
        let ends: Vec<_> = outgoing.awaited.iter().map(|awaited| awaited.ends).collect();
        assert_eq!(ends, [None, Some(scheduled)], "EXPIRE and SET; nobody is logged in, so nobody logs out");
        assert!(outgoing.take(Meaning::Opened(visit), Reply::Nil, None, &mut tally).is_err(), "a lost session");
        assert!(outgoing.take(Meaning::Done, Reply::Integer(0), None, &mut tally).is_err(), "a touch of nothing");
    }
}
