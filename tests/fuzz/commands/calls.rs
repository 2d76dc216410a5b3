//! What an input may do: calls of the rows of the command table with words that mean something, raw bytes, and time.

use std::sync::LazyLock;

use libfuzzer_sys::{arbitrary, arbitrary::Arbitrary};
use sojourn::commands::table;
use sojourn::config;

/// Settings that are left alone: a larger value makes one input take gigabytes, as it is meant to.
const SETTINGS_LEFT_ALONE: &[&str] = &["proto-max-bulk-len"];

/// The names of commands and subcommands, as words.
static NAMES: LazyLock<Vec<Vec<&'static str>>> =
    LazyLock::new(|| table::names().iter().map(|name| name.split('|').collect()).collect());

/// The words in capitals of all syntaxes: EX, NX, MATCH, AUTH and so on.
static OPTIONS: LazyLock<Vec<&'static str>> = LazyLock::new(|| {
    let rows = table::all().flat_map(|row| std::iter::once(row).chain(row.subcommands()));
    let words = rows.flat_map(|row| row.syntax.split(|sign: char| !sign.is_ascii_uppercase() && sign != '-'));
    let mut options: Vec<_> = words.filter(|word| word.len() > 1).collect();
    options.sort_unstable();
    options.dedup();
    options
});

static SETTINGS: LazyLock<Vec<&'static str>> = LazyLock::new(|| {
    config::ROWS.iter().map(|row| row.name).filter(|name| !SETTINGS_LEFT_ALONE.contains(name)).collect()
});

pub const KEYS: &[&str] = &["sess:a", "sess:b", "a", "b", "{a}c", ""];
const VALUES: &[&str] = &[
    r#"{"cookie":{"maxAge":1000},"n":1}"#,
    r#"{"n":1}"#,
    "{",
    "10",
    "-9223372036854775808",
    "3.0e3",
    "inf",
    "nan",
    "",
];
/// What ends other clients' connections.
const KILLERS: &[[&[u8]; 2]] = &[[b"client", b"kill"], [b"acl", b"deluser"], [b"acl", b"load"], [b"acl", b"setuser"]];
const PATTERNS: &[&str] = &["*", "sess:*", "[a-", "\\", "?", "[^a]*", "********a"];
const EDGES: &[i64] = &[0, 1, -1, i64::MAX, i64::MIN, i32::MAX as i64, u32::MAX as i64, 1 << 29, 253_402_128_000_000];

#[derive(Arbitrary, Debug)]
pub struct Input<'a> {
    pub steps: Vec<Step<'a>>,
}

#[derive(Arbitrary, Debug)]
pub enum Step<'a> {
    /// A request that is sent with the next read, so that what one client says until then is one pipeline.
    Call {
        client: Who,
        call: Call<'a>,
    },
    Read {
        client: Who,
    },
    Reconnect {
        client: Who,
    },
    /// Bytes behind what was called so far, and the end of the connection.
    Raw {
        client: Who,
        bytes: &'a [u8],
    },
    Wait {
        time: Time,
    },
}

/// Which of the clients.
#[derive(Arbitrary, Clone, Copy, Debug)]
pub enum Who {
    First,
    Second,
    Third,
}

impl Who {
    pub const fn index(self) -> usize {
        self as usize
    }
}

#[derive(Arbitrary, Debug)]
pub enum Time {
    Millisecond,
    Second,
    Minute,
    Day,
    Milliseconds(u16),
}

impl Time {
    pub fn ms(&self) -> i64 {
        match self {
            Self::Millisecond => 1,
            Self::Second => 1_000,
            Self::Minute => 60_000,
            Self::Day => 86_400_000,
            Self::Milliseconds(ms) => i64::from(*ms),
        }
    }
}

#[derive(Arbitrary, Debug)]
pub struct Call<'a> {
    name: u8,
    /// Whether it has as many words as its row asks for; else as many as there are.
    fits: bool,
    words: Vec<Word<'a>>,
}

#[derive(Arbitrary, Debug)]
pub enum Word<'a> {
    Key(u8),
    Option(u8),
    Value(u8),
    Pattern(u8),
    Small(i8),
    Edge(u8),
    Number(i64),
    Setting(u8),
    /// Where the client's last SCAN ended.
    Cursor,
    Bytes(&'a [u8]),
}

impl Call<'_> {
    /// The request's words.
    pub fn words(&self, cursor: &[u8]) -> Vec<Vec<u8>> {
        let names = pick(&NAMES, self.name);
        let mut words: Vec<Vec<u8>> = names.iter().map(|name| name.as_bytes().to_vec()).collect();
        words.extend(self.words.iter().map(|word| word.bytes(cursor)));
        if self.fits
            && let Some(row) = table::find_full(names.join("|").as_bytes())
        {
            let fitting = row.arity.unsigned_abs() as usize;
            if words.len() < fitting || row.arity > 0 {
                words.resize(fitting, KEYS[0].into());
            }
        }
        words
    }
}

impl Word<'_> {
    fn bytes(&self, cursor: &[u8]) -> Vec<u8> {
        match self {
            Self::Key(number) => pick(KEYS, *number).as_bytes().to_vec(),
            Self::Option(number) => pick(&OPTIONS, *number).as_bytes().to_vec(),
            Self::Value(number) => pick(VALUES, *number).as_bytes().to_vec(),
            Self::Pattern(number) => pick(PATTERNS, *number).as_bytes().to_vec(),
            Self::Small(number) => number.to_string().into_bytes(),
            Self::Edge(number) => pick(EDGES, *number).to_string().into_bytes(),
            Self::Number(number) => number.to_string().into_bytes(),
            Self::Setting(number) => pick(&SETTINGS, *number).as_bytes().to_vec(),
            Self::Cursor => cursor.to_vec(),
            Self::Bytes(bytes) => bytes.to_vec(),
        }
    }
}

/// Whether a request may end the connections of other clients.
pub fn may_kill(words: &[Vec<u8>]) -> bool {
    KILLERS.iter().any(|killer| words.len() > 1 && killer.iter().zip(words).all(|(name, word)| name == word))
}

fn pick<T>(among: &[T], number: u8) -> &T {
    &among[usize::from(number) % among.len()]
}
