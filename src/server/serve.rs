//! One connection: executes all that is in the read buffer, goes on reading while commits are under way, and sends the
//! replies in order, each when its tickets are committed. A reply that waits never stops the next command.

mod apart;
mod closing;
mod keys;
mod mail;
mod room;
mod silence;

use std::collections::VecDeque;
use std::pin::pin;
use std::sync::Arc;

use bytes::{Buf, BytesMut};
use tokio::sync::{oneshot, watch};
use tracing::debug;

use self::closing::ended;
use self::mail::mail;
use self::silence::Silence;
use super::input::READ_BYTES;
use super::output::Output;
use super::stream::{LAST_BYTES, Reader, Stream, Writer};
use super::wait::{Wait, rest, until};
use crate::app::{App, Client};
use crate::commands::execute::{self, Step};
use crate::keyspace::Tickets;
use crate::keyspace::eviction::Hold;
use crate::protocol::{ProtocolError, Reply, Request, RequestLimits, RequestReader};

/// Requests that are taken off the buffer before they are executed, so that their cold values load in one query.
const REQUESTS_TOGETHER_MAX: usize = 256;

/// For how many requests an idle connection keeps room.
const REQUESTS_KEPT: usize = 8;

/// How many requests are worth a look-up beforehand, and for how many keys what was looked up surely stays in the cache.
const PREFETCH_MIN: usize = 4;
const PREFETCH_KEYS_MAX: usize = 64;

/// Pieces of replies that are sent before the other connections of the thread get their turn.
const PIECES_TOGETHER_MAX: usize = 16;

/// How much of what a client has sent by then is still read when the server stops.
const LAST_REQUESTS_BYTES: usize = 1024 * 1024;

/// What a command answers that waited when the server stopped.
const STOPPING: &str = "MISCONF the server stops: what this command waits for may not be committed yet";

/// What wakes a connection besides its client.
#[derive(Clone, Debug)]
pub struct Signals {
    /// Counts up whenever tickets are settled.
    pub settlements: watch::Receiver<u64>,
    /// Turns true when the server stops.
    pub stopping: watch::Receiver<bool>,
}

/// One connection's state.
struct Connection {
    app: Arc<App>,
    client: Client,
    reader: RequestReader,
    input: BytesMut,
    requests: VecDeque<Request>,
    output: Output,
    settlements: watch::Receiver<u64>,
    stopping: watch::Receiver<bool>,
    /// What the reader refused, until the requests before it are executed.
    broken: Option<ProtocolError>,
    closing: bool,
    /// How long nothing was read.
    idle: Wait,
    /// How long the client has lacked its password.
    stranger: Wait,
    /// Tells that the connection is to end.
    expelled: Option<oneshot::Receiver<()>>,
    /// Whether values were loaded for the request that is executed.
    has_loaded: bool,
    /// Keeps the values of a request in memory that left again before it was executed.
    kept: Option<Hold>,
}

/// Serves one connection until it ends or the server stops.
#[expect(clippy::manual_async_fn, reason = "an async function keeps room for each argument twice")]
pub fn serve(app: Arc<App>, client: Client, stream: Stream, signals: Signals) -> impl Future<Output = ()> + Send {
    async move {
        let Some(silence) = Silence::of(&app, &client, &stream, &signals).await else { return };
        // In a box, and only now: a connection that says nothing is to cost next to nothing, and a future keeps room for each
        // place that its state passes through.
        let connection = Box::new(Connection::new(app, client, signals, silence));
        if let Err(error) = Box::pin(connection.run(stream)).await {
            debug!(%error, "a connection broke");
        }
    }
}

impl Connection {
    fn new(app: Arc<App>, client: Client, Signals { settlements, stopping }: Signals, silence: Silence) -> Self {
        Self {
            app,
            client,
            reader: RequestReader::new(),
            input: BytesMut::new(),
            requests: VecDeque::new(),
            output: Output::default(),
            settlements,
            stopping,
            broken: None,
            closing: false,
            idle: Wait::default(),
            stranger: silence.stranger,
            expelled: silence.expelled,
            has_loaded: false,
            kept: None,
        }
    }

    async fn run(mut self: Box<Self>, mut stream: Stream) -> std::io::Result<()> {
        let mut stopping = self.stopping.clone();
        let (mut from, mut to) = stream.split();
        // One future for the whole life: made anew in each round it would cost each request a lock that all share.
        let mut stopped = pin!(stop(&mut stopping));
        let mut expelled = self.expelled.take();
        let mut has_more = false;
        loop {
            let is_held_up = self.execute_buffered(&mut to).await;
            self.take_mail();
            self.release_replies();
            if self.must_close() {
                return Ok(());
            }
            let may_send_more = self.send_now(&mut to)?;
            let goes_on = is_held_up && self.may_execute();
            if may_send_more || has_more || goes_on {
                // However fast a client sends or reads, the others of this thread get their turns.
                tokio::task::yield_now().await;
            }
            has_more = false;
            if goes_on {
                continue;
            }
            if self.closing && self.output.is_sent() {
                return to.shutdown().await;
            }
            let (may_read, deadline, keeps_much) = (self.may_read(), self.deadline(), self.keeps_much());
            tokio::select! {
                read = from.read(&mut self.input), if may_read => {
                    let count = read?;
                    self.app.metrics.net_input_bytes.add(count as u64);
                    self.app.metrics.net_reads.increment();
                    self.idle = Wait::default();
                    // A client that closed its side still gets the replies of what it sent.
                    self.closing |= count == 0;
                    has_more = count == READ_BYTES;
                }
                written = to.send(&mut self.output), if self.output.has_remaining() || to.is_unsent() => {
                    self.app.metrics.net_output_bytes.add(written? as u64);
                    self.app.metrics.net_writes.increment();
                }
                changed = self.settlements.changed(), if self.output.waits() => {
                    self.closing |= changed.is_err();
                }
                () = mail(self.client.mailbox()) => {}
                () = until(deadline) => {}
                () = rest(keeps_much) => self.let_go(),
                () = ended(&mut expelled) => return Ok(()),
                () = &mut stopped => return self.finish(from, to).await,
            }
        }
    }

    /// Sends what the socket takes at once; usually all of it, so that nothing has to wait for its readiness.
    /// Answers whether more may be sent at once.
    fn send_now(&mut self, to: &mut Writer<'_>) -> std::io::Result<bool> {
        for _ in 0..PIECES_TOGETHER_MAX {
            self.output.write_out();
            if !self.output.has_remaining() {
                return Ok(false);
            }
            match to.send_now(&mut self.output)? {
                0 => return Ok(false),
                written => {
                    self.app.metrics.net_output_bytes.add(written as u64);
                    self.app.metrics.net_writes.increment();
                }
            }
        }
        self.output.write_out();
        Ok(true)
    }

    /// The server stops: answers what was received, and ends.
    async fn finish(mut self: Box<Self>, mut from: Reader<'_>, mut to: Writer<'_>) -> std::io::Result<()> {
        while self.input.len() < LAST_REQUESTS_BYTES && from.read_now(&mut self.input) {}
        loop {
            self.execute_buffered(&mut to).await;
            self.release_replies();
            self.output.write_out();
            if self.output.is_sent() {
                return to.shutdown().await;
            }
            if !self.output.has_remaining() {
                if self.settlements.changed().await.is_err() {
                    return Ok(());
                }
            } else if !matches!(tokio::time::timeout(LAST_BYTES, to.send(&mut self.output)).await, Ok(Ok(1..))) {
                return Ok(());
            }
        }
    }

    fn may_read(&mut self) -> bool {
        !self.closing && self.requests.is_empty() && self.may_execute()
    }

    fn may_execute(&mut self) -> bool {
        let is_full = self.output.is_full(self.client.authenticated) || self.client.overruns;
        !is_full && !self.output.exceeds(&self.output_limit())
    }

    /// Executes the requests in the buffer; `true` when a limit left some of them.
    async fn execute_buffered(&mut self, to: &mut Writer<'_>) -> bool {
        while self.may_execute() && !self.client.close_after_reply {
            self.app.write_through.wake_writer_if_late();
            if self.requests.is_empty() && !self.parse() {
                if self.input.is_empty() {
                    // The rest of an empty buffer would keep the whole.
                    self.input = BytesMut::new();
                }
                self.refuse_broken();
                return false;
            }
            self.run_requests(to).await;
        }
        !self.client.close_after_reply
    }

    /// Runs the requests that were taken off the buffer, as many as the limits allow.
    async fn run_requests(&mut self, to: &mut Writer<'_>) {
        let mut looked_up = 0;
        while self.may_execute() {
            if looked_up == 0 {
                self.prefetch();
                looked_up = PREFETCH_KEYS_MAX;
            }
            let Some(request) = self.requests.pop_front() else { return };
            looked_up -= 1;
            self.wait_for_room(&request, to).await;
            self.run_request(request, to).await;
            if self.client.close_after_reply {
                self.closing = true;
                self.requests.clear();
            }
        }
    }

    /// Whether it keeps more room than an idle connection may.
    fn keeps_much(&self) -> bool {
        (self.requests.is_empty() && self.requests.capacity() > REQUESTS_KEPT) || self.output.keeps_much()
    }

    /// Gives back the room that nothing stands in.
    fn let_go(&mut self) {
        if self.requests.is_empty() {
            self.requests = VecDeque::new();
        }
        self.output.let_go();
    }

    /// Only a pipeline has look-ups that can be made side by side.
    fn prefetch(&self) {
        if self.requests.len() >= PREFETCH_MIN {
            execute::prefetch(&self.app, &self.client, &self.requests, PREFETCH_KEYS_MAX);
        }
    }

    /// Takes whole requests off the read buffer; `false` when there are none.
    fn parse(&mut self) -> bool {
        let limits = self.limits();
        while self.broken.is_none() && self.requests.len() < REQUESTS_TOGETHER_MAX {
            match self.reader.next(&mut self.input, &limits) {
                Ok(Some(request)) => self.requests.push_back(request),
                Ok(None) => break,
                Err(error) => {
                    // The requests before it are answered first.
                    self.broken = Some(error);
                    break;
                }
            }
            if !self.client.authenticated {
                // The limits change with AUTH.
                break;
            }
        }
        !self.requests.is_empty()
    }

    /// Bytes that are no request are answered once, and the connection ends.
    fn refuse_broken(&mut self) {
        if let Some(error) = self.broken.take() {
            self.app.metrics.protocol_errors.increment();
            self.hold(Reply::Error(format!("ERR {error}")), Tickets::new());
            self.closing = true;
            self.client.close_after_reply = true;
        }
    }

    fn limits(&self) -> RequestLimits {
        let known = self.client.authenticated.then(|| RequestLimits::authenticated(self.app.limits.bulk_bytes_max()));
        known.unwrap_or(RequestLimits::unauthenticated())
    }

    async fn run_request(&mut self, request: Request, to: &mut Writer<'_>) {
        loop {
            match execute::execute(&self.app, &mut self.client, &request) {
                Step::Done(reply, tickets) => return self.hold(reply, tickets),
                Step::Wait(row) => {
                    self.send_before(to).await;
                    let served = execute::serve(&self.app, &mut self.client, row, &request);
                    let reply = tokio::select! {
                        // What waits for nothing is answered at the stop, too.
                        biased;
                        reply = served => reply,
                        () = stop(&mut self.stopping) => Reply::Error(STOPPING.to_owned()),
                    };
                    return self.hold(reply, Tickets::new());
                }
                Step::Load(keys) => {
                    if let Err(reply) = self.load(keys).await {
                        return self.hold(reply, Tickets::new());
                    }
                }
                Step::AwaitKeys => {
                    self.send_before(to).await;
                    if let Err(reply) = self.await_keys().await {
                        return self.hold(reply, Tickets::new());
                    }
                }
                Step::Apart(long) => return Box::pin(self.run_apart(request, long)).await,
            }
        }
    }

    /// Sends the replies before a command that waits, and waits for the commits that hold them: it is told how they ended, and
    /// its own reply could not go before theirs.
    async fn send_before(&mut self, to: &mut Writer<'_>) {
        loop {
            self.release_replies();
            // A client that is gone is noticed when the connection goes on.
            if self.send_now(to).is_err() || !self.output.waits() || self.settlements.changed().await.is_err() {
                return;
            }
        }
    }

    fn hold(&mut self, reply: Reply, tickets: Tickets) {
        (self.has_loaded, self.kept) = (false, None);
        let tickets = if self.app.write_through.holds_replies() {
            tickets
        } else {
            self.client.unsaved.add(tickets);
            Tickets::new()
        };
        self.output.push(reply, tickets, self.client.protocol);
    }

    /// Looks which replies may be sent now, in order.
    fn release_replies(&mut self) {
        // Marked as seen before the tickets are looked at: what is settled afterwards wakes us.
        self.settlements.borrow_and_update();
        self.output.settle(|outcome| self.client.unsaved.note(outcome));
    }
}

/// Ready once the server stops.
async fn stop(stopping: &mut watch::Receiver<bool>) {
    // A sender that is gone has stopped, too.
    let _ = stopping.wait_for(|stopping| *stopping).await;
}

/// What a connection that is not wanted is told before it is closed.
pub async fn refuse(mut stream: Stream, line: &'static str) {
    let mut output = BytesMut::from(line);
    let (_, mut to) = stream.split();
    let told = async {
        while !output.is_empty() || to.is_unsent() {
            to.send(&mut output).await?;
        }
        to.shutdown().await
    };
    // The peer may be gone already.
    let _ = tokio::time::timeout(LAST_BYTES, told).await;
}

#[cfg(test)]
mod tests {
    use super::*;

    fn future_bytes<F: Future>(_: impl Fn(Arc<App>, Client, Stream, Signals) -> F) -> usize {
        size_of::<F>()
    }

    /// A connection that says nothing is to cost no more than with redis-server.
    #[test]
    fn a_connection_takes_little_room_before_its_first_byte() {
        let bytes = future_bytes(serve);
        assert!(bytes <= 1_024, "{bytes} bytes");
    }
}
