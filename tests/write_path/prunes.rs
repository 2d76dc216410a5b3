//! Many sessions end at once: memory and database let them go in small steps, with everybody else in between.

use std::time::Duration;

use sojourn::clock::Expiry;
use sojourn::database::unit::Outcome;

use super::*;

const ENDED: usize = 200;

/// Sessions that have ended, and a writer that deletes them one by one.
async fn ended() -> Rig {
    let rig = Rig::pruning_by(1).await;
    let names: Vec<String> = (0..ENDED).map(|number| format!("old:{number}")).collect();
    let keys: Vec<&str> = names.iter().map(String::as_str).collect();
    let (_, tickets) = rig.run(&keys, |keys| {
        let put = |name: &String| keys.put(name.as_bytes(), b"", Expiry::at_ms(NOW_MS + 1));
        names.iter().map(put).collect::<Result<Vec<_>, _>>().expect("writes that are taken")
    });
    assert_eq!(settled(&tickets).await, Outcome::Committed);
    rig
}

/// How many of them are left in the database.
fn left(rig: &Rig) -> usize {
    (0..ENDED).filter(|number| rig.stored(&format!("old:{number}")).is_some()).count()
}

#[tokio::test]
async fn a_sweep_goes_on_until_all_is_deleted_and_units_go_between_its_commits() {
    let rig = ended().await;
    let commits = rig.database.commits();
    rig.clock.advance_ms(MINUTE_MS);
    wait_until("the sweep", || left(&rig) < ENDED).await;
    assert_eq!(settled(&rig.set("new", "1")).await, Outcome::Committed);
    assert!(left(&rig) > 0, "the write waited for the end of the sweep");
    wait_until("the end of the sweep", || left(&rig) == 0).await;
    assert!(rig.database.commits() - commits >= ENDED as u64, "one by one");
    rig.assert_agrees(&[("new", Some("1"))]);
}

#[tokio::test]
async fn what_is_touched_while_a_sweep_goes_on_is_not_deleted_by_it() {
    let rig = ended().await;
    let (end, later) = (Expiry::at_ms(NOW_MS + 10 * MINUTE_MS), Expiry::at_ms(NOW_MS + 10 * MINUTE_MS + 30_000));
    settled(&rig.set_until("sess:a", "{}", end)).await;
    rig.clock.advance_ms(MINUTE_MS);
    wait_until("the sweep", || left(&rig) < ENDED).await;
    rig.database.hold(true);
    settle_down().await;
    assert!(rig.expire("sess:a", later).is_empty(), "a touch, which stays in the queue");
    rig.clock.advance_ms(9 * MINUTE_MS + 10_000);
    rig.database.hold(false);
    wait_until("the end of the sweep", || left(&rig) == 0).await;
    rig.assert_agrees(&[("sess:a", Some("{}"))]);
}

#[tokio::test]
async fn the_expiry_goes_on_where_its_last_slice_ended() {
    let rig = Rig::start().await;
    let names: Vec<String> = (0..ENDED).map(|number| format!("old:{number}")).collect();
    for name in &names {
        rig.set_until(name, "", Expiry::at_ms(NOW_MS + 1));
    }
    settled(&rig.set_until("living", "", Expiry::at_ms(NOW_MS + MINUTE_MS))).await;
    rig.clock.advance_ms(1);
    assert_eq!(rig.value(&names[0]), None, "gone to the millisecond");
    let (mut slices, mut from) = (0, Some(0));
    while let Some(shard) = from {
        let before = rig.count();
        from = rig.keyspace.expire_slice(shard, Duration::ZERO);
        slices += 1;
        assert!(before - rig.count() < ENDED / 10, "a slice without time ends with its shard");
    }
    assert!(slices > ENDED / 2 && rig.count() == 1, "{slices} slices, {} left", rig.count());
}
