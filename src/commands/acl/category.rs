//! The ACL categories, derived from the rows; no row names its own. Each has a bit of its own that stands for the commands it
//! does not have yet: `-@scripting` still forbids on the day when there are scripts, and a user is shown by the categories
//! that were named, where Redis 7.0 guesses which of them fit.

use super::super::table::{self, Flag, Group, Handler, KeyPositions, Row};
use crate::app::users::{CommandSet, Selector};

/// One category.
#[derive(Debug)]
pub struct Category {
    /// Its name with an `@`.
    pub tag: &'static str,
    /// Whether a row is in it.
    pub contains: fn(&Row) -> bool,
}

/// All categories of Redis 7.0, in its order.
pub static CATEGORIES: &[Category] = &[
    Category {
        tag: "@keyspace",
        contains: |row| {
            (is_of(row, Group::Generic) && !row.has(Flag::Connection))
                || (is_of(row, Group::Server)
                    && (row.has(Flag::Write) || row.has(Flag::Readonly))
                    // Of a server's commands over keys those of one key do not count (MEMORY USAGE).
                    && !matches!(row.keys, KeyPositions::Range { .. }))
        },
    },
    Category { tag: "@read", contains: |row| row.has(Flag::Readonly) && row.group != Group::Scripting },
    Category { tag: "@write", contains: |row| row.has(Flag::Write) },
    Category { tag: "@set", contains: |row| is_of(row, Group::Set) },
    Category { tag: "@sortedset", contains: |_| false },
    Category { tag: "@list", contains: |_| false },
    Category { tag: "@hash", contains: |row| is_of(row, Group::Hash) },
    Category { tag: "@string", contains: |row| is_of(row, Group::String) },
    Category { tag: "@bitmap", contains: |_| false },
    Category { tag: "@hyperloglog", contains: |_| false },
    Category { tag: "@geo", contains: |_| false },
    Category { tag: "@stream", contains: |_| false },
    Category { tag: "@pubsub", contains: |row| row.has(Flag::PubSub) },
    Category { tag: "@admin", contains: |row| row.has(Flag::Admin) },
    Category { tag: "@fast", contains: |row| row.has(Flag::Fast) },
    Category { tag: "@slow", contains: |row| !row.has(Flag::Fast) },
    Category { tag: "@blocking", contains: |_| false },
    Category { tag: "@dangerous", contains: |row| row.has(Flag::Admin) || row.has(Flag::Dangerous) },
    Category { tag: "@connection", contains: |row| is_of(row, Group::Connection) || row.has(Flag::Connection) },
    Category { tag: "@transaction", contains: |row| is_of(row, Group::Transactions) },
    Category { tag: "@scripting", contains: |row| is_of(row, Group::Scripting) },
];

/// The position that stands for all commands that will exist one day: in the set of a user who may do everything but what
/// it says, and not in that of a user who may do nothing but what it says.
pub const FUTURE: usize = CommandSet::CAPACITY - 1;

/// A mere container has no group of its own, as in Redis.
fn is_of(row: &Row, group: Group) -> bool {
    row.group == group && !matches!(row.handler, Handler::Container(_))
}

/// The category of this name (without the `@`), in any case.
#[must_use]
pub fn named(name: &[u8]) -> Option<&'static Category> {
    CATEGORIES.iter().find(|category| category.name().as_bytes().eq_ignore_ascii_case(name))
}

/// The categories of a row, in Redis's order.
pub fn of(row: &Row) -> impl Iterator<Item = &'static Category> {
    CATEGORIES.iter().filter(move |category| (category.contains)(row))
}

impl Category {
    /// Its name, without the `@`.
    #[must_use]
    pub fn name(&self) -> &'static str {
        &self.tag[1..]
    }

    /// Its rows, each container before its subcommands.
    pub fn rows(&'static self) -> impl Iterator<Item = &'static Row> {
        table::every_row().filter(|row| (self.contains)(row))
    }

    /// Allows or forbids all of it.
    pub fn set(&'static self, selector: &mut Selector, is_allowed: bool) {
        selector.commands.set(self.future(), is_allowed);
        for row in self.rows() {
            set_command(selector, row, is_allowed);
        }
    }

    /// Whether a selector allows what this category will hold one day.
    #[must_use]
    pub fn allows_future(&self, selector: &Selector) -> bool {
        selector.commands.contains(self.future())
    }

    /// The position that stands for its commands that do not exist yet.
    fn future(&self) -> usize {
        let number = CATEGORIES.iter().position(|other| other.tag == self.tag).unwrap_or_default();
        FUTURE - 1 - number
    }
}

/// Allows or forbids a command, and with a container all its subcommands.
pub fn set_command(selector: &mut Selector, row: &'static Row, is_allowed: bool) {
    let position = table::index(row);
    selector.commands.set(position, is_allowed);
    selector.first_arguments.retain(|(other, _)| *other != position);
    for subcommand in row.subcommands() {
        selector.commands.set(table::index(subcommand), is_allowed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_and_the_categories_fit_into_a_set() {
        let positions = table::names().len() + CATEGORIES.len() + 1;
        assert!(positions <= CommandSet::CAPACITY, "{positions} positions are needed");
    }

    #[test]
    fn every_row_is_either_fast_or_slow() {
        for row in table::every_row() {
            let names: Vec<_> = of(row).map(|category| category.name()).collect();
            assert!(names.contains(&"fast") != names.contains(&"slow"), "{}: {names:?}", row.name);
        }
    }

    #[test]
    fn a_category_without_commands_is_remembered() {
        let geo = named(b"Geo").expect("a category");
        assert_eq!(geo.rows().count(), 0, "choose another category for this test");
        let mut selector = Selector::new(false);
        geo.set(&mut selector, true);
        assert!(geo.allows_future(&selector) && selector.commands != CommandSet::NONE);
        geo.set(&mut selector, false);
        assert!(selector.commands == CommandSet::NONE);
    }
}
