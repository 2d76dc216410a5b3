//! No row of the command table is missing in the scripts, and no option of its syntax.

use std::collections::HashSet;

use sojourn::commands::table::{self, Group, Handler, Row};

use crate::SCRIPTS;
use crate::script::{Action, parse};

/// The commands of all scripts, as lower-case words.
fn script_commands() -> Vec<Vec<String>> {
    let steps = SCRIPTS.iter().flat_map(|(name, text)| parse(name, text));
    let commands = steps.filter_map(|step| match step.action {
        Action::Command(words) => Some(words),
        Action::Raw(_) | Action::Push | Action::Closed | Action::Wait(_) => None,
    });
    commands.map(|words| words.iter().map(|word| String::from_utf8_lossy(word).to_lowercase()).collect()).collect()
}

#[test]
fn every_command_over_a_value_meets_values_of_other_kinds() {
    let (name, text) = SCRIPTS.iter().find(|(name, _)| *name == "types").expect("the script of kinds");
    let called: HashSet<Vec<u8>> = parse(name, text)
        .into_iter()
        .filter_map(|step| match step.action {
            Action::Command(words) => words.first().map(|word| word.to_ascii_lowercase()),
            Action::Raw(_) | Action::Push | Action::Closed | Action::Wait(_) => None,
        })
        .collect();
    let over_a_value = table::all().filter(|row| matches!(row.group, Group::String | Group::Hash | Group::Set));
    let missing: Vec<_> =
        over_a_value.filter(|row| !called.contains(row.name.as_bytes())).map(|row| row.name).collect();
    assert!(missing.is_empty(), "no line of the script of kinds calls {missing:?}");
}

/// Each row with the words that call it.
fn called_rows() -> Vec<(Vec<&'static str>, &'static Row)> {
    let mut rows = Vec::new();
    for row in table::all() {
        rows.push((vec![row.name], row));
        if let Handler::Container(subcommands) | Handler::ContainerOrAlone(subcommands, _) = row.handler {
            rows.extend(subcommands.iter().map(|subcommand| (vec![row.name, subcommand.name], subcommand)));
        }
    }
    rows
}

#[test]
fn every_row_of_the_table_stands_in_a_script() {
    let commands = script_commands();
    let missing: Vec<_> = called_rows()
        .into_iter()
        .filter(|(name, _)| !commands.iter().any(|words| words.starts_with_words(name)))
        .collect();
    assert!(missing.is_empty(), "no script line calls {:?}", missing.iter().map(|(name, _)| name).collect::<Vec<_>>());
}

#[test]
fn every_option_of_every_syntax_stands_in_a_script() {
    let commands = script_commands();
    let mut missing = Vec::new();
    for (name, row) in called_rows() {
        let words: HashSet<_> =
            commands.iter().filter(|words| words.starts_with_words(&name)).flatten().map(String::as_str).collect();
        let options = row.syntax.split(|byte: char| !byte.is_ascii_alphanumeric() && byte != '-' && byte != '_');
        let options =
            options.filter(|word| !word.is_empty() && !word.contains(|letter: char| letter.is_ascii_lowercase()));
        missing.extend(
            options
                .filter(|option| !words.contains(option.to_lowercase().as_str()))
                .map(|option| format!("{name:?} {option}")),
        );
    }
    assert!(missing.is_empty(), "no script line uses {missing:?}");
}

trait StartsWithWords {
    fn starts_with_words(&self, words: &[&str]) -> bool;
}

impl StartsWithWords for Vec<String> {
    fn starts_with_words(&self, words: &[&str]) -> bool {
        self.len() >= words.len() && self.iter().zip(words).all(|(one, other)| one == other)
    }
}
