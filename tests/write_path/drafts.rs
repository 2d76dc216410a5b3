//! A draft is nobody's business but its script's, and a stamp tells whether others have changed what it began with.

use sojourn::clock::Expiry;
use sojourn::database::unit::Outcome;
use sojourn::keyspace::hot::Access;
use sojourn::keyspace::{Lock, Stamp};

use super::{MINUTE_MS, NOW_MS, Rig, settled};

const NAMES: &[(u8, &[u8])] = &[(0, b"a"), (0, b"b")];

fn stamp(rig: &Rig) -> Stamp {
    rig.keyspace.lock(&Lock::Keys(NAMES, Access::Read), 0, rig.clock.now_ms()).stamp(NAMES)
}

#[tokio::test]
async fn what_is_done_to_a_draft_is_seen_by_nobody_and_leaves_nothing() {
    let rig = Rig::start().await;
    assert_eq!(settled(&rig.set("a", "1")).await, Outcome::Committed);
    let commits = rig.database.commits();
    let table = rig.keyspace.drafting_table();
    let before = stamp(&rig);
    for _ in 0..2 {
        let locked = rig.keyspace.lock(&Lock::Keys(NAMES, Access::Write), 0, rig.clock.now_ms());
        let mut draft = locked.draft(&table, NAMES);
        drop(locked);
        assert_eq!(draft.value(b"a").expect("a copy").as_deref(), Some(&b"1"[..]));
        assert_eq!(draft.value(b"b"), Ok(None), "nothing is left of the draft before");
        draft.put(b"a", b"2", Expiry::NEVER).expect("a write that is taken");
        draft.put(b"b", b"2", Expiry::NEVER).expect("a write that is taken");
        assert!(draft.delete(b"a").expect("a write that is taken"));
        assert_eq!(rig.value("a").as_deref(), Some("1"));
        assert_eq!(rig.value("b"), None);
        draft.clear_draft(NAMES);
    }
    assert_eq!(stamp(&rig), before);
    assert_eq!((rig.count(), rig.database.commits()), (1, commits));
    let metrics = &rig.through.metrics;
    assert_eq!((metrics.created_keys.get(), metrics.deleted_keys.get()), (1, 0), "no draft counts");
}

#[tokio::test]
async fn a_stamp_tells_every_change() {
    let rig = Rig::start().await;
    let mut stamps = vec![stamp(&rig)];
    rig.set("a", "1");
    stamps.push(stamp(&rig));
    rig.set("a", "1");
    stamps.push(stamp(&rig));
    rig.expire("a", Expiry::at_ms(NOW_MS + MINUTE_MS));
    stamps.push(stamp(&rig));
    rig.set("b", "1");
    stamps.push(stamp(&rig));
    rig.delete("a");
    stamps.push(stamp(&rig));
    for (position, one) in stamps.iter().enumerate() {
        assert!(!stamps[..position].contains(one), "{position}");
    }
    assert_eq!(stamp(&rig), stamps[5]);
}

#[tokio::test]
async fn a_stamp_tells_that_a_write_which_was_seen_has_failed() {
    let rig = Rig::start().await;
    assert_eq!(settled(&rig.set("a", "1")).await, Outcome::Committed);
    rig.database.hold(true);
    rig.database.refuse(Some(b"a"));
    let written = rig.set("a", "2");
    let seen = stamp(&rig);
    rig.database.hold(false);
    assert_eq!(settled(&written).await, Outcome::Failed);
    assert_ne!(stamp(&rig), seen);
}
