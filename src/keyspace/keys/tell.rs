//! What a handler tells subscribers of its keys. It costs a command nothing but a look at a number where nobody asked for
//! events, and it never goes out before what it tells of is committed.

use std::sync::Arc;

use super::super::entry::Name;
use super::super::events::{Messages, Notice};
use super::super::hot::Spot;
use super::{Keys, Tickets};
use crate::config::EventClass;

impl Keys<'_> {
    /// Tells subscribers of an event of a key, once all that the command has changed or seen is committed. A handler calls it
    /// after the change, with the class and the word that Redis has for it.
    pub fn notify(&mut self, class: EventClass, event: &'static str, key: &[u8]) {
        if self.event_classes.wants(class) {
            let name = Name { database: self.database, key: Arc::from(key) };
            self.notices.push(Notice::Event { event, name });
        }
    }

    /// Tells subscribers of a read of a key that is not there.
    pub fn notify_miss(&mut self, key: &[u8]) {
        self.notify(EventClass::Miss, "keymiss", key);
    }

    /// [`Keys::exists`] of a command that reads: it tells of a miss.
    pub fn exists_to_read(&mut self, key: &[u8]) -> bool {
        let exists = self.exists(key);
        if !exists {
            self.notify_miss(key);
        }
        exists
    }

    /// Publishes messages once all of this EXEC or script is committed: they may tell of it.
    pub fn publish_all(&mut self, messages: Messages) {
        self.notices.extend(messages.into_iter().map(|(channel, payload)| Notice::Message { channel, payload }));
    }

    /// A key is about to be where none is live: one that has ended is told of now, since nobody comes across it any more.
    pub(super) fn notify_new(&mut self, spot: Spot, key: &[u8]) {
        let has_ended = self.locked.slot(spot, self.database, key).is_some_and(|slot| slot.life().is_some());
        if has_ended {
            self.keyspace.metrics.expired_keys.increment();
            self.notify(EventClass::Expired, "expired", key);
        }
        self.notify(EventClass::New, "new", key);
    }

    /// Hands on what is told, with what it waits for; under the locks of the keys, so that their order is kept.
    pub(super) fn hold_notices(&mut self) {
        if !self.notices.is_empty() {
            let holds_replies = self.keyspace.write_through.holds_replies();
            let tickets = if holds_replies { self.seen.clone() } else { Tickets::new() };
            self.keyspace.events.hold(std::mem::take(&mut self.notices), tickets);
        }
    }
}
