//! The rules of ACL SETUSER and of the aclfile: what each word makes of a user. A refused rule may leave the user half
//! changed: callers give a copy and throw it away.

use bytes::Bytes;

use super::super::args::is;
use super::super::table;
use super::category::{self, set_command};
use crate::app::users::{CommandSet, KeyPattern, PasswordDigest, Sanitize, Selector, User};

/// Why a rule was refused, in Redis's words. The rule itself is not in them: it may be a password.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RuleError {
    /// No command or category has this name.
    #[error("Unknown command or category name in ACL")]
    Unknown,
    /// Not a rule.
    #[error("Syntax error")]
    Syntax,
    /// A pattern that would change nothing.
    #[error(
        "Adding a pattern after the * pattern (or the 'allkeys' flag) is not valid and does not have any effect. Try 'resetkeys' \
         to start with an empty list of patterns"
    )]
    KeysAreAllowed,
    /// A pattern that would change nothing.
    #[error(
        "Adding a pattern after the * pattern (or the 'allchannels' flag) is not valid and does not have any effect. Try \
         'resetchannels' to start with an empty list of channels"
    )]
    ChannelsAreAllowed,
    /// The user has no such password.
    #[error("The password you are trying to remove from the user does not exist")]
    NoSuchPassword,
    /// Not the digest of a password.
    #[error("The password hash must be exactly 64 characters and contain only lowercase hexadecimal characters")]
    NotADigest,
    /// `+config|get|maxclients`.
    #[error("Allowing first-arg of a subcommand is not supported")]
    FirstArgumentOfSubcommand,
}

/// Whether a name or pattern holds what would break the lines of an aclfile.
#[must_use]
pub fn has_spaces(word: &[u8]) -> bool {
    word.iter().any(|byte| byte.is_ascii_whitespace() || [b'\x0b', 0].contains(byte))
}

/// Puts the words of each selector together that stand in parentheses but in several words.
///
/// # Errors
/// The position of the word with the parenthesis that is never closed.
pub fn merge_selectors(words: &[Bytes]) -> Result<Vec<Bytes>, usize> {
    let mut merged = Vec::with_capacity(words.len());
    let mut open: Option<(usize, Vec<u8>)> = None;
    for (position, word) in words.iter().enumerate() {
        let closes = word.ends_with(b")");
        match &mut open {
            None if word.starts_with(b"(") && !closes => open = Some((position, word.to_vec())),
            None => merged.push(word.clone()),
            Some((_, selector)) => {
                selector.push(b' ');
                selector.extend_from_slice(word);
                if closes {
                    merged.extend(open.take().map(|(_, selector)| Bytes::from(selector)));
                }
            }
        }
    }
    open.map_or(Ok(merged), |(position, _)| Err(position))
}

/// Applies one rule; `all_channels` is what a user that is reset starts with.
///
/// # Errors
/// [`RuleError`].
pub fn apply(user: &mut User, rule: &[u8], all_channels: bool) -> Result<(), RuleError> {
    match rule {
        [] => {}
        _ if is(rule, "on") => user.enabled = true,
        _ if is(rule, "off") => user.enabled = false,
        _ if is(rule, "skip-sanitize-payload") => user.sanitize = Some(Sanitize::Skip),
        _ if is(rule, "sanitize-payload") => user.sanitize = Some(Sanitize::Check),
        _ if is(rule, "nopass") => set_passwords(user, true),
        _ if is(rule, "resetpass") => set_passwords(user, false),
        [b'>', password @ ..] => add_password(user, PasswordDigest::of(password)),
        [b'#', digits @ ..] => add_password(user, digest(digits)?),
        [b'<', password @ ..] => remove_password(user, PasswordDigest::of(password))?,
        [b'!', digits @ ..] => remove_password(user, digest(digits)?)?,
        [b'(', rules @ .., b')'] => user.selectors.push(selector(rules, all_channels)?),
        _ if is(rule, "clearselectors") => user.selectors.clear(),
        _ if is(rule, "reset") => {
            *user = User { sanitize: Some(Sanitize::Check), ..User::new(user.name.clone(), all_channels) };
        }
        _ => apply_to_selector(&mut user.root, rule)?,
    }
    Ok(())
}

fn set_passwords(user: &mut User, without_password: bool) {
    user.without_password = without_password;
    user.passwords.clear();
}

fn digest(digits: &[u8]) -> Result<PasswordDigest, RuleError> {
    PasswordDigest::from_hex(digits).ok_or(RuleError::NotADigest)
}

fn add_password(user: &mut User, password: PasswordDigest) {
    user.without_password = false;
    if !user.passwords.contains(&password) {
        user.passwords.push(password);
    }
}

fn remove_password(user: &mut User, password: PasswordDigest) -> Result<(), RuleError> {
    let position = user.passwords.iter().position(|known| *known == password).ok_or(RuleError::NoSuchPassword)?;
    user.passwords.remove(position);
    Ok(())
}

fn selector(rules: &[u8], all_channels: bool) -> Result<Selector, RuleError> {
    let mut selector = Selector::new(all_channels);
    for rule in rules.split(u8::is_ascii_whitespace).filter(|rule| !rule.is_empty()) {
        // In an aclfile the selector would end there.
        if rule.ends_with(b")") {
            return Err(RuleError::Syntax);
        }
        apply_to_selector(&mut selector, rule)?;
    }
    Ok(selector)
}

fn apply_to_selector(selector: &mut Selector, rule: &[u8]) -> Result<(), RuleError> {
    match rule {
        _ if is(rule, "allkeys") || rule == b"~*" => set_keys(selector, true),
        _ if is(rule, "resetkeys") => set_keys(selector, false),
        _ if is(rule, "allchannels") || rule == b"&*" => set_channels(selector, true),
        _ if is(rule, "resetchannels") => set_channels(selector, false),
        _ if is(rule, "allcommands") || is(rule, "+@all") => set_commands(selector, CommandSet::ALL),
        _ if is(rule, "nocommands") || is(rule, "-@all") => set_commands(selector, CommandSet::NONE),
        [b'~', pattern @ ..] => add_keys(selector, pattern, true, true)?,
        [b'%', rest @ ..] => {
            let (reads, writes, pattern) = permissions(rest)?;
            add_keys(selector, pattern, reads, writes)?;
        }
        [b'&', pattern @ ..] => add_channels(selector, pattern)?,
        [sign @ (b'+' | b'-'), b'@', name @ ..] => {
            category::named(name).ok_or(RuleError::Unknown)?.set(selector, *sign == b'+');
        }
        [b'+', name @ ..] => allow_command(selector, name)?,
        [b'-', name @ ..] => {
            set_command(selector, table::find_full(name).ok_or(RuleError::Unknown)?, false);
        }
        _ => return Err(RuleError::Syntax),
    }
    Ok(())
}

fn set_keys(selector: &mut Selector, all: bool) {
    selector.all_keys = all;
    selector.keys.clear();
}

fn set_channels(selector: &mut Selector, all: bool) {
    selector.all_channels = all;
    selector.channels.clear();
}

fn set_commands(selector: &mut Selector, commands: CommandSet) {
    selector.commands = commands;
    selector.first_arguments.clear();
}

/// What stands between `%` and `~`: `R`, `W` or both, each once; and the pattern behind. As in Redis, nothing but the
/// letters is a pattern that is empty.
fn permissions(rest: &[u8]) -> Result<(bool, bool, &[u8]), RuleError> {
    let (mut reads, mut writes) = (false, false);
    for (position, letter) in rest.iter().enumerate() {
        match letter {
            b'R' | b'r' if !reads => reads = true,
            b'W' | b'w' if !writes => writes = true,
            b'~' if reads || writes => return Ok((reads, writes, &rest[position + 1..])),
            _ => return Err(RuleError::Syntax),
        }
    }
    if reads || writes { Ok((reads, writes, &[])) } else { Err(RuleError::Syntax) }
}

fn add_keys(selector: &mut Selector, pattern: &[u8], reads: bool, writes: bool) -> Result<(), RuleError> {
    if selector.all_keys {
        return Err(RuleError::KeysAreAllowed);
    }
    if has_spaces(pattern) {
        return Err(RuleError::Syntax);
    }
    let position = selector.keys.iter().position(|known| known.pattern == pattern).unwrap_or_else(|| {
        selector.keys.push(KeyPattern { pattern: Bytes::copy_from_slice(pattern), reads: false, writes: false });
        selector.keys.len() - 1
    });
    if let Some(known) = selector.keys.get_mut(position) {
        known.reads |= reads;
        known.writes |= writes;
        // In an aclfile `~*` stands for all keys, however it came about, and refuses every pattern behind it.
        if known.reads && known.writes && pattern == b"*" {
            set_keys(selector, true);
        }
    }
    Ok(())
}

fn add_channels(selector: &mut Selector, pattern: &[u8]) -> Result<(), RuleError> {
    if selector.all_channels {
        return Err(RuleError::ChannelsAreAllowed);
    }
    if has_spaces(pattern) {
        return Err(RuleError::Syntax);
    }
    if !selector.channels.iter().any(|known| known == pattern) {
        selector.channels.push(Bytes::copy_from_slice(pattern));
    }
    Ok(())
}

/// `+get`, `+config`, `+config|get`, or `+select|0`: a command with this first argument only.
fn allow_command(selector: &mut Selector, name: &[u8]) -> Result<(), RuleError> {
    let Some(bar) = name.iter().rposition(|byte| *byte == b'|') else {
        set_command(selector, table::find(name).ok_or(RuleError::Unknown)?, true);
        return Ok(());
    };
    let (command, argument) = (&name[..bar], &name[bar + 1..]);
    let row = table::find_full(command).ok_or(RuleError::Unknown)?;
    if command.contains(&b'|') {
        return Err(RuleError::FirstArgumentOfSubcommand);
    }
    // In an aclfile it would be another rule, or another line.
    if argument.is_empty() || has_spaces(argument) || std::str::from_utf8(argument).is_err() {
        return Err(RuleError::Syntax);
    }
    if row.subcommands().is_empty() {
        add_first_argument(selector, table::index(row), argument);
    } else {
        set_command(selector, row.subcommand(argument).ok_or(RuleError::Unknown)?, true);
    }
    Ok(())
}

fn add_first_argument(selector: &mut Selector, position: usize, argument: &[u8]) {
    let known = |(other, word): &(usize, Bytes)| *other == position && word.eq_ignore_ascii_case(argument);
    if !selector.first_arguments.iter().any(known) {
        selector.first_arguments.push((position, Bytes::copy_from_slice(argument)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn selectors_in_several_words_become_one() {
        let merge = |line: &str| {
            let words: Vec<_> = line.split(' ').map(|word| Bytes::copy_from_slice(word.as_bytes())).collect();
            merge_selectors(&words).map(|merged| merged.iter().map(|word| word.to_vec()).collect::<Vec<_>>())
        };
        assert_eq!(merge("on (+get ~a) +set"), Ok(vec![b"on".to_vec(), b"(+get ~a)".to_vec(), b"+set".to_vec()]));
        assert_eq!(merge("( +get )"), Ok(vec![b"( +get )".to_vec()]));
        assert_eq!(merge("on (+get ~a"), Err(1));
        assert_eq!(merge("("), Err(0));
        assert_eq!(merge(")"), Ok(vec![b")".to_vec()]));
    }

    #[test]
    fn every_way_to_say_all_keys_is_the_same() {
        for rules in [&["~*"][..], &["%RW~*"], &["~a", "%W~*", "%R~*"]] {
            let mut user = User::new(Bytes::from_static(b"u"), false);
            assert!(rules.iter().all(|rule| apply(&mut user, rule.as_bytes(), false).is_ok()));
            assert!(user.root.all_keys && user.root.keys.is_empty(), "{rules:?}");
        }
    }

    #[test]
    fn what_an_aclfile_could_not_hold_is_refused() {
        let mut user = User::new(Bytes::from_static(b"u"), false);
        for rule in
            [&b"+select|0\nuser evil on nopass +@all"[..], b"+select|a b", b"+select|\xff", b"(~a) +get)", b"(~a))"]
        {
            assert_eq!(apply(&mut user, rule, false), Err(RuleError::Syntax), "{}", rule.escape_ascii());
        }
    }

    #[test]
    fn a_rule_that_is_refused_says_no_password() {
        let mut user = User::new(Bytes::from_static(b"u"), false);
        for rule in ["<hunter2", "#hunter2", "!hunter2"] {
            let refusal = apply(&mut user, rule.as_bytes(), false).map_err(|error| error.to_string());
            assert!(refusal.is_err_and(|words| !words.contains("hunter2")), "{rule}");
        }
    }
}
