//! Histories as they were recorded, and the published checker (todc-utils: the algorithm of Wing, Gong and Lowe, which
//! remembers where it has been) that accepts or rejects them.

use std::time::{Duration, Instant};

use todc_utils::{Action, History, WGLChecker};

use super::model::{Command, Key, Operation, Reply, Value};

/// The longest that a history is checked: an order is found in milliseconds, if there is one.
const CHECK_MAX: Duration = Duration::from_secs(60);
/// A history counts if so many of a hundred operations overlap with another one, and not more have an unknown outcome.
const OVERLAPPING_PERCENT_MIN: usize = 20;
const UNKNOWN_PERCENT_MAX: usize = 20;
/// Nor does one count with more unknown outcomes that nobody saw: there are too many choices to try.
const UNKNOWN_MAX: usize = 14;
/// How many operations of a rejected history are shown.
const SHOWN: usize = 12;

/// An operation, and the time between its call and its reply, or the loss of its connection.
#[derive(Clone, Copy, Debug)]
pub struct Recorded {
    pub operation: Operation,
    pub called: Instant,
    pub returned: Instant,
}

/// All operations on one key.
#[derive(Clone, Debug, Default)]
pub struct Record(pub Vec<Recorded>);

impl Record {
    /// How many operations in a hundred were under way at the same time as another one.
    pub fn overlapping_percent(&self) -> usize {
        let mut sorted: Vec<_> = self.0.iter().map(|recorded| (recorded.called, recorded.returned)).collect();
        sorted.sort_unstable();
        let mut overlaps = vec![false; sorted.len()];
        for (at, (_, returned)) in sorted.iter().enumerate() {
            for (later, _) in sorted.iter().enumerate().skip(at + 1).take_while(|(_, (called, _))| called < returned) {
                overlaps[at] = true;
                overlaps[later] = true;
            }
        }
        percent(overlaps.iter().filter(|overlaps| **overlaps).count(), overlaps.len())
    }

    /// How many operations in a hundred nobody knows the outcome of.
    pub fn unknown_percent(&self) -> usize {
        percent(self.0.iter().filter(|recorded| recorded.operation.reply.is_none()).count(), self.0.len())
    }

    /// Whether an acceptance says something, and the checker can decide: see the constants.
    pub fn counts(&self) -> bool {
        self.overlapping_percent() >= OVERLAPPING_PERCENT_MIN
            && self.unknown_percent() <= UNKNOWN_PERCENT_MAX
            && self.known_and_unknown().1.len() <= UNKNOWN_MAX
    }

    /// Whether some order of the operations, none of them outside its time, gives these replies; `false` as well if none is
    /// found in time.
    ///
    /// An operation of unknown outcome may have taken effect at any time from its call on, or never. The checker could try
    /// all that, but its time doubles with each one. So it gets histories in which only some of them took effect: first
    /// none, then each one, each pair, and so on.
    pub fn is_linearizable(&self) -> bool {
        let begun = Instant::now();
        let (known, unknown) = self.known_and_unknown();
        let choices = 0..1_u64 << unknown.len();
        let of_size = |size| choices.clone().filter(move |choice| choice.count_ones() == size);
        let mut by_size = (0..=unknown.len() as u32).flat_map(of_size).take_while(|_| begun.elapsed() < CHECK_MAX);
        by_size.any(|choice| {
            let chosen = unknown.iter().enumerate().filter(|(at, _)| choice & (1 << at) != 0).map(|(_, one)| *one);
            let all = Self(known.iter().copied().chain(chosen).collect());
            WGLChecker::<Key>::is_linearizable(History::from_actions(all.actions()))
        })
    }

    /// Operations whose outcome is known, from their reply or because somebody read the value, and all others.
    fn known_and_unknown(&self) -> (Vec<Recorded>, Vec<Recorded>) {
        self.with_what_was_seen().0.into_iter().partition(|recorded| recorded.operation.reply.is_some())
    }

    /// The same, but that an unknown outcome is known if somebody read the value: it took effect before that reply.
    fn with_what_was_seen(&self) -> Self {
        let mut all = self.clone();
        for recorded in all.0.iter_mut().filter(|recorded| recorded.operation.reply.is_none()) {
            let (Command::Set(new) | Command::SetNx(new) | Command::WatchedSet { new, .. }) =
                recorded.operation.command
            else {
                continue;
            };
            let seen = self.0.iter().filter(|other| other.operation.has_seen(new)).map(|other| other.returned).min();
            if let Some(seen) = seen {
                recorded.operation.reply = Some(Reply::Ok);
                recorded.returned = seen;
            }
        }
        all
    }

    /// Calls and responses in their order. Each operation is a process of its own, and one of unknown outcome ends last.
    fn actions(&self) -> Vec<(usize, Action<Operation>)> {
        let mut timed = Vec::new();
        for (process, recorded) in self.0.iter().enumerate() {
            let Recorded { operation, called, returned } = *recorded;
            timed.push(((false, called, false), (process, Action::Call(operation))));
            timed.push(((operation.reply.is_none(), returned, true), (process, Action::Response(operation))));
        }
        // At the same instant calls come first: then they overlap, which allows more.
        timed.sort_by_key(|(time, _)| *time);
        timed.into_iter().map(|(_, action)| action).collect()
    }

    /// The operations before the first reply that no order explains, the last ones only.
    pub fn first_contradiction(&self) -> String {
        let mut known: Vec<_> = self.0.iter().filter(|recorded| recorded.operation.reply.is_some()).collect();
        known.sort_by_key(|recorded| recorded.returned);
        let rejected = |count: &usize| !self.until(known[*count - 1].returned).is_linearizable();
        let counts: Vec<usize> = (1..=known.len()).collect();
        let at = counts.partition_point(|count| !rejected(count)).min(known.len() - 1);
        let mut shown = self.until(known[at].returned).0;
        shown.sort_by_key(|recorded| recorded.called);
        let begun = shown.first().map_or_else(Instant::now, |first| first.called);
        let line = |recorded: &Recorded| {
            let time = |at: Instant| (at - begun).as_micros();
            let Recorded { operation: Operation { command, reply }, called, returned } = recorded;
            format!("{:>9} to {:>9} us: {command:?} -> {reply:?}", time(*called), time(*returned))
        };
        shown.iter().skip(shown.len().saturating_sub(SHOWN)).map(line).collect::<Vec<_>>().join("\n")
    }

    /// What was known at this time.
    fn until(&self, time: Instant) -> Self {
        let mut before: Vec<_> = self.0.iter().filter(|recorded| recorded.called <= time).copied().collect();
        for recorded in before.iter_mut().filter(|recorded| recorded.returned > time) {
            recorded.operation.reply = None;
        }
        Self(before)
    }
}

fn percent(part: usize, whole: usize) -> usize {
    part * 100 / whole.max(1)
}

/// A record of (command, reply, called, returned), in milliseconds.
fn record(operations: &[(Command, Option<Reply>, u64, u64)]) -> Record {
    let begun = Instant::now();
    let at = |ms: &u64| begun + Duration::from_millis(*ms);
    let recorded = |(command, reply, called, returned): &(Command, Option<Reply>, u64, u64)| Recorded {
        operation: Operation { command: *command, reply: *reply },
        called: at(called),
        returned: at(returned),
    };
    Record(operations.iter().map(recorded).collect())
}

const ONE: Value = Value::Session(1);
const TWO: Value = Value::Number(2);
const OK: Option<Reply> = Some(Reply::Ok);
const NIL: Option<Reply> = Some(Reply::Nil);
const READ_ONE: Option<Reply> = Some(Reply::Value(ONE));
const READ_TWO: Option<Reply> = Some(Reply::Value(TWO));

const fn integer(number: i64) -> Option<Reply> {
    Some(Reply::Integer(number))
}

#[test]
fn concurrent_operations_may_take_effect_in_any_order() {
    let writes = [(Command::Set(ONE), OK, 0, 9), (Command::Set(TWO), OK, 1, 8)];
    for reads in [[READ_ONE, READ_TWO], [READ_TWO, READ_ONE]] {
        let all = [writes[0], writes[1], (Command::Get, reads[0], 2, 3), (Command::Get, reads[1], 4, 5)];
        assert!(record(&all).is_linearizable());
    }
}

#[test]
fn a_stale_read_is_rejected() {
    let stale = [(Command::Set(ONE), OK, 0, 1), (Command::Set(TWO), OK, 2, 3), (Command::Get, READ_ONE, 4, 5)];
    assert!(!record(&stale).is_linearizable());
    // A read that a later one takes back.
    let back = [
        (Command::Set(ONE), OK, 0, 1),
        (Command::Set(TWO), OK, 2, 9),
        (Command::Get, READ_TWO, 3, 4),
        (Command::Get, READ_ONE, 5, 6),
    ];
    assert!(!record(&back).is_linearizable());
}

#[test]
fn a_lost_update_is_rejected() {
    let increments = [(Command::Incr, integer(1), 0, 5), (Command::Incr, integer(1), 1, 6)];
    assert!(!record(&increments).is_linearizable());
    let watched = |new| Command::WatchedSet { expected: Some(ONE), new };
    let both = [(Command::Set(ONE), OK, 0, 1), (watched(TWO), OK, 2, 5), (watched(Value::Number(3)), OK, 3, 6)];
    assert!(!record(&both).is_linearizable());
    let created = [(Command::SetNx(ONE), OK, 0, 5), (Command::SetNx(TWO), OK, 1, 6)];
    assert!(!record(&created).is_linearizable());
}

#[test]
fn a_resurrected_key_is_rejected() {
    for (delete, reply) in [(Command::Del, integer(1)), (Command::GetDel, READ_ONE), (Command::ExpireNow, integer(1))] {
        let all = [(Command::Set(ONE), OK, 0, 1), (delete, reply, 2, 3), (Command::Get, READ_ONE, 4, 5)];
        assert!(!record(&all).is_linearizable(), "{delete:?}");
        let gone = [all[0], all[1], (Command::Get, NIL, 4, 5)];
        assert!(record(&gone).is_linearizable(), "{delete:?}");
    }
}

#[test]
fn a_shortened_life_that_came_back_is_rejected() {
    let all = [
        (Command::Set(ONE), OK, 0, 1),
        (Command::GetEx(9_000), READ_ONE, 2, 3),
        (Command::Shorten(5_000), integer(1), 4, 5),
        (Command::Shorten(7_000), integer(0), 6, 7),
    ];
    let with = |end| record(&[&all[..], &[(Command::End, integer(end), 8, 9)]].concat());
    assert!(with(5_000).is_linearizable());
    assert!(!with(9_000).is_linearizable());
    assert!(!with(-1).is_linearizable());
}

#[test]
fn an_unknown_outcome_may_take_effect_late_or_never_but_not_before_its_call() {
    let begin = [(Command::Set(ONE), OK, 0, 1), (Command::Set(TWO), None, 2, 3)];
    for last in [READ_ONE, READ_TWO] {
        let late = [begin[0], begin[1], (Command::Get, READ_ONE, 4, 5), (Command::Get, last, 6, 7)];
        assert!(record(&late).is_linearizable());
    }
    let early = [(Command::Set(ONE), OK, 0, 1), (Command::Get, READ_TWO, 2, 3), (Command::Set(TWO), None, 4, 5)];
    assert!(!record(&early).is_linearizable());
    let undone = [begin[0], begin[1], (Command::Get, READ_TWO, 4, 5), (Command::Get, READ_ONE, 6, 7)];
    assert!(!record(&undone).is_linearizable());
    assert!(record(&undone).first_contradiction().ends_with("Get -> Some(Value(Session(1)))"));
    // Of two, one took effect and one did not.
    let deletes = [begin[0], (Command::Del, None, 2, 3), (Command::Del, None, 2, 3)];
    let recreated = [&deletes[..], &[(Command::SetNx(TWO), OK, 4, 5), (Command::Get, READ_TWO, 6, 7)]].concat();
    assert!(record(&recreated).is_linearizable());
}

#[test]
fn overlaps_and_unknown_outcomes_are_counted() {
    let get = |called, returned| (Command::Get, NIL, called, returned);
    let half = record(&[get(0, 2), get(1, 3), get(4, 5), (Command::Set(ONE), None, 6, 7)]);
    assert_eq!(half.overlapping_percent(), 50);
    assert_eq!(half.unknown_percent(), 25);
    assert_eq!(record(&[get(0, 9), get(1, 2), get(3, 4)]).overlapping_percent(), 100);
}
