//! The commands as a table for people. Nothing is said here that the rows do not say.

use std::fmt::Write as _;

use super::{Row, all};

/// The commands as the README's table.
#[must_use]
pub fn markdown() -> String {
    let mut table = String::from("| command | what it does | group |\n|---|---|---|\n");
    for row in all() {
        match row.subcommands() {
            [] => write_line(&mut table, row.name, row),
            subcommands => {
                for subcommand in subcommands {
                    write_line(&mut table, &format!("{} {}", row.name, subcommand.name), subcommand);
                }
            }
        }
    }
    table
}

fn write_line(table: &mut String, name: &str, row: &Row) {
    let usage = format!("{} {}", name.to_ascii_uppercase(), row.syntax);
    // A bar would end the cell, even inside backticks.
    let usage = usage.trim_end().replace('|', "\\|");
    let written = writeln!(table, "| `{usage}` | {} | {} |", row.summary, row.group.name());
    debug_assert!(written.is_ok(), "a string takes all that is written");
}
