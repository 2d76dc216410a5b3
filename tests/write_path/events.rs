//! An event is told when its change is committed, never before, and never if it is not; and those of one key in their order.

use std::sync::Arc;

use sojourn::clock::Expiry;
use sojourn::config::{self, EventClass, Settings};
use sojourn::database::unit::Outcome;
use sojourn::keyspace::Tickets;
use sojourn::keyspace::events::Notice;

use super::{MINUTE_MS, Memory, NOW_MS, Rig, WRITE_TIMEOUT, outage, settings, settle_down, settled, wait_until};

/// Whose server tells of everything.
fn telling(rig: Rig) -> Rig {
    let mut settings = Settings::default();
    config::set(&mut settings, "notify-keyspace-events", "KEA").expect("good letters");
    rig.keyspace.events.set_classes(settings.notify_keyspace_events);
    rig
}

impl Rig {
    /// SET as its handler does it.
    fn tell_set(&self, key: &str, value: &str) -> Tickets {
        self.run(&[key], |keys| {
            keys.put(key.as_bytes(), value.as_bytes(), Expiry::NEVER).expect("a write that is taken");
            keys.notify(EventClass::String, "set", key.as_bytes());
        })
        .1
    }

    /// EXPIRE as its handler does it.
    fn tell_expire(&self, key: &str, expiry: Expiry) -> Tickets {
        self.run(&[key], |keys| {
            keys.set_expiry(key.as_bytes(), expiry).expect("a change that is taken");
            keys.notify(EventClass::Generic, "expire", key.as_bytes());
        })
        .1
    }

    /// What is told now.
    fn told(&self) -> Vec<String> {
        let text = |notice| match notice {
            Notice::Event { event, name } => format!("{event} {}", String::from_utf8_lossy(&name.key)),
            Notice::Message { payload, .. } => format!("message {}", String::from_utf8_lossy(&payload)),
        };
        self.keyspace.events.take_settled().into_iter().map(text).collect()
    }

    async fn all_told(&self) -> Vec<String> {
        wait_until("the commits", || self.through.backlog() == 0).await;
        self.told()
    }
}

const NOTHING: [&str; 0] = [];

#[tokio::test]
async fn an_event_is_told_with_the_commit_and_not_before() {
    let rig = telling(Rig::start().await);
    rig.database.hold(true);
    let written = rig.tell_set("a", "1");
    settle_down().await;
    assert_eq!(rig.told(), NOTHING);
    rig.database.hold(false);
    assert_eq!(settled(&written).await, Outcome::Committed);
    assert_eq!(rig.told(), ["set a"]);
    assert_eq!(rig.told(), NOTHING, "once");
}

#[tokio::test]
async fn a_failed_unit_tells_nothing_nor_does_what_was_built_on_it() {
    let rig = telling(Rig::start().await);
    rig.database.refuse(Some(b"bad"));
    rig.database.hold(true);
    rig.tell_set("first", "1");
    settle_down().await;
    rig.tell_set("bad", "1");
    rig.tell_set("bad", "2");
    rig.run(&["bad", "copy"], |keys| {
        let value = keys.value(b"bad").expect("a hot value").expect("a value");
        keys.put(b"copy", &value, Expiry::NEVER).expect("a write that is taken");
        keys.notify(EventClass::String, "set", b"copy");
        keys.publish_all(vec![("channel".into(), "of the copy".into())]);
    });
    rig.tell_set("neighbour", "1");
    rig.database.hold(false);
    assert_eq!(rig.all_told().await, ["set first", "set neighbour"]);
}

#[tokio::test]
async fn what_only_saw_a_change_waits_for_it() {
    let rig = telling(Rig::start().await);
    rig.tell_set("a", "1");
    assert_eq!(rig.all_told().await, ["set a"]);
    rig.database.hold(true);
    rig.tell_expire("a", Expiry::at_ms(NOW_MS + MINUTE_MS));
    rig.run(&["a"], |keys| {
        keys.value(b"a").expect("a hot value");
        keys.publish_all(vec![("channel".into(), "saw a".into())]);
    });
    settle_down().await;
    assert_eq!(rig.told(), NOTHING);
    rig.database.hold(false);
    assert_eq!(rig.all_told().await, ["expire a", "message saw a"]);
}

#[tokio::test]
async fn a_touch_is_told_at_once_and_a_touch_of_what_is_pending_is_not() {
    let rig = telling(Rig::start().await);
    let end = |minutes| Expiry::at_ms(NOW_MS + minutes * MINUTE_MS);
    settled(&rig.set_until("a", "1", end(30))).await;
    rig.database.hold(true);
    assert!(rig.tell_expire("a", Expiry::at_ms(NOW_MS + 30 * MINUTE_MS + 1)).is_empty());
    assert_eq!(rig.told(), ["expire a"]);
    rig.tell_set("a", "2");
    rig.tell_expire("a", end(31));
    settle_down().await;
    assert_eq!(rig.told(), NOTHING);
    rig.database.hold(false);
    assert_eq!(rig.all_told().await, ["set a", "expire a"]);
}

#[tokio::test]
async fn who_waits_for_a_lock_holds_up_its_own_key_only() {
    let rig = telling(Rig::patient().await);
    rig.database.lock(&[b"locked"]);
    rig.tell_set("locked", "1");
    settle_down().await;
    rig.tell_set("locked", "2");
    rig.run(&["locked", "with it"], |keys| {
        for key in [&b"with it"[..], b"locked"] {
            keys.put(key, b"3", Expiry::NEVER).expect("a write that is taken");
            keys.notify(EventClass::String, "set", key);
        }
    });
    let other = rig.tell_set("other", "1");
    assert_eq!(settled(&other).await, Outcome::Committed);
    assert_eq!(rig.told(), ["set other"]);
    rig.database.lock(&[]);
    assert_eq!(rig.all_told().await, ["set locked", "set locked", "set with it", "set locked"]);
}

#[tokio::test]
async fn what_is_in_doubt_is_told_when_it_is_known() {
    let rig = telling(Rig::start().await);
    // The commit that is in doubt has taken place.
    rig.database.fail_and_go_away(outage(true));
    let doubtful = rig.tell_set("a", "1");
    assert_eq!(settled(&doubtful).await, Outcome::Unknown);
    assert_eq!(rig.told(), NOTHING);
    rig.database.set_away(false);
    assert_eq!(rig.all_told().await, ["set a"]);
}

#[tokio::test]
async fn everysec_tells_at_once() {
    let rig = telling(Rig::with(Arc::new(Memory::open(&settings())), WRITE_TIMEOUT, true).await);
    rig.database.hold(true);
    rig.tell_set("a", "1");
    assert_eq!(rig.told(), ["set a"]);
    rig.database.hold(false);
}

#[tokio::test]
async fn the_end_of_a_key_is_told_once_its_last_change_is_committed() {
    let rig = telling(Rig::start().await);
    rig.database.hold(true);
    let written = rig.set_until("a", "1", Expiry::at_ms(NOW_MS + 10));
    rig.clock.advance_ms(10);
    rig.keyspace.expire();
    assert_eq!(rig.told(), NOTHING, "nobody may know yet that it ever was");
    rig.database.hold(false);
    assert_eq!(settled(&written).await, Outcome::Committed);
    rig.keyspace.expire();
    rig.keyspace.expire();
    assert_eq!(rig.told(), ["expired a"]);
}

#[tokio::test]
async fn events_that_nobody_asked_for_are_not_kept() {
    let rig = Rig::start().await;
    rig.database.hold(true);
    rig.tell_set("a", "1");
    assert!(!rig.keyspace.events.any_waits());
    rig.database.hold(false);
    assert_eq!(rig.all_told().await, NOTHING);
}
