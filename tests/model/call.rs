//! The commands of a random sequence, and their words. Few keys and few values, so that commands meet; times around now,
//! so that ends are met to the millisecond.

use proptest::prelude::*;
use proptest::sample::select;

/// Keys of a session table and others; of the session keys one can be no `sid`.
pub const KEYS: [&[u8]; 7] = [b"sess:a", b"sess:b", b"sess:c", b"sess:\xff", b"key:a", b"key:b", b"\x00\xff"];

const VALUES: [&[u8]; 9] = [
    br#"{"user":1,"cookie":{"originalMaxAge":1800000}}"#,
    br#"{"user":2}"#,
    b" {} ",
    b"{\"unfinished\":",
    b"[1]",
    b"",
    b"7",
    b"9223372036854775807",
    b"\x80\x04\x00\xff",
];

/// What is written into a value: it can make an object of no object, and the reverse.
const PIECES: [&[u8]; 6] = [b"", b" ", b"}", b"1}", b"{", b"\x00"];

/// Fields and members; among them what is a number, and nothing.
const NAMES: [&[u8]; 5] = [b"f", b"g", b"\x00\xff", b"7", b""];

/// How a command says a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    Seconds,
    Millis,
    SecondsAt,
    MillisAt,
}

impl Unit {
    /// The number that says "in `delta_ms` from now", as well as it can, and the end that it means.
    pub fn at(self, now_ms: i64, delta_ms: i64) -> (i64, i64) {
        match self {
            Self::Seconds => (delta_ms.div_euclid(1000), now_ms + delta_ms.div_euclid(1000) * 1000),
            Self::Millis => (delta_ms, now_ms + delta_ms),
            Self::SecondsAt => {
                let seconds = (now_ms + delta_ms).div_euclid(1000);
                (seconds, seconds * 1000)
            }
            Self::MillisAt => (now_ms + delta_ms, now_ms + delta_ms),
        }
    }

    /// SET and GETEX refuse a relative time that is not positive, so those say the next one.
    pub fn positive(self, now_ms: i64, delta_ms: i64) -> (i64, i64) {
        let at_least = match self {
            Self::Seconds => delta_ms.max(1000),
            Self::Millis => delta_ms.max(1),
            Self::SecondsAt | Self::MillisAt => delta_ms,
        };
        self.at(now_ms, at_least)
    }
}

/// What becomes of a key's end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// No word about it: SET takes it away, GETEX leaves it.
    Unsaid,
    /// KEEPTTL of SET, PERSIST of GETEX.
    Word,
    /// In so many milliseconds.
    In(Unit, i64),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Only {
    IfMissing,
    IfThere,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rule {
    Nx,
    Xx,
    Gt,
    Lt,
}

pub type Bytes = &'static [u8];

/// A command; those that only one client's state matters to are not among them.
#[derive(Clone, Debug)]
pub enum Call {
    Get(Bytes),
    GetDel(Bytes),
    GetSet(Bytes, Bytes),
    GetEx(Bytes, End),
    Set {
        key: Bytes,
        value: Bytes,
        only: Option<Only>,
        get: bool,
        end: End,
    },
    SetTtl {
        key: Bytes,
        value: Bytes,
        millis: bool,
        delta_ms: i64,
    },
    SetNx(Bytes, Bytes),
    MGet(Vec<Bytes>),
    MSet {
        pairs: Vec<(Bytes, Bytes)>,
        only_new: bool,
    },
    Append(Bytes, Bytes),
    SetRange(Bytes, usize, Bytes),
    StrLen(Bytes),
    IncrBy(Bytes, i64),
    Hash(Bytes, HashCall),
    Members(Bytes, SetCall),
    Type(Bytes),
    Expire {
        key: Bytes,
        unit: Unit,
        delta_ms: i64,
        rule: Option<Rule>,
    },
    Persist(Bytes),
    /// TTL, PTTL, EXPIRETIME, PEXPIRETIME by the unit.
    Left(Bytes, Unit),
    Exists(Vec<Bytes>),
    Delete {
        keys: Vec<Bytes>,
        unlink: bool,
    },
    Rename {
        from: Bytes,
        to: Bytes,
        only_new: bool,
    },
    DbSize,
    FlushDb,
    Select(u8),
}

/// A command over the fields of a hash.
#[derive(Clone, Debug)]
pub enum HashCall {
    Put(Vec<(Bytes, Bytes)>),
    Delete(Vec<Bytes>),
    Get(Bytes),
    All,
    IncrBy(Bytes, i64),
}

/// A command over the members of a set.
#[derive(Clone, Debug)]
pub enum SetCall {
    Add(Vec<Bytes>),
    Remove(Vec<Bytes>),
    All,
}

/// What a sequence is made of.
#[derive(Clone, Debug)]
pub enum Step {
    Call(Call),
    /// MULTI, these, and EXEC or DISCARD.
    Transaction(Vec<Call>, bool),
    /// All pages of a SCAN with this COUNT.
    Scan(u32),
    /// The clock moves on by so many milliseconds.
    Advance(i64),
    /// The clock moves to the end of one of the keys that have one, or to so many milliseconds before it.
    AdvanceToEnd(usize, i64),
    /// Waits until the server has deleted the rows that have ended.
    Prune,
    /// The server stops, and another one starts on what it stored.
    Restart,
}

fn key() -> impl Strategy<Value = Bytes> {
    select(&KEYS[..])
}

fn keys() -> impl Strategy<Value = Vec<Bytes>> {
    prop::collection::vec(key(), 1..4)
}

fn value() -> impl Strategy<Value = Bytes> {
    select(&VALUES[..])
}

fn unit() -> impl Strategy<Value = Unit> {
    select(vec![Unit::Seconds, Unit::Millis, Unit::SecondsAt, Unit::MillisAt])
}

/// Half an hour is what apps say again and again; the others meet its edges.
fn delta_ms() -> impl Strategy<Value = i64> {
    prop_oneof![4 => Just(1_800_000), 2 => 1_790_000..2_000_000i64, 2 => 500..9_000i64, 2 => 1..40i64, 1 => -3_000..1i64]
}

fn end() -> impl Strategy<Value = End> {
    prop_oneof![2 => Just(End::Unsaid), 1 => Just(End::Word), 4 => (unit(), delta_ms()).prop_map(|(unit, ms)| End::In(unit, ms))]
}

fn set() -> impl Strategy<Value = Call> {
    let only = prop::option::weighted(0.3, select(vec![Only::IfMissing, Only::IfThere]));
    (key(), value(), only, prop::bool::weighted(0.2), end()).prop_map(|(key, value, only, get, end)| Call::Set {
        key,
        value,
        only,
        get,
        end,
    })
}

fn expire() -> impl Strategy<Value = Call> {
    let rule = prop::option::of(select(vec![Rule::Nx, Rule::Xx, Rule::Gt, Rule::Lt]));
    (key(), unit(), delta_ms(), rule).prop_map(|(key, unit, delta_ms, rule)| Call::Expire { key, unit, delta_ms, rule })
}

/// What an app does in every request: it sets the end anew, and now and then the same value.
fn touch() -> impl Strategy<Value = Call> {
    let half_an_hour = End::In(Unit::Seconds, 1_800_000);
    prop_oneof![
        2 => key().prop_map(|key| Call::Expire { key, unit: Unit::Seconds, delta_ms: 1_800_000, rule: None }),
        1 => key().prop_map(move |key| {
            Call::Set { key, value: VALUES[0], only: None, get: false, end: half_an_hour }
        }),
    ]
}

fn strings() -> impl Strategy<Value = Call> {
    prop_oneof![
        8 => set(),
        2 => (key(), value(), any::<bool>(), delta_ms())
            .prop_map(|(key, value, millis, delta_ms)| Call::SetTtl { key, value, millis, delta_ms }),
        1 => (key(), value()).prop_map(|(key, value)| Call::SetNx(key, value)),
        1 => (key(), value()).prop_map(|(key, value)| Call::GetSet(key, value)),
        2 => (prop::collection::vec((key(), value()), 1..4), any::<bool>())
            .prop_map(|(pairs, only_new)| Call::MSet { pairs, only_new }),
        2 => (key(), select(&PIECES[..])).prop_map(|(key, piece)| Call::Append(key, piece)),
        2 => (key(), 0..12usize, select(&PIECES[..])).prop_map(|(key, at, piece)| Call::SetRange(key, at, piece)),
        2 => (key(), prop_oneof![Just(1), Just(-1), any::<i64>().prop_filter("Redis refuses it", |by| *by != i64::MIN)])
            .prop_map(|(key, by)| Call::IncrBy(key, by)),
        1 => key().prop_map(Call::GetDel),
        3 => (key(), end()).prop_map(|(key, end)| Call::GetEx(key, end)),
        2 => key().prop_map(Call::Get),
        1 => keys().prop_map(Call::MGet),
        1 => key().prop_map(Call::StrLen),
    ]
}

fn name() -> impl Strategy<Value = Bytes> {
    select(&NAMES[..])
}

fn names() -> impl Strategy<Value = Vec<Bytes>> {
    prop::collection::vec(name(), 1..4)
}

fn by() -> impl Strategy<Value = i64> {
    prop_oneof![Just(1), Just(-1), any::<i64>()]
}

fn collections() -> impl Strategy<Value = Call> {
    let pairs = prop::collection::vec((name(), value()), 1..4);
    let fields = prop_oneof![
        6 => pairs.prop_map(HashCall::Put),
        3 => names().prop_map(HashCall::Delete),
        1 => name().prop_map(HashCall::Get),
        1 => Just(HashCall::All),
        2 => (name(), by()).prop_map(|(field, by)| HashCall::IncrBy(field, by)),
    ];
    let members = prop_oneof![
        6 => names().prop_map(SetCall::Add),
        3 => names().prop_map(SetCall::Remove),
        1 => Just(SetCall::All),
    ];
    prop_oneof![
        6 => (key(), fields).prop_map(|(key, call)| Call::Hash(key, call)),
        5 => (key(), members).prop_map(|(key, call)| Call::Members(key, call)),
        1 => key().prop_map(Call::Type),
    ]
}

fn generic() -> impl Strategy<Value = Call> {
    prop_oneof![
        8 => expire(),
        2 => key().prop_map(Call::Persist),
        3 => (key(), unit()).prop_map(|(key, unit)| Call::Left(key, unit)),
        2 => keys().prop_map(Call::Exists),
        3 => (keys(), any::<bool>()).prop_map(|(keys, unlink)| Call::Delete { keys, unlink }),
        4 => (key(), key(), any::<bool>()).prop_map(|(from, to, only_new)| Call::Rename { from, to, only_new }),
        1 => Just(Call::DbSize),
        1 => Just(Call::FlushDb),
        2 => (0..2u8).prop_map(Call::Select),
    ]
}

fn call() -> impl Strategy<Value = Call> {
    prop_oneof![4 => strings(), 3 => collections(), 4 => generic(), 2 => touch()]
}

/// Sequences of up to `steps_max` steps.
pub fn steps(steps_max: usize) -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        60 => call().prop_map(Step::Call),
        6 => (prop::collection::vec(call(), 0..6), prop::bool::weighted(0.8))
            .prop_map(|(calls, exec)| Step::Transaction(calls, exec)),
        2 => (1..20u32).prop_map(Step::Scan),
        6 => prop_oneof![3 => 1..100i64, 6 => 1..10_000i64, 1 => 1..2_000_000i64].prop_map(Step::Advance),
        2 => (0..KEYS.len(), 0..2i64).prop_map(|(key, before_ms)| Step::AdvanceToEnd(key, before_ms)),
        1 => Just(Step::Prune),
        1 => Just(Step::Restart),
    ];
    prop::collection::vec(step, 1..steps_max)
}

impl Call {
    /// The key whose value must be of this kind, if it is there.
    pub fn wants(&self) -> Option<(Bytes, &'static str)> {
        match self {
            Self::Get(key)
            | Self::GetDel(key)
            | Self::GetSet(key, _)
            | Self::GetEx(key, _)
            | Self::Set { key, get: true, .. }
            | Self::Append(key, _)
            | Self::SetRange(key, ..)
            | Self::StrLen(key)
            | Self::IncrBy(key, _) => Some((*key, "string")),
            Self::Hash(key, _) => Some((*key, "hash")),
            Self::Members(key, _) => Some((*key, "set")),
            Self::Set { get: false, .. }
            | Self::SetTtl { .. }
            | Self::SetNx(..)
            | Self::MGet(_)
            | Self::MSet { .. }
            | Self::Type(_)
            | Self::Expire { .. }
            | Self::Persist(_)
            | Self::Left(..)
            | Self::Exists(_)
            | Self::Delete { .. }
            | Self::Rename { .. }
            | Self::DbSize
            | Self::FlushDb
            | Self::Select(_) => None,
        }
    }

    /// Its words at this time.
    pub fn words(&self, now_ms: i64) -> Vec<Vec<u8>> {
        let text = |word: &str| word.as_bytes().to_vec();
        let number = |number: i64| number.to_string().into_bytes();
        let all = |name: &str, keys: &[Bytes]| {
            std::iter::once(text(name)).chain(keys.iter().map(|key| key.to_vec())).collect::<Vec<_>>()
        };
        match self {
            Self::Get(key) => all("GET", &[key]),
            Self::GetDel(key) => all("GETDEL", &[key]),
            Self::GetSet(key, value) => all("GETSET", &[key, value]),
            Self::GetEx(key, end) => [all("GETEX", &[key]), end.words("PERSIST", now_ms)].concat(),
            Self::Set { key, value, only, get, end } => {
                let mut words = all("SET", &[key, value]);
                words.extend(only.map(|only| text(if only == Only::IfMissing { "NX" } else { "XX" })));
                words.extend(get.then(|| text("GET")));
                words.extend(end.words("KEEPTTL", now_ms));
                words
            }
            Self::SetTtl { key, value, millis, delta_ms } => {
                let (name, unit) = if *millis { ("PSETEX", Unit::Millis) } else { ("SETEX", Unit::Seconds) };
                vec![text(name), key.to_vec(), number(unit.positive(now_ms, *delta_ms).0), value.to_vec()]
            }
            Self::SetNx(key, value) => all("SETNX", &[key, value]),
            Self::MGet(keys) => all("MGET", keys),
            Self::MSet { pairs, only_new } => {
                let words: Vec<Bytes> = pairs.iter().flat_map(|(key, value)| [*key, *value]).collect();
                all(if *only_new { "MSETNX" } else { "MSET" }, &words)
            }
            Self::Append(key, piece) => all("APPEND", &[key, piece]),
            Self::SetRange(key, at, piece) => {
                vec![text("SETRANGE"), key.to_vec(), text(&at.to_string()), piece.to_vec()]
            }
            Self::StrLen(key) => all("STRLEN", &[key]),
            Self::IncrBy(key, 1) => all("INCR", &[key]),
            Self::IncrBy(key, -1) => all("DECR", &[key]),
            Self::IncrBy(key, by) => vec![text("INCRBY"), key.to_vec(), number(*by)],
            Self::Hash(key, call) => call.words(key),
            Self::Members(key, call) => call.words(key),
            Self::Type(key) => all("TYPE", &[key]),
            Self::Expire { key, unit, delta_ms, rule } => {
                let names = ["EXPIRE", "PEXPIRE", "EXPIREAT", "PEXPIREAT"];
                let mut words = all(names[*unit as usize], &[key]);
                words.push(number(unit.at(now_ms, *delta_ms).0));
                words.extend(rule.map(|rule| text(["NX", "XX", "GT", "LT"][rule as usize])));
                words
            }
            Self::Persist(key) => all("PERSIST", &[key]),
            Self::Left(key, unit) => all(["TTL", "PTTL", "EXPIRETIME", "PEXPIRETIME"][*unit as usize], &[key]),
            Self::Exists(keys) => all("EXISTS", keys),
            Self::Delete { keys, unlink } => all(if *unlink { "UNLINK" } else { "DEL" }, keys),
            Self::Rename { from, to, only_new } => all(if *only_new { "RENAMENX" } else { "RENAME" }, &[from, to]),
            Self::DbSize => all("DBSIZE", &[]),
            Self::FlushDb => all("FLUSHDB", &[]),
            Self::Select(number) => vec![text("SELECT"), text(&number.to_string())],
        }
    }
}

impl HashCall {
    fn words(&self, key: Bytes) -> Vec<Vec<u8>> {
        match self {
            Self::Put(pairs) => words("HSET", key, pairs.iter().flat_map(|(field, value)| [*field, *value])),
            Self::Delete(fields) => words("HDEL", key, fields.iter().copied()),
            Self::Get(field) => words("HGET", key, [*field]),
            Self::All => words("HGETALL", key, []),
            Self::IncrBy(field, by) => words("HINCRBY", key, [*field, by.to_string().as_bytes()]),
        }
    }
}

impl SetCall {
    fn words(&self, key: Bytes) -> Vec<Vec<u8>> {
        match self {
            Self::Add(members) => words("SADD", key, members.iter().copied()),
            Self::Remove(members) => words("SREM", key, members.iter().copied()),
            Self::All => words("SMEMBERS", key, []),
        }
    }
}

fn words<'w>(name: &'w str, key: Bytes, rest: impl IntoIterator<Item = &'w [u8]>) -> Vec<Vec<u8>> {
    [name.as_bytes(), key].into_iter().chain(rest).map(<[u8]>::to_vec).collect()
}

impl End {
    fn words(self, word: &str, now_ms: i64) -> Vec<Vec<u8>> {
        match self {
            Self::Unsaid => Vec::new(),
            Self::Word => vec![word.as_bytes().to_vec()],
            Self::In(unit, delta_ms) => {
                let name = ["EX", "PX", "EXAT", "PXAT"][unit as usize];
                vec![name.as_bytes().to_vec(), unit.positive(now_ms, delta_ms).0.to_string().into_bytes()]
            }
        }
    }
}
