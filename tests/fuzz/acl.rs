//! Fuzzes ACL rules: whatever was accepted must make the same user again when it is written to an aclfile and read from it,
//! and may neither panic nor allow a user something else afterwards.

#![no_main]

use bytes::Bytes;
use libfuzzer_sys::{arbitrary, arbitrary::Arbitrary, fuzz_target};
use sojourn::app::users::User;
use sojourn::commands::acl::{describe, permission, rules};
use sojourn::commands::table;

const NAME: &[u8] = b"name";
const WORDS: &[&str] = &[
    "on",
    "off",
    "nopass",
    "resetpass",
    "reset",
    ">a",
    ">b",
    "<a",
    "#",
    "!",
    "clearselectors",
    "sanitize-payload",
    "skip-sanitize-payload",
    "allkeys",
    "resetkeys",
    "~*",
    "~sess:*",
    "%R~a",
    "%W~a",
    "%RW~b",
    "allchannels",
    "resetchannels",
    "&a",
    "allcommands",
    "nocommands",
    "+@all",
    "-@all",
    "+@read",
    "-@dangerous",
    "+@write",
    "-@connection",
    "(+get ~a)",
    "(",
    ")",
];
const KEYS: [&[u8]; 3] = [b"sess:a", b"a", b""];

#[derive(Arbitrary, Debug)]
struct Input<'a> {
    all_channels: bool,
    rules: Vec<Rule<'a>>,
    argument: &'a [u8],
}

#[derive(Arbitrary, Debug)]
enum Rule<'a> {
    Known(u8),
    Command {
        allowed: bool,
        name: u8,
    },
    FirstArgument {
        name: u8,
        argument: &'a [u8],
    },
    /// `~`, `%R~` and the like with any pattern.
    Pattern {
        sign: u8,
        pattern: &'a [u8],
    },
    Selector(Vec<Rule<'a>>),
    Bytes(&'a [u8]),
}

impl Rule<'_> {
    fn bytes(&self) -> Vec<u8> {
        let sign = |allowed: bool| if allowed { &b"+"[..] } else { b"-" };
        match self {
            Self::Known(number) => WORDS[usize::from(*number) % WORDS.len()].as_bytes().to_vec(),
            Self::Command { allowed, name } => [sign(*allowed), name_of(*name)].concat(),
            Self::FirstArgument { name, argument } => [b"+", name_of(*name), b"|", argument].concat(),
            Self::Pattern { sign, pattern } => {
                let signs: [&[u8]; 5] = [b"~", b"%R~", b"%W~", b"%RW~", b"&"];
                [signs[usize::from(*sign) % signs.len()], pattern].concat()
            }
            Self::Selector(rules) => {
                let inner: Vec<Vec<u8>> = rules.iter().map(Self::bytes).collect();
                [b"(", &*inner.join(&b' '), b")"].concat()
            }
            Self::Bytes(bytes) => bytes.to_vec(),
        }
    }
}

fn name_of(number: u8) -> &'static [u8] {
    table::names()[usize::from(number) % table::names().len()].as_bytes()
}

/// Every command's verdict on each of a few keys.
fn verdicts(user: &User, argument: &[u8]) -> Vec<Result<(), permission::Denied>> {
    let requests = table::names().iter().flat_map(|name| {
        let names: Vec<Bytes> = name.split('|').map(Bytes::from).collect();
        KEYS.iter().chain([&argument]).filter_map(move |key| {
            let row = table::find_full(names.join(&b'|').as_slice())?;
            let words = (row.arity.unsigned_abs() as usize).max(names.len() + 1);
            let mut request = names.clone();
            request.resize(words, Bytes::copy_from_slice(key));
            Some((row, request))
        })
    });
    requests.map(|(row, request)| permission::check(user, row, &request)).collect()
}

/// As an aclfile is read.
fn read(line: &[u8], all_channels: bool) -> User {
    let shown = line.escape_ascii();
    assert!(!line.contains(&b'\n'), "two lines: {shown}");
    let words: Vec<Bytes> = line.trim_ascii().split(|byte| *byte == b' ').map(Bytes::copy_from_slice).collect();
    let mut user = User::new(Bytes::from_static(NAME), all_channels);
    let merged = rules::merge_selectors(&words[2..]).unwrap_or_else(|_| panic!("a parenthesis is open: {shown}"));
    for rule in merged {
        let applied = rules::apply(&mut user, rule.trim_ascii(), all_channels);
        assert!(applied.is_ok(), "{}: {applied:?} in {shown}", rule.escape_ascii());
    }
    user
}

fuzz_target!(|input: Input<'_>| {
    let words: Vec<Bytes> = input.rules.iter().map(|rule| Bytes::from(rule.bytes())).collect();
    let Ok(words) = rules::merge_selectors(&words) else { return };
    let mut user = User::new(Bytes::from_static(NAME), input.all_channels);
    for word in words {
        let mut changed = user.clone();
        if rules::apply(&mut changed, &word, input.all_channels).is_ok() {
            user = changed;
        }
    }
    let line = describe::line(&user);
    let again = read(&line, input.all_channels);
    let (before, after) = (verdicts(&user, input.argument), verdicts(&again, input.argument));
    assert!(line == describe::line(&again) && before == after, "{}", line.escape_ascii());
    assert!(!user.may_do_everything() || before.iter().all(Result::is_ok), "{}", line.escape_ascii());
});
