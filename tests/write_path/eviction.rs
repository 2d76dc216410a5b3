//! Values leave memory at the limit: which, and what stays.

use std::sync::{Arc, mpsc};
use std::time::Instant;

use sojourn::clock::Expiry;
use sojourn::config::EvictionPolicy;
use sojourn::database::unit::Outcome;
use sojourn::keyspace::eviction::Room;
use sojourn::keyspace::{KeysError, Lock, Tickets};

use super::{MINUTE_MS, NOW_MS, PATIENCE, Rig, settled, wait_until};

const VALUE: &str =
    r#"{"user":1,"padding":"xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"}"#;

impl Rig {
    fn limit(&self, bytes: usize, policy: EvictionPolicy) {
        self.keyspace.memory_limit.set(bytes as u64, policy);
        self.keyspace.tend_memory();
    }

    /// As little memory as there can be: all that can leave leaves.
    fn shed_all(&self, policy: EvictionPolicy) {
        let use_ = self.keyspace.memory_use();
        self.limit(use_.used() - use_.values, policy);
        self.relieve();
    }

    fn relieve(&self) {
        let begun = Instant::now();
        while self.keyspace.relieve() {
            assert!(begun.elapsed() < PATIENCE, "the memory stays above its limit");
        }
    }

    fn is_cold(&self, key: &str) -> bool {
        self.run(&[key], |keys| keys.is_cold(0, key.as_bytes())).0
    }

    fn cold(&self, keys: &[String]) -> Vec<bool> {
        keys.iter().map(|key| self.is_cold(key)).collect()
    }

    /// A GET as the executor does it.
    async fn read(&self, key: &str) -> Option<String> {
        if self.is_cold(key) {
            self.keyspace.load(vec![(0, key.as_bytes().to_vec())]).await.expect("a database");
        }
        self.value(key)
    }

    async fn log_in(&self, numbers: std::ops::Range<usize>, end: Expiry) -> Vec<String> {
        let keys: Vec<String> = numbers.map(|number| format!("sess:{number:032x}")).collect();
        keys.iter().for_each(|key| drop::<Tickets>(self.set_until(key, VALUE, end)));
        wait_until("the commits", || self.through.backlog() == 0).await;
        keys
    }
}

fn share(cold: &[bool]) -> f64 {
    cold.iter().filter(|cold| **cold).count() as f64 / cold.len() as f64
}

const LATER: Expiry = Expiry::at_ms(NOW_MS + 60 * MINUTE_MS);

#[tokio::test]
async fn a_value_leaves_and_its_session_stays() {
    let rig = Rig::start().await;
    rig.log_in(0..1, LATER).await;
    let key = &format!("sess:{:032x}", 0);
    let hot = rig.keyspace.memory_use();
    rig.shed_all(EvictionPolicy::AllkeysLru);
    let cold = rig.keyspace.memory_use();
    assert!(rig.is_cold(key) && hot.hot_values == 1 && cold.hot_values == 0 && cold.values == 0);
    assert_eq!((rig.count(), rig.keyspace.recount()), (1, cold));
    assert_eq!(rig.read(key).await.as_deref(), Some(VALUE));
    assert_eq!(rig.keyspace.memory_use().hot_values, 1);
}

#[tokio::test]
async fn what_is_not_committed_never_leaves() {
    let rig = Rig::patient().await;
    rig.log_in(0..1, LATER).await;
    rig.database.hold(true);
    let key = &format!("sess:{:032x}", 0);
    let tickets = rig.set_until(key, r#"{"user":2}"#, LATER);
    rig.limit(1, EvictionPolicy::AllkeysLru);
    rig.relieve();
    assert_eq!(rig.keyspace.make_room(), Room::None, "no memory is left for keys");
    assert_eq!(rig.value(key).as_deref(), Some(r#"{"user":2}"#));
    rig.database.hold(false);
    assert_eq!(settled(&tickets).await, Outcome::Committed);
    rig.relieve();
    assert!(rig.is_cold(key));
    assert_eq!(rig.read(key).await.as_deref(), Some(r#"{"user":2}"#));
}

#[tokio::test]
async fn touches_and_ends_of_a_cold_key_need_no_load() {
    let rig = Rig::start().await;
    let keys = rig.log_in(0..1, LATER).await;
    let key = keys[0].as_str();
    rig.shed_all(EvictionPolicy::AllkeysLru);
    let (later, soon) = (Expiry::at_ms(NOW_MS + 61 * MINUTE_MS), Expiry::at_ms(NOW_MS + MINUTE_MS));
    assert!(rig.expire(key, later).is_empty() && rig.keyspace.touches.count() == 1, "a touch is put off");
    assert_eq!(settled(&rig.expire(key, soon)).await, Outcome::Committed);
    assert!(rig.is_cold(key));
    assert_eq!(rig.recorded(key), Some(soon));
    assert_eq!(settled(&rig.set_until(key, "{}", LATER)).await, Outcome::Committed, "a SET needs no load either");
    assert_eq!((rig.value(key).as_deref(), rig.recorded(key)), (Some("{}"), Some(LATER)));
}

#[tokio::test]
async fn a_unit_that_fails_on_a_cold_key_brings_it_back_cold() {
    let rig = Rig::start().await;
    let keys = rig.log_in(0..1, LATER).await;
    let key = keys[0].as_str();
    rig.shed_all(EvictionPolicy::AllkeysLru);
    rig.database.refuse(Some(key.as_bytes()));
    assert_eq!(settled(&rig.set_until(key, "{}", LATER)).await, Outcome::Failed);
    assert!(rig.is_cold(key), "what it was before was cold");
    assert_eq!(rig.run(&[key], |keys| keys.value(key.as_bytes())).0, Err(KeysError::Cold));
    rig.database.refuse(None);
    assert_eq!(rig.read(key).await.as_deref(), Some(VALUE));
    assert_eq!(rig.keyspace.memory_use(), rig.keyspace.recount());
}

/// Values that were read since the hand was there stay, the others leave.
#[tokio::test]
async fn what_is_read_stays_longer_than_what_is_not() {
    for (policy, reads) in [(EvictionPolicy::AllkeysLru, 1), (EvictionPolicy::AllkeysLfu, 3)] {
        let rig = Rig::start().await;
        let keys = rig.log_in(0..2_000, LATER).await;
        let used = rig.keyspace.memory_use();
        rig.limit(used.used(), policy);
        for key in keys.iter().step_by(2).flat_map(|key| std::iter::repeat_n(key, reads)) {
            assert!(rig.value(key).is_some());
        }
        rig.limit(used.used() - used.values * 2 / 5, policy);
        rig.relieve();
        let cold = rig.cold(&keys);
        let (read, unread): (Vec<bool>, Vec<bool>) = cold.chunks(2).map(|pair| (pair[0], pair[1])).unzip();
        assert!(share(&read) < 0.15 && share(&unread) > 0.65, "{policy:?}: {} and {}", share(&read), share(&unread));
    }
}

#[tokio::test]
async fn a_crawler_pushes_out_only_what_it_loads_itself() {
    let rig = Rig::start().await;
    let working = rig.log_in(0..500, LATER).await;
    let others = rig.log_in(500..4_000, LATER).await;
    let used = rig.keyspace.memory_use();
    rig.limit(used.used(), EvictionPolicy::AllkeysLru);
    let mut kept = Vec::new();
    for (number, key) in others.iter().enumerate() {
        if number % 50 == 0 {
            for key in &working {
                assert!(rig.read(key).await.is_some());
            }
            rig.limit(used.used() - used.values * 3 / 4, EvictionPolicy::AllkeysLru);
        }
        assert!(rig.read(key).await.is_some(), "the crawler reads each session once");
        if number % 50 == 49 && number > 500 {
            kept.push(1.0 - share(&rig.cold(&working)));
        }
    }
    let worst = kept.iter().copied().fold(1.0, f64::min);
    assert!(worst > 0.9, "of the working set only {worst} was in memory");
}

#[tokio::test]
async fn volatile_policies_spare_values_without_an_end_and_ttl_takes_the_nearest() {
    let rig = Rig::start().await;
    let lasting = rig.log_in(0..500, Expiry::NEVER).await;
    let late = rig.log_in(500..1_500, LATER).await;
    let soon = rig.log_in(1_500..2_500, Expiry::at_ms(NOW_MS + MINUTE_MS)).await;
    let used = rig.keyspace.memory_use();
    rig.limit(used.used() - used.values / 5, EvictionPolicy::VolatileTtl);
    rig.relieve();
    let shares = [&lasting, &late, &soon].map(|keys| share(&rig.cold(keys)));
    assert!(shares[0] == 0.0 && shares[2] > 3.0 * shares[1], "{shares:?}");
    for policy in [EvictionPolicy::VolatileLru, EvictionPolicy::VolatileLfu, EvictionPolicy::VolatileRandom] {
        rig.shed_all(policy);
        let shares = [&lasting, &late, &soon].map(|keys| share(&rig.cold(keys)));
        assert_eq!(shares, [0.0, 1.0, 1.0], "{policy:?}");
        assert_eq!(rig.keyspace.make_room(), Room::None, "{policy:?}: nothing else may leave");
    }
    rig.shed_all(EvictionPolicy::AllkeysRandom);
    assert_eq!(share(&rig.cold(&lasting)), 1.0);
}

#[tokio::test]
async fn who_finds_nothing_that_may_leave_locks_nothing() {
    let rig = Rig::start().await;
    rig.log_in(0..1, Expiry::NEVER).await;
    rig.keyspace.memory_limit.set(1, EvictionPolicy::VolatileTtl);
    let all = rig.keyspace.lock(&Lock::All, 0, NOW_MS);
    let (keyspace, (tell, told)) = (Arc::clone(&rig.keyspace), mpsc::channel());
    let asks = std::thread::spawn(move || tell.send(keyspace.make_room()));
    assert_eq!(told.recv_timeout(PATIENCE), Ok(Room::None), "it waits for no lock");
    drop(all);
    asks.join().expect("no panic").expect("somebody listens");
}

#[tokio::test]
async fn under_ttl_the_values_of_few_keys_among_many_leave() {
    let rig = Rig::start().await;
    rig.log_in(0..5_000, Expiry::NEVER).await;
    let rare = rig.log_in(5_000..5_003, LATER).await;
    let used = rig.keyspace.memory_use().used();
    rig.limit(used - 1, EvictionPolicy::VolatileTtl);
    rig.relieve();
    assert!(rig.cold(&rare).contains(&true));
}

#[tokio::test]
async fn noeviction_refuses_and_keeps_everything() {
    let rig = Rig::start().await;
    let keys = rig.log_in(0..10, LATER).await;
    let used = rig.keyspace.memory_use();
    rig.limit(used.used(), EvictionPolicy::NoEviction);
    assert_eq!(rig.keyspace.make_room(), Room::Some);
    rig.limit(used.used() - 1, EvictionPolicy::NoEviction);
    assert_eq!(rig.keyspace.make_room(), Room::None);
    assert_eq!(share(&rig.cold(&keys)), 0.0);
    rig.delete(&keys[0]);
    wait_until("the commit", || rig.through.backlog() == 0).await;
    assert_eq!(rig.keyspace.make_room(), Room::Some);
}
