//! The events of keys on their way to the subscribers. A group of events (those of one command or EXEC) is held like a reply
//! until each change that its command made or saw is committed; a group whose unit fails is dropped. It must never tell of a
//! key's changes in another order than theirs.

use std::collections::{HashSet, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicU16, AtomicUsize, Ordering};

use ahash::RandomState;
use bytes::Bytes;
use parking_lot::Mutex;
use smallvec::SmallVec;
use tokio::sync::Notify;
use tracing::warn;

use super::entry::Name;
use super::keys::Tickets;
use crate::config::EventClasses;
use crate::database::unit::Outcome;
use crate::telemetry::metrics::Metrics;

/// The most bytes of events that wait for a commit or for their delivery: those of all units that may wait, with keys of usual
/// length, take a fifth of it. What comes beyond it is dropped: messages may be lost in Redis, too, and memory may not.
const HELD_BYTES_MAX: usize = 128 * 1024 * 1024;

/// What an event takes besides its key, and a group besides its events, roughly.
const OVERHEAD_BYTES: usize = 64;

/// How many groups are looked through for those that are settled while older ones wait, as for somebody's lock: two full
/// batches, so that a look stays short however many wait.
const LOOKED_THROUGH_MAX: usize = 4_096;

/// What is told to subscribers once it is certain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Notice {
    /// Something happened to a key.
    Event {
        /// What, in Redis's word.
        event: &'static str,
        /// To which key.
        name: Name,
    },
    /// A message that was published in an EXEC, which may tell of what the EXEC has written.
    Message {
        /// The channel.
        channel: Bytes,
        /// The message.
        payload: Bytes,
    },
}

/// Messages on their way: channel and payload.
pub type Messages = Vec<(Bytes, Bytes)>;

/// What one command tells, in its order.
pub type Notices = SmallVec<[Notice; 1]>;

/// What one command tells, and what that waits for.
#[derive(Debug)]
struct Group {
    tickets: Tickets,
    notices: Notices,
}

#[derive(Debug, Default)]
struct Held {
    groups: VecDeque<Group>,
    bytes: usize,
    /// Whether the log says that events were dropped, since the last time when none waited.
    told_of_drops: bool,
}

/// The events that wait, and which there are at all.
#[derive(Debug)]
pub struct Events {
    classes: AtomicU16,
    /// Messages that are held, or taken and not told yet: others must not overtake them.
    messages: AtomicUsize,
    held: Mutex<Held>,
    arrived: Notify,
    metrics: Arc<Metrics>,
}

impl Notice {
    fn bytes(&self) -> usize {
        OVERHEAD_BYTES
            + match self {
                Self::Event { name, .. } => name.key.len(),
                Self::Message { channel, payload } => channel.len() + payload.len(),
            }
    }

    /// What it tells of: a key, or a channel.
    fn subject(&self) -> Subject {
        match self {
            Self::Event { name, .. } => Subject::Key(name.clone()),
            Self::Message { channel, .. } => Subject::Channel(channel.clone()),
        }
    }

    fn is_message(&self) -> bool {
        matches!(self, Self::Message { .. })
    }
}

/// What notices tell of that must not overtake each other.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Subject {
    Key(Name),
    Channel(Bytes),
}

/// What leaves the queue.
#[derive(Debug, Default)]
struct Taken {
    notices: Vec<Notice>,
    /// Messages of units that failed.
    messages_dropped: usize,
}

impl Taken {
    fn add(&mut self, group: Group, is_told: bool) {
        if is_told {
            self.notices.extend(group.notices);
        } else {
            self.messages_dropped += group.messages();
        }
    }
}

impl Group {
    fn messages(&self) -> usize {
        self.notices.iter().filter(|notice| notice.is_message()).count()
    }

    fn bytes(&self) -> usize {
        OVERHEAD_BYTES + self.notices.iter().map(Notice::bytes).sum::<usize>()
    }

    /// Whether it may be told; `None` while that is not known. What is in doubt is settled when the database is back.
    fn verdict(&self) -> Option<bool> {
        match Outcome::of_all(&self.tickets) {
            Outcome::Committed => Some(true),
            Outcome::Failed => Some(false),
            Outcome::Pending | Outcome::Unknown => None,
        }
    }
}

impl Events {
    /// None of any class.
    #[must_use]
    pub fn new(metrics: Arc<Metrics>) -> Self {
        Self {
            classes: AtomicU16::new(0),
            messages: AtomicUsize::new(0),
            held: Mutex::default(),
            arrived: Notify::new(),
            metrics,
        }
    }

    /// Which events there are from now on.
    pub fn set_classes(&self, classes: EventClasses) {
        self.classes.store(classes.bits(), Ordering::Relaxed);
    }

    /// Which events there are.
    #[must_use]
    pub fn classes(&self) -> EventClasses {
        EventClasses::of_bits(self.classes.load(Ordering::Relaxed))
    }

    /// Holds what a command tells until all of `tickets` are committed. To be called under the lock of its keys, so that the
    /// events of a key come in the order of its changes.
    pub fn hold(&self, notices: Notices, tickets: Tickets) {
        let group = Group { tickets, notices };
        let bytes = group.bytes();
        let mut held = self.held.lock();
        if held.bytes + bytes > HELD_BYTES_MAX {
            self.metrics.events_dropped.add(group.notices.len() as u64);
            if !std::mem::replace(&mut held.told_of_drops, true) {
                warn!(bytes = held.bytes, "events are dropped: too many wait for their commit");
            }
            return;
        }
        let was_empty = held.groups.is_empty();
        // Settled meanwhile, and announced perhaps before anybody waits for that.
        let is_known = group.verdict().is_some();
        held.bytes += bytes;
        self.messages.fetch_add(group.messages(), Ordering::AcqRel);
        held.groups.push_back(group);
        drop(held);
        if was_empty || is_known {
            self.arrived.notify_one();
        }
    }

    /// Waits until there is something new to look at: the first that waits, or something that waits for nothing.
    pub async fn arrived(&self) {
        self.arrived.notified().await;
    }

    /// Whether anything waits for a commit.
    #[must_use]
    pub fn any_waits(&self) -> bool {
        !self.held.lock().groups.is_empty()
    }

    /// Whether a message waits: whoever publishes another one puts it behind that.
    #[must_use]
    pub fn any_message_waits(&self) -> bool {
        self.messages.load(Ordering::Acquire) > 0
    }

    /// Notes that a message that was taken has been told.
    pub fn note_message_told(&self) {
        self.messages.fetch_sub(1, Ordering::AcqRel);
    }

    /// Takes what may be told now, in order. One caller at a time.
    #[must_use]
    pub fn take_settled(&self) -> Vec<Notice> {
        let mut taken = Taken::default();
        let mut held = self.held.lock();
        while let Some(is_told) = held.groups.front().and_then(Group::verdict)
            && let Some(group) = held.groups.pop_front()
        {
            held.bytes = held.bytes.saturating_sub(group.bytes());
            taken.add(group, is_told);
        }
        held.take_out_of_turn(&mut taken);
        held.told_of_drops &= !held.groups.is_empty();
        self.metrics.events_waiting.set(held.groups.len() as u64);
        self.messages.fetch_sub(taken.messages_dropped, Ordering::AcqRel);
        taken.notices
    }
}

impl Held {
    /// Takes those that older ones do not concern, which wait for something else.
    fn take_out_of_turn(&mut self, taken: &mut Taken) {
        let looked_through = self.groups.len().min(LOOKED_THROUGH_MAX);
        if !self.groups.iter().take(looked_through).any(|group| group.verdict().is_some()) {
            return;
        }
        let mut waiting: HashSet<Subject, RandomState> = HashSet::default();
        let mut kept = Vec::with_capacity(looked_through);
        for group in self.groups.drain(..looked_through) {
            let overtakes = || group.notices.iter().any(|notice| waiting.contains(&notice.subject()));
            match group.verdict().filter(|is_told| !*is_told || !overtakes()) {
                Some(is_told) => {
                    self.bytes = self.bytes.saturating_sub(group.bytes());
                    taken.add(group, is_told);
                }
                None => {
                    waiting.extend(group.notices.iter().map(Notice::subject));
                    kept.push(group);
                }
            }
        }
        for group in kept.into_iter().rev() {
            self.groups.push_front(group);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::database::unit::Ticket;

    fn message(channel: &'static str, bytes: usize) -> Notices {
        let notice = Notice::Message {
            channel: Bytes::from_static(channel.as_bytes()),
            payload: Bytes::from(vec![b'x'; bytes]),
        };
        [notice].into_iter().collect()
    }

    #[test]
    fn what_waits_is_bounded_and_what_is_dropped_is_counted() {
        let metrics = Arc::new(Metrics::new(&[]));
        let events = Events::new(Arc::clone(&metrics));
        let pending: Tickets = [Ticket::default()].into_iter().collect();
        for _ in 0..3 {
            events.hold(message("held up", HELD_BYTES_MAX / 2 - 1_000), pending.clone());
        }
        events.hold(message("other", 10), Tickets::new());
        assert_eq!((events.take_settled().len(), metrics.events_dropped.get()), (1, 1));
        assert!(events.any_waits() && events.held.lock().groups.len() == 2);
    }

    #[test]
    fn what_waits_for_nothing_gets_its_turn_while_fewer_wait_than_a_look_takes() {
        let events = Events::new(Arc::new(Metrics::new(&[])));
        let pending: Tickets = [Ticket::default()].into_iter().collect();
        for _ in 1..LOOKED_THROUGH_MAX {
            events.hold(message("held up", 1), pending.clone());
        }
        events.hold(message("other", 1), Tickets::new());
        events.hold(message("other", 1), Tickets::new());
        assert_eq!(events.take_settled().len(), 1, "a look is bounded");
        assert_eq!(events.take_settled().len(), 1);
        assert_eq!(events.held.lock().groups.len(), LOOKED_THROUGH_MAX - 1);
    }

    #[test]
    fn nothing_overtakes_what_tells_of_the_same() {
        let events = Events::new(Arc::new(Metrics::new(&[])));
        events.hold(message("told", 1), Tickets::new());
        assert_eq!(events.take_settled().len(), 1);
        assert!(events.any_message_waits(), "it is taken, and not told yet");
        events.note_message_told();
        assert!(!events.any_message_waits());
        events.hold(message("c", 1), [Ticket::default()].into_iter().collect());
        events.hold(message("c", 2), Tickets::new());
        assert!(events.take_settled().is_empty() && events.any_message_waits());
    }
}
