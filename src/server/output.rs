//! What one connection has yet to send: replies that wait for their tickets, replies that wait for the client to read, and
//! the bytes of those whose turn it is. Only a bounded piece is ever written out beforehand; the rest stays a list of
//! values, of which the large ones are those that memory holds anyway. It must never send a reply before those ahead of it.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use bytes::{Buf, BytesMut};

use crate::commands::error::CommandError;
use crate::config::BufferLimit;
use crate::database::unit::Outcome;
use crate::keyspace::Tickets;
use crate::protocol::{Pieces, Protocol, Reply};

/// Replies that one connection may have in flight: enough to fill a few batches; more stay in the socket.
const HELD_REPLIES_MAX: usize = 8_192;

/// Bytes of replies that are not sent yet; no more commands are executed meanwhile. A client that reads never has as many.
const UNSENT_BYTES_MAX: usize = 1024 * 1024;

/// The same for a client that has yet to authenticate, which is closed: errors are all that it can be answered, and no client
/// library asks for a hundred of them at once (Redis 7.0.15 closes at a kilobyte).
const UNSENT_BYTES_MAX_UNAUTHENTICATED: usize = 4 * 1024;

/// Bytes that are written out before the socket takes them: one system call's worth. A larger reply comes in pieces.
const PIECE_BYTES: usize = 64 * 1024;

/// What an idle connection may keep for its next replies; a client that once read much is not to hold memory for ever.
const KEPT_BYTES: usize = 4 * 1024;
const KEPT_REPLIES: usize = 64;

/// The same for one that is busy, which would else make room anew for every pipeline.
const BUSY_KEPT_BYTES: usize = 2 * PIECE_BYTES;
const BUSY_KEPT_REPLIES: usize = 1_024;

/// A reply, and what it waits for.
#[derive(Debug)]
struct Held {
    reply: Reply,
    tickets: Tickets,
    /// A HELLO behind it does not change how it is written.
    protocol: Protocol,
}

/// What is yet to be sent.
#[derive(Debug, Default)]
pub(super) struct Output {
    held: VecDeque<Held>,
    /// How many of `held`, from the front, wait for no ticket any more.
    settled: usize,
    /// Bytes of `held`, roughly.
    held_bytes: usize,
    /// The reply that is being written, and how many of its bytes are left, roughly.
    unfinished: Option<(Pieces, usize)>,
    written: BytesMut,
    /// Since when it has been above the soft limit.
    soft_since: Option<Instant>,
}

impl Output {
    /// Adds a reply behind the others.
    pub fn push(&mut self, reply: Reply, tickets: Tickets, protocol: Protocol) {
        let bytes = reply.bytes_about();
        let is_next = self.held.is_empty() && self.unfinished.is_none() && self.written.len() < PIECE_BYTES;
        if is_next && tickets.is_empty() && bytes <= PIECE_BYTES {
            reply.encode(protocol, &mut self.written);
        } else {
            self.held_bytes += bytes;
            self.held.push_back(Held { reply, tickets, protocol });
        }
    }

    /// Looks which replies wait for no ticket any more, in order. `failed` is told of the tickets that did not commit; the
    /// reply is an error then.
    pub fn settle(&mut self, mut failed: impl FnMut(Outcome)) {
        while let Some(held) = self.held.get_mut(self.settled) {
            let outcome = Outcome::of_all(&held.tickets);
            if outcome == Outcome::Pending {
                return;
            }
            if let Some(error) = CommandError::of_outcome(outcome) {
                failed(outcome);
                self.held_bytes = self.held_bytes.saturating_sub(held.reply.bytes_about());
                held.reply = Reply::Error(error.to_string());
                self.held_bytes += held.reply.bytes_about();
            }
            self.settled += 1;
        }
    }

    /// Writes the next bytes out: as many of the settled replies as a piece has room for.
    pub fn write_out(&mut self) {
        while self.written.len() < PIECE_BYTES {
            if self.finish_reply() {
                continue;
            }
            if self.settled == 0 {
                return;
            }
            let Some(Held { reply, protocol, .. }) = self.held.pop_front() else { return };
            self.settled -= 1;
            let bytes = reply.bytes_about();
            self.held_bytes = self.held_bytes.saturating_sub(bytes);
            if bytes <= PIECE_BYTES {
                reply.encode(protocol, &mut self.written);
            } else {
                self.unfinished = Some((Pieces::of(reply, protocol), bytes));
            }
        }
    }

    /// Writes a piece of the reply that is being written; `false` when there is none.
    fn finish_reply(&mut self) -> bool {
        let Some((pieces, left_bytes)) = &mut self.unfinished else { return false };
        let before = self.written.len();
        let is_whole = pieces.put(&mut self.written, PIECE_BYTES);
        *left_bytes = left_bytes.saturating_sub(self.written.len() - before);
        if is_whole {
            self.unfinished = None;
        }
        true
    }

    /// How many replies wait for tickets, or stand behind one that does.
    pub fn waiting(&self) -> usize {
        self.held.len() - self.settled
    }

    /// Whether a reply waits for its tickets.
    pub fn waits(&self) -> bool {
        self.waiting() > 0
    }

    /// Whether everything is sent.
    pub fn is_sent(&self) -> bool {
        self.held.is_empty() && self.unfinished.is_none() && self.written.is_empty()
    }

    /// Whether it keeps more room than an idle connection may.
    pub fn keeps_much(&self) -> bool {
        self.has_room_beyond(KEPT_BYTES, KEPT_REPLIES)
    }

    fn has_room_beyond(&self, bytes: usize, replies: usize) -> bool {
        (self.written.is_empty() && self.written.capacity() > bytes)
            || (self.held.is_empty() && self.held.capacity() > replies)
    }

    /// Gives back the room that nothing stands in.
    pub fn let_go(&mut self) {
        if self.written.is_empty() {
            self.written = BytesMut::new();
        }
        if self.held.is_empty() {
            self.held = VecDeque::new();
        }
    }

    /// Whether so much waits that no more commands may be executed.
    pub fn is_full(&self, authenticated: bool) -> bool {
        let bytes_max = if authenticated { UNSENT_BYTES_MAX } else { UNSENT_BYTES_MAX_UNAUTHENTICATED };
        self.held.len() >= HELD_REPLIES_MAX || self.unsent_bytes() >= bytes_max
    }

    /// Bytes of all replies that are not sent yet, roughly.
    fn unsent_bytes(&self) -> usize {
        self.held_bytes + self.unfinished.as_ref().map_or(0, |(_, left_bytes)| *left_bytes) + self.written.len()
    }

    /// Whether the client must be closed for what it leaves unread.
    pub fn exceeds(&mut self, limit: &BufferLimit) -> bool {
        let unsent_bytes = if limit.is_none() { 0 } else { self.unsent_bytes() };
        if limit.soft_bytes == 0 || unsent_bytes < limit.soft_bytes {
            self.soft_since = None;
        } else {
            self.soft_since.get_or_insert_with(Instant::now);
        }
        (limit.hard_bytes > 0 && unsent_bytes >= limit.hard_bytes)
            || self.soft_end(limit).is_some_and(|end| end <= Instant::now())
    }

    /// When the client will have been above the soft limit for too long.
    pub fn soft_end(&self, limit: &BufferLimit) -> Option<Instant> {
        Some(self.soft_since? + Duration::from_secs(limit.soft_s.into()))
    }
}

impl Buf for Output {
    fn remaining(&self) -> usize {
        self.written.len()
    }

    fn chunk(&self) -> &[u8] {
        &self.written
    }

    fn advance(&mut self, bytes: usize) {
        self.written.advance(bytes);
        if self.has_room_beyond(BUSY_KEPT_BYTES, BUSY_KEPT_REPLIES) {
            self.let_go();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    /// Sends all that can be sent; answers how many bytes came and the most that were written out at a time.
    fn drain(output: &mut Output) -> (usize, usize) {
        let (mut sent, mut most) = (0, 0);
        loop {
            output.settle(|outcome| panic!("nothing failed, but {outcome:?}"));
            output.write_out();
            let bytes = output.remaining();
            if bytes == 0 {
                return (sent, most);
            }
            (sent, most) = (sent + bytes, most.max(bytes));
            output.advance(bytes);
        }
    }

    fn value(bytes: usize) -> Reply {
        Reply::Value(Arc::from(vec![b'x'; bytes]))
    }

    #[test]
    fn large_replies_are_written_out_in_pieces_and_in_order() {
        let mut output = Output::default();
        let value = value(1024 * 1024);
        for _ in 0..100 {
            output.push(value.clone(), Tickets::new(), Protocol::Resp2);
        }
        assert!(output.is_full(true));
        let (sent, most) = drain(&mut output);
        assert_eq!(sent, 100 * ("$1048576\r\n".len() + 1024 * 1024 + 2));
        assert!(most <= 2 * PIECE_BYTES, "{most}");
        assert!(output.is_sent() && !output.is_full(true) && output.unsent_bytes() == 0);
        output.let_go();
        assert!(!output.keeps_much());
        assert!(output.written.capacity() <= KEPT_BYTES && output.held.capacity() <= KEPT_REPLIES);
    }

    #[test]
    fn a_stranger_is_owed_less_than_a_client() {
        let mut output = Output::default();
        let line = || Reply::Error("NOAUTH Authentication required.".to_owned());
        while !output.is_full(false) {
            output.push(line(), Tickets::new(), Protocol::Resp2);
        }
        assert!(!output.is_full(true) && output.unsent_bytes() <= 2 * UNSENT_BYTES_MAX_UNAUTHENTICATED);
    }

    #[test]
    fn a_client_is_closed_at_its_hard_limit_and_after_its_time_above_the_soft_one() {
        let limit = |hard_bytes, soft_bytes, soft_s| BufferLimit { hard_bytes, soft_bytes, soft_s };
        let mut output = Output::default();
        output.push(value(5_000), Tickets::new(), Protocol::Resp2);
        assert!(!output.exceeds(&limit(0, 0, 0)) && !output.exceeds(&limit(6_000, 0, 0)));
        assert!(output.exceeds(&limit(5_000, 0, 0)));
        assert!(!output.exceeds(&limit(0, 6_000, 0)) && output.exceeds(&limit(0, 5_000, 0)));
        assert!(!output.exceeds(&limit(0, 5_000, 60)));
        assert!(output.soft_end(&limit(0, 5_000, 60)).is_some_and(|end| end > Instant::now()));
        drain(&mut output);
        assert!(!output.exceeds(&limit(0, 5_000, 60)) && output.soft_end(&limit(0, 5_000, 60)).is_none());
    }
}
