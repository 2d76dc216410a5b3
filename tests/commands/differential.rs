//! Runs a script against two servers and reports every reply in which they do not agree.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::thread;
use std::time::Duration;

use crate::script::{Action, Agreement, Step};
use crate::support::resp::{Connection, Frame, encode};

/// One server of a comparison, with the connections that the script has opened.
pub struct Side {
    address: SocketAddr,
    protocol: u8,
    connections: HashMap<String, Connection>,
}

impl Side {
    pub fn new(address: SocketAddr, protocol: u8) -> Self {
        Self { address, protocol, connections: HashMap::new() }
    }

    pub fn run(&mut self, step: &Step) -> Result<Vec<Frame>, String> {
        let connection = self.connection(&step.client);
        let replies = match &step.action {
            Action::Command(words) => exchange(connection, &encode(words), step.replies),
            Action::Raw(bytes) => exchange(connection, bytes, step.replies),
            Action::Push => exchange(connection, &[], step.replies),
            Action::Closed => {
                let closed = connection.is_closed();
                self.connections.remove(&step.client);
                return if closed { Ok(Vec::new()) } else { Err("the connection is still open".to_owned()) };
            }
            Action::Wait(_) => Ok(Vec::new()),
        };
        replies.map_err(|error| error.to_string())
    }

    fn connection(&mut self, client: &str) -> &mut Connection {
        let (address, protocol) = (self.address, self.protocol);
        self.connections.entry(client.to_owned()).or_insert_with(|| {
            let mut connection = Connection::open(address).expect("the server accepts");
            if protocol == 3 {
                connection.call(&["HELLO", "3"]).expect("a reply to HELLO");
            }
            connection
        })
    }
}

fn exchange(connection: &mut Connection, bytes: &[u8], replies: usize) -> std::io::Result<Vec<Frame>> {
    connection.send(bytes)?;
    (0..replies).map(|_| connection.read()).collect()
}

/// What they do not agree in, a paragraph each; both start empty.
pub fn differences(steps: &[Step], right: SocketAddr, wrong: SocketAddr, protocol: u8) -> Vec<String> {
    let mut sides = [Side::new(right, protocol), Side::new(wrong, protocol)];
    let mut found = Vec::new();
    for step in steps {
        if let Action::Wait(ms) = step.action {
            thread::sleep(Duration::from_millis(ms));
        }
        let [expected, actual] = sides.each_mut().map(|side| side.run(step));
        let agree = match (&expected, &actual) {
            (Ok(expected), Ok(actual)) => step.agreement.holds(expected, actual),
            (Ok(_) | Err(_), _) => false,
        };
        if !agree {
            found.push(format!("{}\n    expected {expected:?}\n    actual   {actual:?}", step.place));
        }
        if expected.is_err() || actual.is_err() {
            // What is left in the connections no longer belongs to the lines that follow.
            for side in &mut sides {
                side.connections.remove(&step.client);
            }
        }
    }
    found
}

impl Agreement {
    fn holds(self, expected: &[Frame], actual: &[Frame]) -> bool {
        match self {
            Self::Equal => expected == actual,
            Self::Differs => expected != actual,
            Self::Within(most) => all_pairs(expected, actual, |one, other| within(one, other, most)),
            Self::Unordered => all_pairs(expected, actual, |one, other| sorted(one) == sorted(other)),
            Self::Words => all_pairs(expected, actual, |one, other| with_sorted_words(one) == with_sorted_words(other)),
            Self::Kind => all_pairs(expected, actual, |one, other| kind(one) == kind(other)),
        }
    }
}

fn all_pairs(expected: &[Frame], actual: &[Frame], agree: impl Fn(&Frame, &Frame) -> bool) -> bool {
    expected.len() == actual.len() && expected.iter().zip(actual).all(|(one, other)| agree(one, other))
}

fn within(expected: &Frame, actual: &Frame, most: i64) -> bool {
    match (expected.integer(), actual.integer()) {
        // TTL's -1 and -2 are no times.
        (Some(one), Some(other)) if one >= 0 && other >= 0 => one.abs_diff(other) <= most.unsigned_abs(),
        (Some(_) | None, _) if expected.items().is_empty() => expected == actual,
        (Some(_) | None, _) => {
            all_pairs(expected.items(), actual.items(), |one, other| within(one, other, most))
                && kind(expected) == kind(actual)
        }
    }
}

fn sorted(frame: &Frame) -> Frame {
    let Frame::Aggregate(kind, Some(items)) = frame else { return frame.clone() };
    let mut items: Vec<_> = items.iter().map(sorted).collect();
    if items.iter().all(|item| item.bytes().is_some()) {
        items.sort();
    }
    Frame::Aggregate(*kind, Some(items))
}

fn with_sorted_words(frame: &Frame) -> Frame {
    match frame {
        Frame::Bulk(kind, Some(text)) => {
            let mut words: Vec<_> = text.split(|byte| *byte == b' ').collect();
            words.sort_unstable();
            Frame::Bulk(*kind, Some(words.join(&b' ')))
        }
        Frame::Aggregate(kind, Some(items)) => {
            Frame::Aggregate(*kind, Some(items.iter().map(with_sorted_words).collect()))
        }
        Frame::Line(..) | Frame::Bulk(_, None) | Frame::Aggregate(_, None) => frame.clone(),
    }
}

/// The announcing byte, of an error its code too.
fn kind(frame: &Frame) -> (u8, Option<&[u8]>) {
    match frame {
        Frame::Line(b'-', text) => (b'-', text.split(|byte| *byte == b' ').next()),
        Frame::Line(kind, _) | Frame::Bulk(kind, Some(_)) | Frame::Aggregate(kind, Some(_)) => (*kind, None),
        Frame::Bulk(kind, None) | Frame::Aggregate(kind, None) => (*kind, Some(b"-1")),
    }
}
