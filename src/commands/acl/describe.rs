//! A user as ACL LIST, ACL GETUSER and the aclfile show it: the rules that make it again.

use super::super::table::{self, Row};
use super::category::{self, CATEGORIES};
use crate::app::users::{CommandSet, KeyPattern, Sanitize, Selector, User};

/// The whole user as a line of an aclfile, without the line's end.
#[must_use]
pub fn line(user: &User) -> Vec<u8> {
    let mut words = vec![b"user".to_vec(), user.name.to_vec()];
    words.extend(flags(user).into_iter().map(|flag| flag.as_bytes().to_vec()));
    words.extend(user.passwords.iter().map(|digest| format!("#{}", digest.to_hex()).into_bytes()));
    words.push(rules(&user.root));
    words.extend(user.selectors.iter().map(|selector| [b"(", &*rules(selector), b")"].concat()));
    words.join(&b' ')
}

/// `on`, `nopass` and their like.
#[must_use]
pub fn flags(user: &User) -> Vec<&'static str> {
    let mut flags = vec![if user.enabled { "on" } else { "off" }];
    if user.without_password {
        flags.push("nopass");
    }
    flags.extend(user.sanitize.map(|sanitize| match sanitize {
        Sanitize::Check => "sanitize-payload",
        Sanitize::Skip => "skip-sanitize-payload",
    }));
    flags
}

fn rules(selector: &Selector) -> Vec<u8> {
    let channels = if selector.all_channels { b"".to_vec() } else { b"resetchannels".to_vec() };
    let parts = [keys(selector), channels, self::channels(selector), commands(selector).into_bytes()];
    parts.into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join(&b' ')
}

/// The patterns of its keys, with blanks between them.
#[must_use]
pub fn keys(selector: &Selector) -> Vec<u8> {
    if selector.all_keys {
        return b"~*".to_vec();
    }
    let pattern = |pattern: &KeyPattern| {
        let permissions: &[u8] = match (pattern.reads, pattern.writes) {
            (true, false) => b"%R~",
            (false, true) => b"%W~",
            (true, true) | (false, false) => b"~",
        };
        [permissions, &pattern.pattern].concat()
    };
    selector.keys.iter().map(pattern).collect::<Vec<_>>().join(&b' ')
}

/// The patterns of its channels, with blanks between them.
#[must_use]
pub fn channels(selector: &Selector) -> Vec<u8> {
    if selector.all_channels {
        return b"&*".to_vec();
    }
    selector.channels.iter().map(|pattern| [b"&", &**pattern].concat()).collect::<Vec<_>>().join(&b' ')
}

/// The rules that allow and forbid its commands: first all or none, then whole categories, then single commands.
#[must_use]
pub fn commands(selector: &Selector) -> String {
    let is_additive = !selector.commands.contains(category::FUTURE);
    let mut made = Selector::new(false);
    let mut words = vec![if is_additive { "-@all" } else { "+@all" }.to_owned()];
    if !is_additive {
        made.commands = CommandSet::ALL;
    }
    let sign = if is_additive { '+' } else { '-' };
    for category in CATEGORIES.iter().filter(|category| category.allows_future(selector) == is_additive) {
        category.set(&mut made, is_additive);
        words.push(format!("{sign}{}", category.tag));
    }
    for row in table::every_row() {
        single_commands(selector, &mut made, row, &mut words);
    }
    words.join(" ")
}

/// What is still wrong with one command.
fn single_commands(selector: &Selector, made: &mut Selector, row: &'static Row, words: &mut Vec<String>) {
    let position = table::index(row);
    let is_allowed = selector.commands.contains(position);
    if is_allowed != made.commands.contains(position) {
        words.push(format!("{}{}", if is_allowed { '+' } else { '-' }, table::full_name(row)));
        category::set_command(made, row, is_allowed);
    }
    if !is_allowed {
        let arguments = selector.first_arguments.iter().filter(|(other, _)| *other == position);
        words
            .extend(arguments.map(|(_, word)| format!("+{}|{}", table::full_name(row), String::from_utf8_lossy(word))));
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::super::rules::apply;
    use super::*;

    fn made_by(rules: &str) -> User {
        let mut user = User::new(Bytes::from_static(b"u"), false);
        for rule in rules.split(' ') {
            apply(&mut user, rule.as_bytes(), false).unwrap_or_else(|error| panic!("{rule}: {error}"));
        }
        user
    }

    #[test]
    fn a_line_makes_the_same_user_again() {
        for rules in [
            "on nopass ~* &* +@all",
            "on >a >b ~a* %R~b %W~c &x -@all +@read -get +config|get +select|0",
            "off +@all -@dangerous -@scripting +flushall -client|list",
            "+@write +@admin -config +@pubsub",
            "+@connection -client +client|id +@fast -ping",
        ] {
            let user = made_by(rules);
            let line = String::from_utf8(line(&user)).expect("text");
            let again = made_by(line.strip_prefix("user u ").expect("a name"));
            assert_eq!(again, user, "{rules} was shown as {line}");
        }
    }

    #[test]
    fn any_set_of_commands_is_described_by_rules_that_make_it() {
        let mut generator = fastrand::Rng::with_seed(7);
        let words: Vec<String> = table::names()
            .iter()
            .cloned()
            .chain(CATEGORIES.iter().map(|category| category.tag.to_owned()))
            .chain(["@all".to_owned()])
            .collect();
        for _ in 0..2_000 {
            let rules: Vec<String> = (0..generator.usize(1..12))
                .map(|_| {
                    format!("{}{}", if generator.bool() { '+' } else { '-' }, words[generator.usize(..words.len())])
                })
                .collect();
            let user = made_by(&rules.join(" "));
            let shown = commands(&user.root);
            assert_eq!(made_by(&shown).root, user.root, "{rules:?} was shown as {shown}");
        }
    }
}
