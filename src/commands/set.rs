//! Sets: SADD, SMEMBERS and their like. A command makes a whole new set of the old one, which is put as SET puts a string;
//! one that would change nothing puts nothing.

use super::args;
use super::collection_scan::{Chosen, Page};
use super::encoding;
use super::error::CommandError;
use super::random::{Draw, Random};
use super::scan;
use super::string::FIRST_WORD;
use super::table::{CommandResult, Flag, Group, Handler, Loads, Row};
use crate::keyspace::Keys;
use crate::keyspace::collection::Set;
use crate::protocol::{Reply, Request, Shape, Strings};

/// The most members that SRANDMEMBER repeats for a negative count: as many as one request may have words. Redis goes on
/// until its memory ends.
const REPEATED_MEMBERS_MAX: usize = 1024 * 1024;
/// The most bytes of such a reply: as many as one value may have.
const REPEATED_BYTES_MAX: usize = 512 * 1024 * 1024;

/// The commands over sets.
pub const ROWS: &[Row] = &[
    Row {
        name: "sadd",
        syntax: "key member [member ...]",
        summary: "Add one or more members to a set",
        since: "1.0.0",
        group: Group::Set,
        arity: -3,
        flags: &[Flag::Write, Flag::DenyOom, Flag::Fast],
        keys: FIRST_WORD,
        loads: Loads::Values,
        handler: Handler::Keys(sadd),
    },
    Row {
        name: "srem",
        syntax: "key member [member ...]",
        summary: "Remove one or more members from a set",
        since: "1.0.0",
        group: Group::Set,
        arity: -3,
        flags: &[Flag::Write, Flag::Fast],
        keys: FIRST_WORD,
        loads: Loads::Values,
        handler: Handler::Keys(srem),
    },
    Row {
        name: "smembers",
        syntax: "key",
        summary: "Get all the members in a set",
        since: "1.0.0",
        group: Group::Set,
        arity: 2,
        flags: &[Flag::Readonly, Flag::Access],
        keys: FIRST_WORD,
        loads: Loads::Values,
        handler: Handler::Keys(smembers),
    },
    Row {
        name: "sismember",
        syntax: "key member",
        summary: "Determine if a given value is a member of a set",
        since: "1.0.0",
        group: Group::Set,
        arity: 3,
        flags: &[Flag::Readonly, Flag::Fast],
        keys: FIRST_WORD,
        loads: Loads::Values,
        handler: Handler::Keys(sismember),
    },
    Row {
        name: "smismember",
        syntax: "key member [member ...]",
        summary: "Returns the membership associated with the given elements for a set",
        since: "6.2.0",
        group: Group::Set,
        arity: -3,
        flags: &[Flag::Readonly, Flag::Fast, Flag::Access],
        keys: FIRST_WORD,
        loads: Loads::Values,
        handler: Handler::Keys(smismember),
    },
    Row {
        name: "scard",
        syntax: "key",
        summary: "Get the number of members in a set",
        since: "1.0.0",
        group: Group::Set,
        arity: 2,
        flags: &[Flag::Readonly, Flag::Fast],
        keys: FIRST_WORD,
        loads: Loads::Values,
        handler: Handler::Keys(scard),
    },
    Row {
        name: "spop",
        syntax: "key [count]",
        summary: "Remove and return one or multiple random members from a set",
        since: "1.0.0",
        group: Group::Set,
        arity: -2,
        flags: &[Flag::Write, Flag::Fast, Flag::Access],
        keys: FIRST_WORD,
        loads: Loads::Values,
        handler: Handler::Keys(spop),
    },
    Row {
        name: "srandmember",
        syntax: "key [count]",
        summary: "Get one or multiple random members from a set",
        since: "1.0.0",
        group: Group::Set,
        arity: -2,
        flags: &[Flag::Readonly, Flag::Access],
        keys: FIRST_WORD,
        loads: Loads::Values,
        handler: Handler::Keys(srandmember),
    },
    Row {
        name: "sscan",
        syntax: "key cursor [MATCH pattern] [COUNT count]",
        summary: "Incrementally iterate Set elements",
        since: "2.8.0",
        group: Group::Set,
        arity: -3,
        flags: &[Flag::Readonly, Flag::Access],
        keys: FIRST_WORD,
        loads: Loads::Values,
        handler: Handler::Keys(sscan),
    },
];

fn sadd(keys: &mut Keys<'_>, request: &Request) -> CommandResult {
    let key = &request[1];
    let (set, added) = keys.set(key)?.with(words(request));
    if added > 0 {
        keys.put_set(key, &set, "sadd")?;
    }
    Ok(Reply::count(added))
}

fn srem(keys: &mut Keys<'_>, request: &Request) -> CommandResult {
    let key = &request[1];
    let (set, removed) = keys.set(key)?.without(words(request));
    if removed > 0 {
        keys.put_set(key, &set, "srem")?;
    }
    Ok(Reply::count(removed))
}

fn smembers(keys: &mut Keys<'_>, request: &Request) -> CommandResult {
    let set = keys.set_to_read(&request[1])?;
    Ok(Reply::Strings(Strings::of(Shape::Set, set.iter())))
}

fn sismember(keys: &mut Keys<'_>, request: &Request) -> CommandResult {
    let set = keys.set_to_read(&request[1])?;
    Ok(Reply::Integer(i64::from(set.iter().any(|member| member == &*request[2]))))
}

fn smismember(keys: &mut Keys<'_>, request: &Request) -> CommandResult {
    let found = keys.set_to_read(&request[1])?.has_each(words(request));
    Ok(Reply::Array(found.into_iter().map(|has| Reply::Integer(i64::from(has))).collect()))
}

fn scard(keys: &mut Keys<'_>, request: &Request) -> CommandResult {
    Ok(Reply::count(keys.set_to_read(&request[1])?.len()))
}

fn spop(keys: &mut Keys<'_>, request: &Request) -> CommandResult {
    let key = &request[1];
    let wanted = match request.get(2..).unwrap_or_default() {
        [] => None,
        [word] => Some(positive(word)?),
        [_, _, ..] => return Err(CommandError::Syntax),
    };
    let set = keys.set(key)?;
    // A script does it once more on the key itself, and must take the same.
    let mut draw = Draw::new(Random::from_chance(keys.chance()), wanted.unwrap_or(1), set.len());
    let (drawn, left) = set.split(|_| draw.takes());
    if !drawn.is_empty() {
        keys.put_set(key, &left, "spop")?;
    }
    Ok(match wanted {
        None => Reply::copy_or_null(drawn.iter().next()),
        Some(_) => Reply::Strings(Strings::of(Shape::Set, drawn.iter())),
    })
}

fn positive(word: &[u8]) -> Result<usize, CommandError> {
    let number = args::canonical_integer(word).and_then(|number| usize::try_from(number).ok());
    number.ok_or_else(|| CommandError::other("ERR value is out of range, must be positive"))
}

fn srandmember(keys: &mut Keys<'_>, request: &Request) -> CommandResult {
    let wanted = match request.get(2..).unwrap_or_default() {
        [] => None,
        [word] => Some(wanted(word)?),
        [_, _, ..] => return Err(CommandError::Syntax),
    };
    let set = keys.set_to_read(&request[1])?;
    let members = match wanted {
        None => {
            let chosen = Random::new().below(set.len());
            return Ok(Reply::copy_or_null(set.iter().nth(chosen)));
        }
        Some(Wanted::Distinct(wanted)) => {
            let mut draw = Draw::new(Random::new(), wanted, set.len());
            Strings::of(Shape::Array, set.iter().filter(|_| draw.takes()))
        }
        Some(Wanted::Repeated(_)) if set.is_empty() => Strings::default(),
        Some(Wanted::Repeated(wanted)) => repeated(&set, wanted)?,
    };
    Ok(Reply::Strings(members))
}

/// How many random members.
enum Wanted {
    /// Each at most once.
    Distinct(usize),
    /// Any of them each time.
    Repeated(usize),
}

fn wanted(word: &[u8]) -> Result<Wanted, CommandError> {
    let number = args::integer(word)?;
    if number == i64::MIN {
        let range = "-9223372036854775807 and 9223372036854775807";
        return Err(CommandError::other(format!("ERR value is out of range, value must between {range}")));
    }
    let size = usize::try_from(number.unsigned_abs()).unwrap_or(usize::MAX);
    Ok(if number < 0 { Wanted::Repeated(size) } else { Wanted::Distinct(size) })
}

/// So many random members of a set that is not empty.
fn repeated(set: &Set, wanted: usize) -> Result<Strings, CommandError> {
    if wanted > REPEATED_MEMBERS_MAX {
        return Err(CommandError::other(format!(
            "ERR value is out of range, at most {REPEATED_MEMBERS_MAX} members are repeated"
        )));
    }
    let mut random = Random::new();
    let mut chosen: Vec<(usize, usize)> = (0..wanted).map(|place| (random.below(set.len()), place)).collect();
    chosen.sort_unstable();
    // One walk over the set; each choice then stands at the place where it was drawn.
    let mut drawn: Vec<&[u8]> = vec![&[]; wanted];
    let mut choices = chosen.into_iter().peekable();
    for (position, member) in set.iter().enumerate() {
        while let Some((_, place)) = choices.next_if(|(chosen, _)| *chosen == position) {
            drawn[place] = member;
        }
    }
    let bytes: usize = drawn.iter().map(|member| member.len()).sum();
    if bytes > REPEATED_BYTES_MAX {
        return Err(CommandError::other(format!("ERR the reply would be longer than {REPEATED_BYTES_MAX} bytes")));
    }
    Ok(Strings::of(Shape::Array, drawn.into_iter()))
}

fn sscan(keys: &mut Keys<'_>, request: &Request) -> CommandResult {
    let cursor = scan::cursor(&request[2])?;
    let set = keys.set_to_read(&request[1])?;
    if set.is_empty() {
        // As in Redis, the options of a key that does not exist are not even read.
        return Ok(Page::WHOLE.reply(Strings::default()));
    }
    let chosen = Chosen::read(request)?;
    let page = match encoding::is_small_set(&set) {
        true => Page::WHOLE,
        false => Page::of(cursor, chosen.count, set.iter()),
    };
    let found = set.iter().filter(|member| page.has(member) && chosen.takes(member));
    Ok(page.reply(Strings::of(Shape::Array, found)))
}

/// The members that a request names.
fn words(request: &Request) -> impl Iterator<Item = &[u8]> + Clone {
    request[2..].iter().map(|word| &**word)
}
