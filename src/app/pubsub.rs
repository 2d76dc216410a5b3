//! Who listens to what: channels, patterns, and the mailbox of each client that has subscribed to any. A publisher never
//! waits for a subscriber: it leaves the message in the mailbox, and a mailbox that is full closes its connection.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use ahash::RandomState;
use bytes::Bytes;
use parking_lot::RwLock;

use super::mailbox::Mailbox;
use crate::glob;
use crate::protocol::Reply;
use crate::telemetry::metrics::Metrics;

/// The most channels that one client subscribes to: some 10 MiB with names of usual length. Redis has no limit.
pub const CHANNELS_MAX: usize = 64 * 1024;

/// The same for patterns: each message is compared with every one of them, at the publisher's cost.
pub const PATTERNS_MAX: usize = 1_024;

/// Those who listen to one channel or pattern, by the number of their connection.
type Audience = BTreeMap<u64, Arc<Mailbox>>;
type Audiences = HashMap<Bytes, Audience, RandomState>;

/// How a client can listen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Listening {
    /// To a channel.
    Channel,
    /// To all channels that match a pattern.
    Pattern,
}

/// All who listen.
#[derive(Debug)]
pub struct PubSub {
    audiences: RwLock<[Audiences; 2]>,
    /// How many audiences there are; zero lets every publisher pass without a lock.
    count: AtomicUsize,
    metrics: Arc<Metrics>,
}

/// What one client listens to; dropped, it listens to nothing.
#[derive(Debug)]
pub struct Subscriptions {
    pubsub: Arc<PubSub>,
    client_id: u64,
    mailbox: Arc<Mailbox>,
    names: [BTreeSet<Bytes>; 2],
}

impl PubSub {
    /// Nobody.
    #[must_use]
    pub fn new(metrics: Arc<Metrics>) -> Self {
        Self { audiences: RwLock::default(), count: AtomicUsize::new(0), metrics }
    }

    /// Whether nobody listens to anything.
    #[must_use]
    pub fn is_silent(&self) -> bool {
        self.count.load(Ordering::Acquire) == 0
    }

    /// Gives a message to all who listen; `mailbox_bytes_max` is how much each may have waiting. Answers to how many it went:
    /// as in Redis, to whoever listens in several ways it goes as often.
    pub fn publish(&self, channel: &[u8], payload: &[u8], mailbox_bytes_max: usize) -> usize {
        self.metrics.messages_published.increment();
        if self.is_silent() {
            return 0;
        }
        // Copies that all share: slices would keep the whole buffer that they were read into, for as long as somebody does not
        // read.
        let (channel, payload) = (&Bytes::copy_from_slice(channel), &Bytes::copy_from_slice(payload));
        let mut receivers = 0;
        let audiences = self.audiences.read();
        if let Some(audience) = audiences[Listening::Channel as usize].get(channel) {
            let words = || vec![Reply::text("message"), Reply::Bulk(channel.clone()), Reply::Bulk(payload.clone())];
            audience.values().for_each(|mailbox| mailbox.deliver(Reply::Push(words()), mailbox_bytes_max));
            receivers += audience.len();
        }
        for (pattern, audience) in
            audiences[Listening::Pattern as usize].iter().filter(|(pattern, _)| glob::matches(pattern, channel))
        {
            let words = || [pattern, channel, payload].map(|word| Reply::Bulk(word.clone()));
            let words = || std::iter::once(Reply::text("pmessage")).chain(words()).collect();
            audience.values().for_each(|mailbox| mailbox.deliver(Reply::Push(words()), mailbox_bytes_max));
            receivers += audience.len();
        }
        self.metrics.messages_delivered.add(receivers as u64);
        receivers
    }

    /// To how many a message would go.
    #[must_use]
    pub fn receivers(&self, channel: &[u8]) -> usize {
        let audiences = self.audiences.read();
        let [channels, patterns] = &*audiences;
        let matching = patterns.iter().filter(|(pattern, _)| glob::matches(pattern, channel));
        channels.get(channel).map_or(0, Audience::len) + matching.map(|(_, audience)| audience.len()).sum::<usize>()
    }

    /// The channels that somebody listens to and that fit.
    #[must_use]
    pub fn channels(&self, fits: impl Fn(&[u8]) -> bool) -> Vec<Bytes> {
        self.audiences.read()[Listening::Channel as usize].keys().filter(|channel| fits(channel)).cloned().collect()
    }

    /// How many listen to this channel by its name.
    #[must_use]
    pub fn listeners(&self, channel: &[u8]) -> usize {
        self.audiences.read()[Listening::Channel as usize].get(channel).map_or(0, Audience::len)
    }

    /// How many channels, or patterns, somebody listens to.
    #[must_use]
    pub fn names(&self, kind: Listening) -> usize {
        self.audiences.read()[kind as usize].len()
    }

    /// Calls `visit` with everything that anybody listens to, and the number of that client.
    pub fn visit(&self, mut visit: impl FnMut(Listening, &[u8], u64)) {
        let audiences = self.audiences.read();
        for kind in [Listening::Channel, Listening::Pattern] {
            for (name, audience) in &audiences[kind as usize] {
                audience.keys().for_each(|client_id| visit(kind, name, *client_id));
            }
        }
    }

    fn change(&self, kind: Listening, change: impl FnOnce(&mut Audiences)) {
        let mut audiences = self.audiences.write();
        change(&mut audiences[kind as usize]);
        self.count.store(audiences.iter().map(Audiences::len).sum(), Ordering::Release);
        self.metrics.pubsub_channels.set(audiences[Listening::Channel as usize].len() as u64);
        self.metrics.pubsub_patterns.set(audiences[Listening::Pattern as usize].len() as u64);
    }
}

impl Subscriptions {
    /// Those of a client that listens to nothing yet, whose messages are left in this mailbox.
    #[must_use]
    pub fn new(pubsub: Arc<PubSub>, client_id: u64, mailbox: Arc<Mailbox>) -> Self {
        Self { pubsub, client_id, mailbox, names: Default::default() }
    }

    /// How many there are of a kind.
    #[must_use]
    pub fn count(&self, kind: Listening) -> usize {
        self.names[kind as usize].len()
    }

    /// How many there are.
    #[must_use]
    pub fn total(&self) -> usize {
        self.names.iter().map(BTreeSet::len).sum()
    }

    /// Whether this is one of them.
    #[must_use]
    pub fn contains(&self, kind: Listening, name: &[u8]) -> bool {
        self.names[kind as usize].contains(name)
    }

    /// All of a kind.
    #[must_use]
    pub fn all(&self, kind: Listening) -> Vec<Bytes> {
        self.names[kind as usize].iter().cloned().collect()
    }

    /// Listens.
    pub fn add(&mut self, kind: Listening, name: &[u8]) {
        if self.contains(kind, name) {
            return;
        }
        // A copy: a slice would keep the whole buffer that it was read into.
        let name = Bytes::copy_from_slice(name);
        self.names[kind as usize].insert(name.clone());
        let mailbox = Arc::clone(&self.mailbox);
        self.pubsub.change(kind, |audiences| {
            audiences.entry(name).or_default().insert(self.client_id, mailbox);
        });
    }

    /// Listens no more.
    pub fn remove(&mut self, kind: Listening, name: &[u8]) {
        if self.names[kind as usize].remove(name) {
            self.pubsub.change(kind, |audiences| leave(audiences, name, self.client_id));
        }
    }
}

impl Drop for Subscriptions {
    fn drop(&mut self) {
        for kind in [Listening::Channel, Listening::Pattern] {
            let names = std::mem::take(&mut self.names[kind as usize]);
            if !names.is_empty() {
                self.pubsub.change(kind, |audiences| {
                    names.iter().for_each(|name| leave(audiences, name, self.client_id));
                });
            }
        }
    }
}

fn leave(audiences: &mut Audiences, name: &[u8], client_id: u64) {
    if let Some(audience) = audiences.get_mut(name) {
        audience.remove(&client_id);
        if audience.is_empty() {
            audiences.remove(name);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MANY: usize = 1 << 20;

    fn bytes(text: &'static str) -> Bytes {
        Bytes::from_static(text.as_bytes())
    }

    fn pubsub() -> Arc<PubSub> {
        Arc::new(PubSub::new(Arc::new(Metrics::new(&[]))))
    }

    #[test]
    fn a_message_goes_to_all_who_listen_and_as_often_as_they_do() {
        let pubsub = pubsub();
        let mut listeners: Vec<_> =
            (1..=2).map(|id| Subscriptions::new(Arc::clone(&pubsub), id, Arc::default())).collect();
        assert!(pubsub.is_silent() && pubsub.publish(&bytes("news"), &bytes("x"), MANY) == 0);
        listeners[0].add(Listening::Channel, b"news");
        listeners[0].add(Listening::Channel, b"news");
        listeners[0].add(Listening::Pattern, b"n*");
        listeners[1].add(Listening::Pattern, b"n?ws");
        assert_eq!((pubsub.publish(&bytes("news"), &bytes("x"), MANY), pubsub.receivers(b"news")), (3, 3));
        assert_eq!(pubsub.publish(&bytes("other"), &bytes("x"), MANY), 0);
        let letters = listeners.iter().map(|listener| listener.mailbox.take().map(|letters| letters.len()));
        assert_eq!(letters.collect::<Vec<_>>(), [Some(2), Some(1)]);
        assert_eq!((pubsub.names(Listening::Channel), pubsub.names(Listening::Pattern)), (1, 2));
        listeners[0].remove(Listening::Channel, b"news");
        assert_eq!((pubsub.names(Listening::Channel), listeners[0].total()), (0, 1));
        drop(listeners);
        assert!(pubsub.is_silent() && pubsub.names(Listening::Pattern) == 0);
    }

    #[test]
    fn a_mailbox_that_nobody_empties_overruns_and_keeps_nothing() {
        let pubsub = pubsub();
        let mut slow = Subscriptions::new(Arc::clone(&pubsub), 1, Arc::default());
        slow.add(Listening::Channel, b"c");
        for _ in 0..100 {
            assert_eq!(pubsub.publish(&bytes("c"), &bytes("0123456789"), 1_000), 1);
        }
        assert_eq!(slow.mailbox.take(), None);
    }
}
