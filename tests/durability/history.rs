//! What must be found after a crash: for each key the states it may have, told by what was answered and what was under
//! way, and the comparison with what is there.

use std::collections::{BTreeMap, VecDeque};
use std::fmt;

/// The defaults of the server: a touch lags at most so far.
const TOUCH_INTERVAL_MS: i64 = 60_000;
const TTL_SHARE: i64 = 10;

/// A key's state: its value, and the bounds of its end in Unix milliseconds (`None`: no end).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Life {
    pub value: Vec<u8>,
    pub end: Option<(i64, i64)>,
}

/// What was found of a key: its value and its end.
pub type Found = Option<(Vec<u8>, Option<i64>)>;

/// What a write makes of a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Effect {
    /// SET: this value until this end, if any.
    Put(Vec<u8>, Option<i64>),
    Delete,
    /// EXPIRE: an end between these two.
    Expire(i64, i64),
}

/// A write, and when it was sent, in Unix milliseconds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Write {
    pub effect: Effect,
    pub sent_ms: i64,
}

/// How a write was answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// It is done.
    Done,
    /// It is done on a key that was there, or that was not.
    DoneOn { there: bool },
    /// It was not applied, now or later.
    Refused,
    /// It may have been applied.
    Uncertain,
}

/// What may be true of a key: the states that the answers leave, and the writes under way in the order in which they
/// were sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Possible {
    states: Vec<Option<Life>>,
    sent: VecDeque<Write>,
}

/// All keys of one connection, and the pairs of keys that only whole EXECs write.
#[derive(Clone, Debug, Default)]
pub struct History {
    pub keys: BTreeMap<Vec<u8>, Possible>,
    pub pairs: Vec<(Vec<u8>, Vec<u8>)>,
    /// What answers contradicted already.
    pub verdict: Verdict,
}

/// What a crash did: the keys, with what should have been there.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Verdict {
    /// The acknowledged change is not there.
    pub lost: Vec<String>,
    /// The acknowledged deletion was undone.
    pub undone_deletes: Vec<String>,
    /// The acknowledged value is there, and lives longer than acknowledged.
    pub came_back: Vec<String>,
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
        self.came_back.extend(other.came_back);
        self.torn.extend(other.torn);
    }

    fn note(&mut self, key: &[u8], possible: &Possible, found: &Found) {
        let name = format!("{}: {possible:?}, found {found:?}", key.escape_ascii());
        let lives = || possible.after_crash().into_iter().flatten();
        let Some((value, end)) = found else { return self.lost.push(name) };
        if lives().next().is_none() {
            self.undone_deletes.push(name);
        } else if lives().any(|life| life.value == *value && life.ends_before(*end)) {
            self.came_back.push(name);
        } else {
            self.lost.push(name);
        }
    }
}

/// Only what is wrong.
impl fmt::Display for Verdict {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kinds = [
            ("acknowledged writes are lost", &self.lost),
            ("acknowledged deletions are undone", &self.undone_deletes),
            ("shortened lives came back", &self.came_back),
            ("transactions are torn", &self.torn),
        ];
        for (kind, keys) in kinds.iter().filter(|(_, keys)| !keys.is_empty()) {
            writeln!(formatter, "{} {kind}, such as {}", keys.len(), keys[0])?;
        }
        Ok(())
    }
}

impl Life {
    fn ends_before(&self, end: Option<i64>) -> bool {
        self.end.is_some_and(|(_, to)| end.is_none_or(|end| to < end))
    }

    fn fits(&self, value: &[u8], end: Option<i64>) -> bool {
        self.value == value
            && match (self.end, end) {
                (None, None) => true,
                (Some((from, to)), Some(end)) => (from..=to).contains(&end),
                (None, Some(_)) | (Some(_), None) => false,
            }
    }

    /// What the database may have recorded of a new end between `end` and `to`: shortening never lags, lengthening within
    /// its bound.
    fn recorded(&self, end: i64, to: i64, sent_ms: i64) -> (i64, i64) {
        match self.end {
            None => (end, to),
            Some((from, _)) if to < from => (end, to),
            Some(_) => (end - TOUCH_INTERVAL_MS.min((to - sent_ms) / TTL_SHARE), to),
        }
    }
}

impl Write {
    fn on(&self, state: Option<&Life>) -> Option<Life> {
        match (&self.effect, state) {
            // The later end of a value that takes the place of another one follows as a touch.
            (Effect::Put(value, Some(end)), Some(life)) if life.end.is_some() => {
                Some(Life { value: value.clone(), end: Some(life.recorded(*end, *end, self.sent_ms)) })
            }
            (Effect::Put(value, end), _) => Some(Life { value: value.clone(), end: end.map(|end| (end, end)) }),
            (Effect::Expire(from, to), Some(life)) => {
                Some(Life { value: life.value.clone(), end: Some(life.recorded(*from, *to, self.sent_ms)) })
            }
            (Effect::Delete, _) | (Effect::Expire(..), None) => None,
        }
    }

    fn on_each(&self, states: &[Option<Life>]) -> Vec<Option<Life>> {
        states.iter().map(|state| self.on(state.as_ref())).collect()
    }
}

impl Possible {
    /// The states that a crash may leave: writes under way are there up to one of them.
    fn after_crash(&self) -> Vec<Option<Life>> {
        let mut all = self.states.clone();
        let mut reached = self.states.clone();
        for write in &self.sent {
            reached = write.on_each(&reached);
            add_new(&mut all, reached.iter().cloned());
        }
        all
    }

    /// The oldest write under way is answered; `false` if no possible state could be answered so.
    fn answered(&mut self, answer: Answer) -> bool {
        let write = self.sent.pop_front().expect("a write was sent");
        let before = std::mem::take(&mut self.states);
        let is_there = |there: bool| before.iter().filter(move |state| state.is_some() == there).cloned();
        match answer {
            Answer::Refused => self.states = before,
            Answer::Done => add_new(&mut self.states, write.on_each(&before)),
            Answer::DoneOn { there } => {
                let matching: Vec<_> = is_there(there).collect();
                add_new(&mut self.states, write.on_each(if matching.is_empty() { &before } else { &matching }));
                return !matching.is_empty();
            }
            Answer::Uncertain => {
                let after = write.on_each(&before);
                self.states = before;
                add_new(&mut self.states, after);
            }
        }
        true
    }
}

fn add_new(states: &mut Vec<Option<Life>>, more: impl IntoIterator<Item = Option<Life>>) {
    for state in more {
        if !states.contains(&state) {
            states.push(state);
        }
    }
}

impl History {
    /// The newest state of a key, if everything is applied that was sent.
    pub fn newest(&self, key: &[u8]) -> Option<Life> {
        let possible = self.keys.get(key)?;
        let first = possible.states.last().cloned().flatten();
        possible.sent.iter().fold(first, |state, write| write.on(state.as_ref()))
    }

    /// A write of a key was sent.
    pub fn sent(&mut self, key: &[u8], write: Write) {
        let new = || Possible { states: vec![None], sent: VecDeque::new() };
        self.keys.entry(key.to_vec()).or_insert_with(new).sent.push_back(write);
    }

    /// The oldest write of a key that was under way is answered.
    pub fn answered(&mut self, key: &[u8], answer: Answer) {
        let possible = self.keys.get_mut(key).expect("a write was sent");
        let before = possible.states.clone();
        if !possible.answered(answer) {
            let name = format!("{}: one of {before:?} was answered with {answer:?}", key.escape_ascii());
            let is_there = before.iter().any(Option::is_some);
            if is_there { &mut self.verdict.lost } else { &mut self.verdict.undone_deletes }.push(name);
        }
    }

    /// Compares with what is there, which from then on is what was acknowledged.
    pub fn settle(&mut self, found: &BTreeMap<Vec<u8>, Found>) -> Verdict {
        let mut verdict = std::mem::take(&mut self.verdict);
        for (key, possible) in &mut self.keys {
            let found = found.get(key).expect("every key was asked for");
            let fits = |state: &Option<Life>| match (state, found) {
                (None, None) => true,
                (Some(life), Some((value, end))) => life.fits(value, *end),
                (None, Some(_)) | (Some(_), None) => false,
            };
            if !possible.after_crash().iter().any(fits) {
                verdict.note(key, possible, found);
            }
            let life =
                |(value, end): &(Vec<u8>, Option<i64>)| Life { value: value.clone(), end: end.map(|end| (end, end)) };
            *possible = Possible { states: vec![found.as_ref().map(life)], sent: VecDeque::new() };
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

fn put(value: &str, end: Option<i64>) -> Write {
    Write { effect: Effect::Put(value.as_bytes().to_vec(), end), sent_ms: 0 }
}

fn write(effect: Effect) -> Write {
    Write { effect, sent_ms: 0 }
}

/// A history of one key, `a`, whose writes were answered so.
fn answered(writes: &[(Write, Answer)]) -> History {
    let mut history = History::default();
    for (write, answer) in writes {
        history.sent(b"a", write.clone());
        history.answered(b"a", *answer);
    }
    history
}

/// A key, and its value and TTL if it is there.
type Planted<'a> = (&'a str, Option<(&'a str, Option<i64>)>);

fn found(keys: &[Planted<'_>]) -> BTreeMap<Vec<u8>, Found> {
    let owned = |found: &(&str, Option<i64>)| (found.0.as_bytes().to_vec(), found.1);
    keys.iter().map(|(key, state)| (key.as_bytes().to_vec(), state.as_ref().map(owned))).collect()
}

#[test]
fn a_lost_write_is_reported() {
    let history = answered(&[(put("1", None), Answer::Done), (put("2", None), Answer::Done)]);
    let verdict = history.clone().settle(&found(&[("a", Some(("1", None)))]));
    assert_eq!(verdict.lost.len(), 1, "{verdict:?}");
    assert_eq!(history.clone().settle(&found(&[("a", None)])).lost.len(), 1);
    assert!(history.clone().settle(&found(&[("a", Some(("2", None)))])).is_good());
}

#[test]
fn an_undone_delete_is_reported() {
    let there = Answer::DoneOn { there: true };
    let mut history = answered(&[(put("1", None), Answer::Done), (write(Effect::Delete), there)]);
    assert_eq!(history.settle(&found(&[("a", Some(("1", None)))])).undone_deletes.len(), 1);
}

#[test]
fn an_answer_that_no_possible_state_gives_is_reported() {
    let [there, gone] = [true, false].map(|there| Answer::DoneOn { there });
    let mut lost = answered(&[(put("1", None), Answer::Done), (write(Effect::Delete), gone)]);
    assert_eq!(lost.settle(&found(&[("a", None)])).lost.len(), 1);
    let twice = [(put("1", None), Answer::Done), (write(Effect::Delete), there), (write(Effect::Delete), there)];
    assert_eq!(answered(&twice).settle(&found(&[("a", None)])).undone_deletes.len(), 1);
}

#[test]
fn a_shortened_life_that_came_back_is_reported() {
    let there = Answer::DoneOn { there: true };
    let shortened = [(put("1", Some(5_000)), Answer::Done), (write(Effect::Expire(2_000, 2_100)), there)];
    let history = answered(&shortened);
    assert!(history.clone().settle(&found(&[("a", Some(("1", Some(2_050))))])).is_good());
    for end in [None, Some(5_000)] {
        let verdict = history.clone().settle(&found(&[("a", Some(("1", end)))]));
        assert_eq!(verdict.came_back.len(), 1, "{verdict:?}");
    }
}

#[test]
fn a_write_under_way_may_or_may_not_be_there() {
    let mut history = answered(&[(put("1", None), Answer::Done)]);
    history.sent(b"a", put("2", None));
    history.sent(b"a", write(Effect::Delete));
    for state in [Some(("1", None)), Some(("2", None)), None] {
        assert!(history.clone().settle(&found(&[("a", state)])).is_good());
    }
    assert_eq!(history.settle(&found(&[("a", Some(("3", None)))])).lost.len(), 1);
}

#[test]
fn an_uncertain_write_may_be_there_and_a_refused_one_may_not() {
    let history = answered(&[
        (put("1", None), Answer::Done),
        (put("2", None), Answer::Uncertain),
        (put("3", None), Answer::Refused),
    ]);
    for (value, is_good) in [("1", true), ("2", true), ("3", false)] {
        assert_eq!(history.clone().settle(&found(&[("a", Some((value, None)))])).is_good(), is_good, "{value}");
    }
    // What was acknowledged later replaces what was uncertain.
    let mut history = answered(&[(put("2", None), Answer::Uncertain), (put("4", None), Answer::Done)]);
    assert_eq!(history.settle(&found(&[("a", Some(("2", None)))])).lost.len(), 1);
}

#[test]
fn a_torn_pair_is_reported() {
    let mut history = History::default();
    for key in [b"a", b"b"] {
        history.sent(key, put("1", None));
    }
    history.pairs.push((b"a".to_vec(), b"b".to_vec()));
    assert!(history.clone().settle(&found(&[("a", None), ("b", None)])).is_good());
    assert_eq!(history.settle(&found(&[("a", Some(("1", None))), ("b", None)])).torn.len(), 1);
}
