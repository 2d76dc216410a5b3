//! What must be found after a crash: for each key the states it may have, told by what was acknowledged and what was
//! under way, and the comparison with what is there.

use std::collections::BTreeMap;

/// A key's state: its value, and the bounds of its end in Unix milliseconds (`None`: no end).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Life {
    pub value: Vec<u8>,
    pub end: Option<(i64, i64)>,
}

/// What was found of a key: its value and its end.
pub type Found = Option<(Vec<u8>, Option<i64>)>;

/// What may be true of a key: the state that was acknowledged last, and then each that a write under way may have made of
/// it, in the order in which they were sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Possible {
    pub acked: Option<Life>,
    pub sent: Vec<Option<Life>>,
}

/// All keys of one connection, and the pairs of keys that only whole EXECs write.
#[derive(Clone, Debug, Default)]
pub struct History {
    pub keys: BTreeMap<Vec<u8>, Possible>,
    pub pairs: Vec<(Vec<u8>, Vec<u8>)>,
}

/// What a crash did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Verdict {
    /// Keys whose acknowledged change is not there.
    pub lost: Vec<String>,
    /// Keys whose acknowledged deletion was undone.
    pub undone_deletes: Vec<String>,
    /// Pairs of which one key has the change of an EXEC and the other has not.
    pub torn: Vec<String>,
}

impl Verdict {
    pub fn is_good(&self) -> bool {
        *self == Self::default()
    }

    pub fn add(&mut self, other: Self) {
        self.lost.extend(other.lost);
        self.undone_deletes.extend(other.undone_deletes);
        self.torn.extend(other.torn);
    }
}

impl History {
    /// The newest state of a key, acknowledged or not.
    pub fn newest(&self, key: &[u8]) -> Option<&Life> {
        let possible = self.keys.get(key)?;
        possible.sent.last().unwrap_or(&possible.acked).as_ref()
    }

    /// A write was sent that makes `life` of a key.
    pub fn sent(&mut self, key: &[u8], life: Option<Life>) {
        let possible = self.keys.entry(key.to_vec()).or_insert(Possible { acked: None, sent: Vec::new() });
        possible.sent.push(life);
    }

    /// The oldest write of a key that was under way is acknowledged.
    pub fn acked(&mut self, key: &[u8]) {
        let possible = self.keys.get_mut(key).expect("a write was sent");
        possible.acked = possible.sent.remove(0);
    }

    /// Compares with what is there, which from then on is what was acknowledged.
    pub fn settle(&mut self, found: &BTreeMap<Vec<u8>, Found>) -> Verdict {
        let mut verdict = Verdict::default();
        for (key, possible) in &mut self.keys {
            let found = found.get(key).expect("every key was asked for");
            let states = || std::iter::once(&possible.acked).chain(&possible.sent);
            if !states().any(|state| fits(state.as_ref(), found)) {
                let name = format!("{}: {possible:?}, found {found:?}", key.escape_ascii());
                if possible.acked.is_none() { &mut verdict.undone_deletes } else { &mut verdict.lost }.push(name);
            }
            let life =
                |(value, end): &(Vec<u8>, Option<i64>)| Life { value: value.clone(), end: end.map(|end| (end, end)) };
            *possible = Possible { acked: found.as_ref().map(life), sent: Vec::new() };
        }
        for (one, other) in &self.pairs {
            if value(found, one) != value(found, other) {
                verdict.torn.push(format!("{} and {}", one.escape_ascii(), other.escape_ascii()));
            }
        }
        verdict
    }
}

fn value<'a>(found: &'a BTreeMap<Vec<u8>, Found>, key: &[u8]) -> Option<&'a [u8]> {
    found.get(key)?.as_ref().map(|(value, _)| value.as_slice())
}

fn fits(state: Option<&Life>, found: &Found) -> bool {
    match (state, found) {
        (None, None) => true,
        (Some(life), Some((value, end))) => {
            life.value == *value
                && match (life.end, end) {
                    (None, None) => true,
                    (Some((from, to)), Some(end)) => (from..=to).contains(end),
                    (None, Some(_)) | (Some(_), None) => false,
                }
        }
        (None, Some(_)) | (Some(_), None) => false,
    }
}

fn life(value: &str, end: Option<(i64, i64)>) -> Option<Life> {
    Some(Life { value: value.as_bytes().to_vec(), end })
}

/// A key, and its value and TTL if it is there.
type Planted<'a> = (&'a str, Option<(&'a str, Option<i64>)>);

fn found(keys: &[Planted<'_>]) -> BTreeMap<Vec<u8>, Found> {
    let owned = |found: &(&str, Option<i64>)| (found.0.as_bytes().to_vec(), found.1);
    keys.iter().map(|(key, state)| (key.as_bytes().to_vec(), state.as_ref().map(owned))).collect()
}

#[test]
fn a_lost_write_is_reported() {
    let mut history = History::default();
    history.sent(b"a", life("1", None));
    history.acked(b"a");
    history.sent(b"a", life("2", None));
    history.acked(b"a");
    let verdict = history.clone().settle(&found(&[("a", Some(("1", None)))]));
    assert_eq!(verdict.lost.len(), 1, "{verdict:?}");
    assert_eq!(history.clone().settle(&found(&[("a", None)])).lost.len(), 1);
    assert!(history.settle(&found(&[("a", Some(("2", None)))])).is_good());
}

#[test]
fn an_undone_delete_is_reported() {
    let mut history = History::default();
    history.sent(b"a", life("1", None));
    history.acked(b"a");
    history.sent(b"a", None);
    history.acked(b"a");
    assert_eq!(history.settle(&found(&[("a", Some(("1", None)))])).undone_deletes.len(), 1);
}

#[test]
fn an_end_that_was_not_shortened_is_reported() {
    let mut history = History::default();
    history.sent(b"a", life("1", Some((5_000, 5_000))));
    history.acked(b"a");
    history.sent(b"a", life("1", Some((2_000, 2_100))));
    history.acked(b"a");
    assert!(history.clone().settle(&found(&[("a", Some(("1", Some(2_050))))])).is_good());
    assert_eq!(history.clone().settle(&found(&[("a", Some(("1", None)))])).lost.len(), 1);
    assert_eq!(history.settle(&found(&[("a", Some(("1", Some(5_000))))])).lost.len(), 1);
}

#[test]
fn a_write_under_way_may_or_may_not_be_there() {
    let mut history = History::default();
    history.sent(b"a", life("1", None));
    history.acked(b"a");
    history.sent(b"a", life("2", None));
    history.sent(b"a", None);
    for state in [Some(("1", None)), Some(("2", None)), None] {
        assert!(history.clone().settle(&found(&[("a", state)])).is_good());
    }
    assert_eq!(history.settle(&found(&[("a", Some(("3", None)))])).lost.len(), 1);
}

#[test]
fn a_torn_pair_is_reported() {
    let mut history = History::default();
    for key in [b"a", b"b"] {
        history.sent(key, life("1", None));
    }
    history.pairs.push((b"a".to_vec(), b"b".to_vec()));
    assert!(history.clone().settle(&found(&[("a", None), ("b", None)])).is_good());
    assert_eq!(history.settle(&found(&[("a", Some(("1", None))), ("b", None)])).torn.len(), 1);
}
