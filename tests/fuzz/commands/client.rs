//! A client that counts: it knows how many replies are due, in which protocol, and when it must have been sent away. It
//! waits for ever; the fuzzer's own limit for one input is what ends a wait in vain.

use std::collections::VecDeque;
use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, TcpStream};

use redis_protocol::{resp2, resp3};

/// As many as the server answers at once.
const LOGINS_MAX: usize = 3;

/// Followed by what others publish or do, or answered once for each channel: from then on nobody can count.
const LISTENING: [&[u8]; 5] = [b"monitor", b"subscribe", b"psubscribe", b"unsubscribe", b"punsubscribe"];

/// The protocol of the replies.
#[derive(Clone, Copy, PartialEq)]
enum Speaks {
    Resp2,
    Resp3,
    /// A HELLO is queued in a transaction.
    Either,
}

pub struct Client {
    stream: TcpStream,
    outgoing: Vec<u8>,
    incoming: Vec<u8>,
    /// The names of the commands whose replies are due.
    due: VecDeque<Vec<u8>>,
    speaks: Speaks,
    /// Why the server closes the connection: QUIT, bytes that are no request, or too many clients.
    dismissed: bool,
    /// Somebody may have killed it.
    expendable: bool,
    logins: usize,
    /// It has asked for messages, perhaps in vain.
    listens: bool,
    cursor: Vec<u8>,
}

impl Client {
    pub fn new(stream: TcpStream) -> Self {
        stream.set_nodelay(true).expect("a socket");
        Self {
            stream,
            outgoing: Vec::new(),
            incoming: Vec::new(),
            due: VecDeque::new(),
            speaks: Speaks::Resp2,
            dismissed: false,
            expendable: false,
            logins: 0,
            listens: false,
            cursor: b"0".to_vec(),
        }
    }

    /// Where the last SCAN ended.
    pub fn cursor(&self) -> &[u8] {
        &self.cursor
    }

    /// The server may close the connection from now on, whatever this client does.
    pub fn expect_the_worst(&mut self) {
        self.expendable = true;
    }

    /// Queues a request, unless it might be one wrong password too many: the answers to those wait for seconds.
    pub fn call_unless_slow(&mut self, words: &[Vec<u8>]) {
        self.logins += usize::from([&b"auth"[..], b"hello"].contains(&words[0].as_slice()));
        if self.logins <= LOGINS_MAX {
            self.call(words);
        }
    }

    /// Queues a request.
    pub fn call(&mut self, words: &[impl AsRef<[u8]>]) {
        self.outgoing.extend(format!("*{}\r\n", words.len()).bytes());
        for word in words.iter().map(AsRef::as_ref) {
            self.outgoing.extend(format!("${}\r\n", word.len()).bytes());
            self.outgoing.extend(word);
            self.outgoing.extend(b"\r\n");
        }
        let name = words[0].as_ref().to_ascii_lowercase();
        self.listens |= LISTENING.contains(&name.as_slice());
        self.due.push_back(name);
    }

    /// Sends what is queued and reads one reply for each.
    pub fn read_replies(&mut self) {
        self.send();
        if self.listens {
            self.due.clear();
        }
        while let Some(name) = self.due.pop_front() {
            match self.next_frame() {
                Some(frame) => self.note(&name, &frame),
                None => {
                    let name = name.escape_ascii();
                    assert!(
                        self.dismissed || self.expendable,
                        "the connection was closed instead of a reply to {name}"
                    );
                    self.dismissed = true;
                }
            }
        }
    }

    /// After all replies, the next one must be that of the next request.
    pub fn check_in_step(&mut self) {
        if self.dismissed {
            return;
        }
        if self.listens {
            return self.send_and_close(&[]);
        }
        // In a transaction, or before AUTH, it is answered otherwise, but once.
        self.call(&["echo", "in step"]);
        self.read_replies();
        // Somebody may have killed it meanwhile.
        let _ = self.stream.shutdown(Shutdown::Write);
        let more = self.next_frame();
        assert!(more.is_none(), "a reply that nobody asked for: {more:?}");
    }

    /// Sends bytes that may mean anything; all that comes back must be replies.
    pub fn send_and_close(&mut self, bytes: &[u8]) {
        self.read_replies();
        if self.dismissed {
            return;
        }
        self.speaks = Speaks::Either;
        self.outgoing.extend_from_slice(bytes);
        self.send();
        // The server may have closed it already.
        let _ = self.stream.shutdown(Shutdown::Write);
        while self.next_frame().is_some() {}
    }

    /// Waits until the server has read its keys.
    pub fn wait_until_ready(&mut self) {
        while self.ask(&["dbsize"]).expect("a reply").starts_with(b"-") {}
    }

    /// Whether a command is answered with OK; not when the server has closed the connection.
    pub fn is_obeyed(&mut self, words: &[&str]) -> bool {
        self.ask(words).is_some_and(|frame| frame == b"+OK\r\n")
    }

    /// The reply to a command; `None` when the server has closed the connection.
    pub fn ask(&mut self, words: &[&str]) -> Option<Vec<u8>> {
        self.call(words);
        self.send();
        self.due.clear();
        self.next_frame()
    }

    fn send(&mut self) {
        // A connection that the server has closed is noticed when its replies are read.
        let _ = self.stream.write_all(&self.outgoing);
        self.outgoing.clear();
    }

    /// The bytes of the next reply; `None` when the server has closed the connection behind a whole one.
    fn next_frame(&mut self) -> Option<Vec<u8>> {
        loop {
            if let Some(length) = decoded_length(&self.incoming, self.speaks) {
                return Some(self.incoming.drain(..length).collect());
            }
            let mut piece = [0; 64 * 1024];
            match self.stream.read(&mut piece) {
                Ok(0) => break,
                Ok(read) => self.incoming.extend_from_slice(&piece[..read]),
                // A server that closes with something unread resets the connection.
                Err(error) if error.kind() == ErrorKind::ConnectionReset => break,
                // By the fuzzer's own clock.
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => panic!("no reply: {error}"),
            }
        }
        assert!(self.incoming.is_empty(), "a torn reply: {}", self.incoming.escape_ascii());
        None
    }

    fn note(&mut self, name: &[u8], frame: &[u8]) {
        let starts = |text: &str| frame.starts_with(text.as_bytes());
        self.dismissed |= name == b"quit" || starts("-ERR Protocol error") || starts("-ERR max number of clients");
        match (name, frame[0]) {
            (b"hello", b'%') => self.speaks = Speaks::Resp3,
            (b"hello", b'*') => self.speaks = Speaks::Resp2,
            (b"hello", b'+') => self.speaks = Speaks::Either,
            (b"reset", b'+') => self.speaks = Speaks::Resp2,
            (b"scan", b'*') => {
                let cursor = frame.split(|byte| *byte == b'\n').nth(2).unwrap_or_default();
                self.cursor = cursor.trim_ascii_end().to_vec();
            }
            _ => {}
        }
    }
}

/// How many bytes the frame at the head takes; `None` when it is not whole.
fn decoded_length(bytes: &[u8], speaks: Speaks) -> Option<usize> {
    let two = || resp2::decode::decode(bytes).map(|decoded| decoded.map(|(_, length)| length));
    let three = || resp3::decode::complete::decode(bytes).map(|decoded| decoded.map(|(_, length)| length));
    let decoded = match speaks {
        Speaks::Resp2 => two(),
        Speaks::Resp3 => three(),
        Speaks::Either => two().or_else(|_| three()),
    };
    decoded.unwrap_or_else(|error| panic!("no frame: {error}: {}", bytes.escape_ascii()))
}
