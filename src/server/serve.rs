//! One connection: executes all that is in the read buffer, goes on reading while commits are under way, and sends the
//! replies in order, each when its tickets are committed. A reply that waits never stops the next command.

use std::collections::VecDeque;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::BytesMut;
use tokio::sync::{oneshot, watch};
use tracing::debug;

use super::stream::{LAST_BYTES, Reader, Stream, Writer};
use crate::app::{App, Client};
use crate::commands::error::CommandError;
use crate::commands::execute::{self, Step};
use crate::database::DatabaseError;
use crate::database::unit::Outcome;
use crate::keyspace::Tickets;
use crate::protocol::{Protocol, ProtocolError, Reply, Request, RequestLimits, RequestReader};

/// Replies that one connection may have in flight: enough to fill a few batches; more stay in the socket.
const HELD_REPLIES_MAX: usize = 8_192;

/// Requests that are taken off the buffer before they are executed, so that their cold values load in one query.
const REQUESTS_TOGETHER_MAX: usize = 256;

/// Bytes of replies that wait for a client that does not read; more commands are not executed meanwhile.
const OUTPUT_BYTES_MAX: usize = 1024 * 1024;

/// Bytes of an unfinished request (Redis: `client-query-buffer-limit`); the connection is closed beyond.
const INPUT_BYTES_MAX: usize = 1024 * 1024 * 1024;

/// How many requests are worth a look-up beforehand, and for how many keys what was looked up surely stays in the cache.
const PREFETCH_MIN: usize = 4;
const PREFETCH_KEYS_MAX: usize = 64;

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

/// A reply, and what it waits for.
#[derive(Debug)]
struct Held {
    reply: Reply,
    tickets: Tickets,
    /// A HELLO behind it does not change how it is written.
    protocol: Protocol,
}

/// One connection's state.
struct Connection {
    app: Arc<App>,
    client: Client,
    reader: RequestReader,
    input: BytesMut,
    requests: VecDeque<Request>,
    held: VecDeque<Held>,
    output: BytesMut,
    settlements: watch::Receiver<u64>,
    stopping: watch::Receiver<bool>,
    /// What the reader refused, until the requests before it are executed.
    broken: Option<ProtocolError>,
    closing: bool,
}

/// Serves one connection until it ends or the server stops.
pub async fn serve(app: Arc<App>, client: Client, stream: Stream, signals: Signals) {
    let Signals { settlements, stopping } = signals;
    let connection = Connection {
        app,
        client,
        reader: RequestReader::new(),
        input: BytesMut::new(),
        requests: VecDeque::new(),
        held: VecDeque::new(),
        output: BytesMut::new(),
        settlements,
        stopping: stopping.clone(),
        broken: None,
        closing: false,
    };
    if let Err(error) = connection.run(stream, stopping).await {
        debug!(%error, "a connection broke");
    }
}

impl Connection {
    async fn run(mut self, mut stream: Stream, mut stopping: watch::Receiver<bool>) -> std::io::Result<()> {
        let (mut from, mut to) = stream.split();
        // One future for the whole life: made anew in each round it would cost each request a lock that all share.
        let mut stopped = pin!(stop(&mut stopping));
        let mut expelled = self.client.info.expelled();
        let mut last_read = None;
        loop {
            self.execute_buffered(&mut to).await;
            let has_stopped_short = !self.may_execute();
            self.release_replies();
            self.send_now(&mut to)?;
            if has_stopped_short && self.may_execute() {
                // Nothing below would wake it for the requests that it has got already. Others come first, though.
                tokio::task::yield_now().await;
                continue;
            }
            if self.closing && self.held.is_empty() && self.output.is_empty() {
                return to.shutdown().await;
            }
            let idle = self.idle_limit();
            tokio::select! {
                read = from.read(&mut self.input), if self.may_read() => {
                    let count = read?;
                    self.app.metrics.net_input_bytes.add(count as u64);
                    last_read = None;
                    // A client that closed its side still gets the replies of what it sent.
                    self.closing |= count == 0 || self.input.len() > INPUT_BYTES_MAX;
                }
                written = to.send(&mut self.output), if !self.output.is_empty() || to.is_unsent() => {
                    self.app.metrics.net_output_bytes.add(written? as u64);
                }
                changed = self.settlements.changed(), if !self.held.is_empty() => {
                    self.closing |= changed.is_err();
                }
                () = idled(&mut last_read, idle) => return Ok(()),
                () = ended(&mut expelled) => return Ok(()),
                () = &mut stopped => return self.finish(from, to).await,
            }
        }
    }

    /// Sends what the socket takes at once; usually all of it, so that nothing has to wait for its readiness.
    fn send_now(&mut self, to: &mut Writer<'_>) -> std::io::Result<()> {
        let written = to.send_now(&mut self.output)?;
        if written > 0 {
            self.app.metrics.net_output_bytes.add(written as u64);
        }
        Ok(())
    }

    /// The server stops: answers what was received, and ends.
    async fn finish(mut self, mut from: Reader<'_>, mut to: Writer<'_>) -> std::io::Result<()> {
        while self.input.len() < OUTPUT_BYTES_MAX && from.read_now(&mut self.input) {}
        loop {
            self.execute_buffered(&mut to).await;
            self.release_replies();
            if self.held.is_empty() && self.output.is_empty() {
                return to.shutdown().await;
            }
            if self.output.is_empty() {
                if self.settlements.changed().await.is_err() {
                    return Ok(());
                }
            } else if !matches!(tokio::time::timeout(LAST_BYTES, to.send(&mut self.output)).await, Ok(Ok(1..))) {
                return Ok(());
            }
        }
    }

    fn may_read(&self) -> bool {
        !self.closing && self.requests.is_empty() && self.may_execute()
    }

    fn may_execute(&self) -> bool {
        self.held.len() < HELD_REPLIES_MAX && self.output.len() < OUTPUT_BYTES_MAX
    }

    fn idle_limit(&self) -> Option<Duration> {
        self.app.limits.idle_timeout().filter(|_| self.held.is_empty())
    }

    /// Executes the requests in the buffer, as far as the limits let it.
    async fn execute_buffered(&mut self, to: &mut Writer<'_>) {
        while self.may_execute() && !self.client.close_after_reply {
            self.app.write_through.wake_writer_if_late();
            if self.requests.is_empty() && !self.parse() {
                return self.refuse_broken();
            }
            self.prefetch();
            while self.may_execute()
                && let Some(request) = self.requests.pop_front()
            {
                self.wait_for_room(&request).await;
                self.run_request(request, to).await;
                if self.client.close_after_reply {
                    self.closing = true;
                    self.requests.clear();
                }
            }
        }
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
        if self.client.authenticated {
            RequestLimits::authenticated(self.app.limits.bulk_bytes_max())
        } else {
            RequestLimits::unauthenticated()
        }
    }

    /// At the limit of the queue to the database clients that write are slowed, not dropped.
    async fn wait_for_room(&mut self, request: &Request) {
        let full = |app: &App| !app.write_through.has_room() && !app.write_through.is_stopping();
        while full(&self.app) && execute::may_write(request) {
            if self.settlements.changed().await.is_err() {
                return;
            }
        }
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
            }
        }
    }

    /// Sends the replies before a command that waits, and waits for the commits that hold them: it is told how they ended, and
    /// its own reply could not go before theirs.
    async fn send_before(&mut self, to: &mut Writer<'_>) {
        loop {
            self.release_replies();
            // A client that is gone is noticed when the connection goes on.
            if self.send_now(to).is_err() || self.held.is_empty() || self.settlements.changed().await.is_err() {
                return;
            }
        }
    }

    /// Loads these cold values and those of the requests behind, in one query.
    async fn load(&mut self, mut keys: Vec<(u8, Vec<u8>)>) -> Result<(), Reply> {
        let away = "MISCONF the database is not available: this session is not in memory and cannot be read now";
        for request in &self.requests {
            keys.extend(execute::cold_keys(&self.app, &self.client, request));
        }
        let loaded = async {
            if self.app.write_through.is_down() {
                return Err(away.to_owned());
            }
            match tokio::time::timeout(self.app.write_timeout(), self.app.keyspace.load(keys)).await {
                Ok(Ok(())) => Ok(()),
                Ok(Err(DatabaseError::Unusable(message))) => Err(format!("MISCONF {message}")),
                Ok(Err(_)) | Err(_) => Err(away.to_owned()),
            }
        };
        let loaded = loaded.await;
        loaded.map_err(|line| execute::not_loaded(&self.app, &mut self.client, line))
    }

    fn hold(&mut self, reply: Reply, tickets: Tickets) {
        let tickets = if self.app.write_through.holds_replies() {
            tickets
        } else {
            self.client.unsaved.add(tickets);
            Tickets::new()
        };
        if tickets.is_empty() && self.held.is_empty() {
            reply.encode(self.client.protocol, &mut self.output);
        } else {
            self.held.push_back(Held { reply, tickets, protocol: self.client.protocol });
        }
    }

    /// Moves the replies whose tickets are settled to the output, in order.
    fn release_replies(&mut self) {
        // Marked as seen before the tickets are looked at: what is settled afterwards wakes us.
        self.settlements.borrow_and_update();
        while let Some(held) = self.held.front() {
            let outcome = Outcome::of_all(&held.tickets);
            if outcome == Outcome::Pending {
                return;
            }
            let Some(Held { reply, protocol, .. }) = self.held.pop_front() else { return };
            let error = CommandError::of_outcome(outcome);
            if error.is_some() {
                self.client.unsaved.note(outcome);
            }
            let reply = error.map_or(reply, |error| Reply::Error(error.to_string()));
            reply.encode(protocol, &mut self.output);
        }
    }
}

/// Ready once nothing was read for as long as `limit`; never without a limit. `since` is when this was first asked after
/// the last read.
async fn idled(since: &mut Option<tokio::time::Instant>, limit: Option<Duration>) {
    match limit {
        Some(limit) => tokio::time::sleep_until(*since.get_or_insert_with(tokio::time::Instant::now) + limit).await,
        None => std::future::pending().await,
    }
}

/// Ready once the connection is expelled.
async fn ended(expelled: &mut Option<oneshot::Receiver<()>>) {
    match expelled {
        // Nobody sends anything: the sender is dropped.
        Some(expelled) => drop(expelled.await),
        None => std::future::pending().await,
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
