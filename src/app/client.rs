//! One connection's state: who it is, which protocol and database it speaks to, and its transaction. A client never
//! holds keys or values beyond the queue of its MULTI.

use std::sync::Arc;

use bytes::{Bytes, BytesMut};

use super::clients::ClientInfo;
use super::login::Login;
use super::mailbox::Mailbox;
use super::monitors::{Monitoring, Monitors, Untold};
use super::pubsub::{Listening, PubSub, Subscriptions};
use super::users::Users;
use crate::database::unit::{Outcome, Ticket};
use crate::keyspace::events::Messages;
use crate::keyspace::watch::Watch;
use crate::protocol::{Protocol, Reply, Request};

/// One connection's state.
#[derive(Debug)]
pub struct Client {
    /// RESP2 until HELLO 3.
    pub protocol: Protocol,
    /// The selected Redis database.
    pub database: u8,
    /// Whether it may do more than AUTH, as far as it knows.
    pub authenticated: bool,
    /// As whom it acts.
    pub login: Login,
    /// MULTI's state; `None` outside.
    pub transaction: Option<Transaction>,
    /// What it watches.
    pub watch: Watch,
    /// What it listens to; `None` when it listens to nothing.
    pub subscriptions: Option<Box<Subscriptions>>,
    /// Its watch over what all clients do (MONITOR); `None` when it does not watch.
    monitoring: Option<Monitoring>,
    /// Where its messages are; `None` when it listens to nothing and watches nobody.
    mailbox: Option<Arc<Mailbox>>,
    /// What monitors will be told of the command under way.
    pub untold: Untold,
    /// What the EXEC or script under way publishes, which waits for its commit; `None` outside.
    pub unpublished: Option<Messages>,
    /// Closes the connection once the replies so far are sent (QUIT).
    pub close_after_reply: bool,
    /// Closes it at once: what one EXEC answers reached `client-output-buffer-limit`.
    pub overruns: bool,
    /// What it was told of before the commit, which only `durability = everysec` does, and what was not committed.
    pub unsaved: Unsaved,
    /// What CLIENT LIST shows of it.
    pub info: Arc<ClientInfo>,
}

/// What WAIT must know of a client's earlier writes: the tickets that it was answered without waiting for, and how those ended
/// that are settled.
#[derive(Debug, Default)]
pub struct Unsaved {
    tickets: Vec<Ticket>,
    /// So many are kept before those that are settled are dropped again.
    sweep_at: usize,
    /// The worst end since it was last asked for.
    worst: Option<Outcome>,
}

impl Unsaved {
    /// The fewest that are looked through at a time.
    const SWEEP_MIN: usize = 64;

    /// Adds the tickets of one reply. What is kept is bounded by what the queue to the database holds: each that is not
    /// settled stands here twice at most.
    pub fn add(&mut self, tickets: impl IntoIterator<Item = Ticket>) {
        self.tickets.extend(tickets);
        if self.tickets.len() >= self.sweep_at.max(Self::SWEEP_MIN) {
            self.sweep();
            self.tickets.sort_unstable_by_key(Ticket::identity);
            self.tickets.dedup_by(|one, other| one.is(other));
            self.sweep_at = self.tickets.len() * 2;
        }
    }

    /// Notes how a write ended whose reply waited for it.
    pub fn note(&mut self, outcome: Outcome) {
        self.worst = Some(self.worst.unwrap_or(outcome).or_worse(outcome));
    }

    /// How they ended: `Pending` while one has not, else the worst end since it was last asked for, which is forgotten.
    pub fn take_outcome(&mut self) -> Outcome {
        self.sweep();
        if self.tickets.is_empty() { self.worst.take().unwrap_or(Outcome::Committed) } else { Outcome::Pending }
    }

    /// How many tickets are kept.
    #[must_use]
    pub fn kept(&self) -> usize {
        self.tickets.len()
    }

    /// Keeps only what is not settled.
    fn sweep(&mut self) {
        let mut tickets = std::mem::take(&mut self.tickets);
        tickets.retain(|ticket| match ticket.outcome() {
            Outcome::Pending => true,
            settled @ (Outcome::Committed | Outcome::Failed | Outcome::Unknown) => {
                self.note(settled);
                false
            }
        });
        self.tickets = tickets;
    }
}

/// A MULTI under way.
#[derive(Debug, Default)]
pub struct Transaction {
    /// The queued commands.
    pub queue: Vec<Request>,
    /// The memory that they take, in bytes.
    pub queued_bytes: usize,
    /// Room for the words of the next ones.
    block: BytesMut,
    /// A command could not be queued: EXEC answers EXECABORT.
    pub aborted: bool,
}

impl Transaction {
    /// What is taken at once for the words of queued commands: many share it, since one of its own would cost a short command
    /// more than its words.
    const BLOCK_BYTES: usize = 1024;

    /// Adds a command, unless the transaction cannot be executed any more. Its words are copied: each would otherwise keep the
    /// whole buffer that it was read into.
    pub fn push(&mut self, request: &Request) {
        if self.aborted {
            return;
        }
        let bytes = request.iter().map(Bytes::len).sum();
        if self.block.capacity() < bytes {
            self.block = BytesMut::with_capacity(bytes.max(Self::BLOCK_BYTES));
        }
        request.iter().for_each(|word| self.block.extend_from_slice(word));
        let mut words = self.block.split().freeze();
        self.queue.push(request.iter().map(|word| words.split_to(word.len())).collect());
        self.queued_bytes += bytes_of(request);
    }

    /// The memory that its commands would take with this one, in bytes.
    #[must_use]
    pub fn bytes_with(&self, request: &Request) -> usize {
        self.queued_bytes + bytes_of(request)
    }

    /// Notes that EXEC can only answer EXECABORT, and lets the commands go.
    pub fn abort(&mut self) {
        *self = Self { aborted: true, ..Self::default() };
    }
}

fn bytes_of(request: &Request) -> usize {
    size_of::<Request>() + request.iter().map(|word| size_of::<Bytes>() + word.len()).sum::<usize>()
}

impl Client {
    /// A connection that has just begun.
    #[must_use]
    pub fn new(info: Arc<ClientInfo>, users: &Users) -> Self {
        let mut client = Self::blank(info, users);
        client.log_out(users);
        client
    }

    /// What stands in a connection's place for its client while that is somewhere else; nothing is asked of it.
    #[must_use]
    pub fn stand_in(&self, users: &Users) -> Self {
        Self { protocol: self.protocol, database: self.database, ..Self::blank(Arc::clone(&self.info), users) }
    }

    fn blank(info: Arc<ClientInfo>, users: &Users) -> Self {
        Self {
            protocol: Protocol::default(),
            database: 0,
            authenticated: false,
            login: Login::new(users),
            transaction: None,
            watch: Watch::default(),
            subscriptions: None,
            monitoring: None,
            mailbox: None,
            untold: Untold::default(),
            unpublished: None,
            close_after_reply: false,
            overruns: false,
            unsaved: Unsaved::default(),
            info,
        }
    }

    /// Whether it listens to anything.
    #[must_use]
    pub fn listens(&self) -> bool {
        self.subscriptions.is_some()
    }

    /// Whether all that it listens to is allowed.
    #[must_use]
    pub fn listens_only_to(&self, allows: impl Fn(Listening, &[u8]) -> bool) -> bool {
        let kinds = [Listening::Channel, Listening::Pattern];
        let all = |subscriptions: &Subscriptions, kind| subscriptions.all(kind).iter().all(|name| allows(kind, name));
        self.subscriptions.as_ref().is_none_or(|subscriptions| kinds.into_iter().all(|kind| all(subscriptions, kind)))
    }

    /// Where its messages are, if any may come: it listens, or is a monitor.
    #[must_use]
    pub fn mailbox(&self) -> Option<&Mailbox> {
        self.mailbox.as_deref()
    }

    /// What it listens to, or nothing yet.
    pub fn subscriptions_of(&mut self, pubsub: &Arc<PubSub>) -> &mut Subscriptions {
        let mailbox = self.mailbox.get_or_insert_default();
        let new = || Box::new(Subscriptions::new(Arc::clone(pubsub), self.info.id, Arc::clone(mailbox)));
        self.subscriptions.get_or_insert_with(new)
    }

    /// Watches from now on what all clients do.
    pub fn monitor(&mut self, monitors: &Arc<Monitors>) {
        let mailbox = Arc::clone(self.mailbox.get_or_insert_default());
        self.monitoring = Some(monitors.add(self.info.id, mailbox));
        self.info.shown.lock().monitors = true;
    }

    /// Whether it watches what all clients do.
    #[must_use]
    pub const fn is_monitor(&self) -> bool {
        self.monitoring.is_some()
    }

    /// Watches nobody any more (RESET, QUIT).
    pub fn stop_monitoring(&mut self) {
        if self.monitoring.take().is_some() {
            self.info.shown.lock().monitors = false;
            self.give_up_mailbox();
        }
    }

    fn give_up_mailbox(&mut self) {
        if self.subscriptions.is_none() && self.monitoring.is_none() {
            self.mailbox = None;
        }
    }

    /// Takes the messages that have come; a client that left too many of them is closed.
    pub fn take_messages(&mut self) -> Vec<Reply> {
        let Some(mailbox) = self.mailbox() else { return Vec::new() };
        let messages = mailbox.take();
        self.overruns |= messages.is_none();
        messages.unwrap_or_default()
    }

    /// Listens to nothing any more (RESET, or the last UNSUBSCRIBE).
    pub fn leave_all(&mut self) {
        self.subscriptions = None;
        self.give_up_mailbox();
        self.note_subscriptions();
    }

    /// Shows others what it listens to.
    pub fn note_subscriptions(&self) {
        let count = |kind| self.subscriptions.as_ref().map_or(0, |subscriptions| subscriptions.count(kind));
        let mut shown = self.info.shown.lock();
        (shown.channels, shown.patterns) = (count(Listening::Channel), count(Listening::Pattern));
    }
}
