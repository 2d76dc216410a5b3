//! Hashes and sets on the way to the database: they go as strings go, a unit at a time, and come back as what they were.

use std::sync::Arc;

use sojourn::clock::Expiry;
use sojourn::database::memory::Memory;
use sojourn::database::unit::Outcome;
use sojourn::database::{Database, DatabaseError, Kind};
use sojourn::keyspace::{Keys, KeysError, Tickets};

use super::{MINUTE_MS, NOW_MS, Rig, outcome, settle_down, settled};

fn add(keys: &mut Keys<'_>, key: &str, members: &[&str]) -> Result<(), KeysError> {
    let set = keys.set(key.as_bytes())?.with(members.iter().map(|member| member.as_bytes())).0;
    keys.put_set(key.as_bytes(), &set, "sadd")
}

fn remove(keys: &mut Keys<'_>, key: &str, members: &[&str]) -> Result<(), KeysError> {
    let set = keys.set(key.as_bytes())?.without(members.iter().map(|member| member.as_bytes())).0;
    keys.put_set(key.as_bytes(), &set, "sadd")
}

fn set_field(keys: &mut Keys<'_>, key: &str, field: &str, value: &str) -> Result<(), KeysError> {
    let hash = keys.hash(key.as_bytes())?.with([(field.as_bytes(), value.as_bytes())].into_iter()).0;
    keys.put_hash(key.as_bytes(), &hash, "hset")
}

impl Rig {
    fn sadd(&self, key: &str, members: &[&str]) -> Tickets {
        let (done, tickets) = self.run(&[key], |keys| add(keys, key, members));
        done.expect("a write that is taken");
        tickets
    }

    fn hset(&self, key: &str, field: &str, value: &str) -> Tickets {
        let (done, tickets) = self.run(&[key], |keys| set_field(keys, key, field, value));
        done.expect("a write that is taken");
        tickets
    }

    fn members(&self, key: &str) -> Vec<String> {
        let (set, _) = self.run(&[key], |keys| keys.set(key.as_bytes()));
        set.expect("a hot set").iter().map(|member| String::from_utf8_lossy(member).into_owned()).collect()
    }

    fn field(&self, key: &str, field: &str) -> Option<String> {
        let (hash, _) = self.run(&[key], |keys| keys.hash(key.as_bytes()));
        let hash = hash.expect("a hot hash");
        hash.get(field.as_bytes()).map(|value| String::from_utf8_lossy(value).into_owned())
    }

    fn kind(&self, key: &str) -> Option<Kind> {
        self.run(&[key], |keys| keys.kind_to_read(key.as_bytes())).0
    }
}

#[tokio::test]
async fn a_transaction_over_all_kinds_is_one_unit() {
    let rig = Rig::start().await;
    rig.database.hold(true);
    let (done, written) = rig.run(&["s", "h", "t"], |keys| {
        keys.begin_exec();
        keys.put(b"s", b"1", Expiry::NEVER)?;
        set_field(keys, "h", "f", "v")?;
        set_field(keys, "h", "g", "w")?;
        add(keys, "t", &["m"])
    });
    done.expect("writes that are taken");
    settle_down().await;
    assert_eq!(outcome(&written), Outcome::Pending);
    assert!(["s", "h", "t"].iter().all(|key| rig.stored(key).is_none()));
    rig.database.hold(false);
    assert_eq!(settled(&written).await, Outcome::Committed);
    assert_eq!(rig.database.commits(), 1);
    assert_eq!(rig.stored("h").as_deref(), Some("\u{1}\0\0\0\u{2}\u{1}f\u{1}v\u{1}g\u{1}w"));
    assert_eq!(rig.stored("t").as_deref(), Some("\u{1}\0\0\0\u{1}\u{1}m"));
}

#[tokio::test]
async fn an_exec_keeps_of_each_key_its_last_value_only() {
    let rig = Rig::start().await;
    rig.database.hold(true);
    let end = Expiry::at_ms(NOW_MS + MINUTE_MS);
    let (replaced, written) = rig.run(&["k", "t", "sess:a", "gone"], |keys| {
        keys.begin_exec();
        keys.put(b"k", b"1", Expiry::NEVER)?;
        let mut replaced = vec![keys.value(b"k")?];
        keys.set_expiry(b"k", end)?;
        keys.put(b"k", b"2", Expiry::NEVER)?;
        add(keys, "t", &["m"])?;
        replaced.extend([Some(keys.set(b"t")?.bytes().clone())]);
        add(keys, "t", &["n"])?;
        keys.put(b"sess:a", br#"{"a":1}"#, Expiry::NEVER)?;
        replaced.extend([keys.value(b"sess:a")?]);
        keys.put(b"sess:a", b"no object", Expiry::NEVER)?;
        keys.set_expiry(b"sess:a", end)?;
        keys.put(b"gone", b"1", Expiry::NEVER)?;
        replaced.extend([keys.value(b"gone")?]);
        keys.delete(b"gone")?;
        Ok::<_, KeysError>(replaced.into_iter().flatten().map(|value| Arc::downgrade(&value)).collect::<Vec<_>>())
    });
    let replaced = replaced.expect("writes that are taken");
    assert_eq!(replaced.len(), 4);
    assert!(replaced.iter().all(|value| value.upgrade().is_none()), "nobody holds them, though nothing is committed");
    rig.database.hold(false);
    assert_eq!(settled(&written).await, Outcome::Committed);
    rig.assert_agrees(&[("k", Some("2")), ("sess:a", Some("no object")), ("gone", None)]);
    assert_eq!((rig.recorded("k"), rig.recorded("sess:a")), (Some(Expiry::NEVER), Some(end)));
    assert_eq!((rig.members("t"), rig.database.commits()), (vec!["m".to_owned(), "n".to_owned()], 1));
}

#[tokio::test]
async fn what_changes_nothing_commits_nothing_and_waits_for_what_it_saw() {
    let rig = Rig::start().await;
    assert_eq!(settled(&rig.sadd("t", &["m"])).await, Outcome::Committed);
    assert_eq!(settled(&rig.hset("h", "f", "v")).await, Outcome::Committed);
    let commits = rig.database.commits();
    assert!(rig.sadd("t", &["m"]).is_empty() && rig.hset("h", "f", "v").is_empty());
    rig.database.hold(true);
    let written = rig.sadd("t", &["n"]);
    let seen = rig.sadd("t", &["m", "n"]);
    assert!(seen.len() == 1 && seen[0].is(&written[0]), "its zero is what the other made");
    rig.database.hold(false);
    assert_eq!(settled(&seen).await, Outcome::Committed);
    assert_eq!(rig.database.commits(), commits + 1);
}

#[tokio::test]
async fn a_failed_unit_gives_back_what_was_there_and_its_kind() {
    let rig = Rig::start().await;
    assert_eq!(settled(&rig.sadd("k", &["old"])).await, Outcome::Committed);
    let refused = || rig.database.fail_next(DatabaseError::Refused("no".to_owned()));
    refused();
    assert_eq!(settled(&rig.sadd("k", &["new"])).await, Outcome::Failed);
    assert_eq!(rig.members("k"), ["old"]);
    refused();
    assert_eq!(settled(&rig.set("k", "text")).await, Outcome::Failed);
    assert_eq!((rig.kind("k"), rig.members("k")), (Some(Kind::Set), vec!["old".to_owned()]));
    // The last member goes, and comes back with the failure.
    refused();
    let (done, written) = rig.run(&["k"], |keys| remove(keys, "k", &["old"]));
    done.expect("a write that is taken");
    assert_eq!(rig.kind("k"), None);
    assert_eq!(settled(&written).await, Outcome::Failed);
    assert_eq!(rig.members("k"), ["old"]);
}

#[tokio::test]
async fn a_change_keeps_the_end_and_the_last_member_ends_the_key() {
    let rig = Rig::start().await;
    let end = Expiry::at_ms(NOW_MS + MINUTE_MS);
    assert_eq!(settled(&rig.sadd("k", &["a"])).await, Outcome::Committed);
    assert_eq!(settled(&rig.expire("k", end)).await, Outcome::Committed);
    assert_eq!(settled(&rig.sadd("k", &["b"])).await, Outcome::Committed);
    assert_eq!(rig.recorded("k"), Some(end));
    let (done, written) = rig.run(&["k"], |keys| remove(keys, "k", &["a", "b"]));
    done.expect("a write that is taken");
    assert_eq!(settled(&written).await, Outcome::Committed);
    assert_eq!((rig.stored("k"), rig.count()), (None, 0));
}

#[tokio::test]
async fn a_session_and_a_hash_take_each_others_place_in_one_commit() {
    let rig = Rig::start().await;
    let json = r#"{"a":1}"#;
    assert_eq!(settled(&rig.set("sess:a", json)).await, Outcome::Committed);
    let (done, written) = rig.run(&["sess:a"], |keys| {
        keys.delete(b"sess:a")?;
        set_field(keys, "sess:a", "f", "v")
    });
    done.expect("a write that is taken");
    assert_eq!(settled(&written).await, Outcome::Committed);
    assert_eq!((rig.kind("sess:a"), rig.field("sess:a", "f").as_deref()), (Some(Kind::Hash), Some("v")));
    assert_eq!(settled(&rig.set("sess:a", json)).await, Outcome::Committed);
    rig.assert_agrees(&[("sess:a", Some(json))]);
    assert_eq!(rig.database.commits(), 3);
}

#[tokio::test]
async fn a_start_knows_the_kinds_without_the_values() {
    let rig = Rig::start().await;
    settled(&rig.sadd("t", &["a", "b"])).await;
    settled(&rig.hset("h", "f", "v")).await;
    settled(&rig.set("s", "text")).await;
    rig.database.release().await;
    let database: Arc<Memory> = Arc::new(rig.database.twin("next:2"));
    let next = Rig::on(database).await;
    assert_eq!(
        (next.kind("t"), next.kind("h"), next.kind("s")),
        (Some(Kind::Set), Some(Kind::Hash), Some(Kind::String))
    );
    let (value, _) = next.run(&["t"], |keys| (keys.value(b"t"), keys.hash(b"t"), keys.set(b"t")));
    assert_eq!(value, (Err(KeysError::WrongKind), Err(KeysError::WrongKind), Err(KeysError::Cold)));
    let wanted = ["t", "h"].map(|key| (0, key.as_bytes().to_vec())).to_vec();
    next.keyspace.load(wanted).await.expect("a database that answers");
    assert_eq!((next.members("t"), next.field("h", "f").as_deref()), (vec!["a".to_owned(), "b".to_owned()], Some("v")));
}
