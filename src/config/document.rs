//! What is written for people about the settings, all of it from the rows: the flags with `--help`, and the README's
//! table. A sentence about a setting that stands only here would soon be wrong.

use clap::{Arg, ArgAction, Command, value_parser};

use super::load::CONFIG_FLAG;
use super::{Changes, ROWS, Row, Syntax};

/// The words that ask for something else than a server.
pub(super) const SCHEMA: &str = "schema";
pub(super) const CHECK: &str = "check";

const CONFIG_HELP: &str = "TOML file with settings, each under its name below";

/// The flags of every row, `schema` and `check`.
pub(super) fn command_line() -> Command {
    let config = Arg::new(CONFIG_FLAG)
        .long(CONFIG_FLAG)
        .value_name("FILE")
        .help(CONFIG_HELP)
        .action(ArgAction::Set)
        .value_parser(value_parser!(String))
        .global(true);
    Command::new("sojourn")
        .version(env!("CARGO_PKG_VERSION"))
        .about("A session server: speaks the Redis protocol and writes sessions through to SQL before it replies")
        .after_help(
            "A flag beats the environment (SOJOURN_PORT for port, and so on), which beats the file.\n\
             Durations are such as 500ms, 60s, 2m, or plain seconds.",
        )
        .args_override_self(true)
        .disable_help_subcommand(true)
        .arg(config)
        .args(ROWS.iter().map(flag))
        .subcommand(Command::new(SCHEMA).about("Prints the DDL and the GRANTs for the chosen database"))
        .subcommand(
            Command::new(CHECK)
                .about("Looks at everything that a start would need and says what to mend; changes nothing"),
        )
}

fn flag(row: &Row) -> Arg {
    let default = if row.default.is_empty() { "none" } else { row.default };
    Arg::new(row.name)
        .long(row.name)
        .value_name(row.syntax.placeholder())
        .help(format!("{} [default: {default}]", row.help))
        .action(if row.is_list() { ArgAction::Append } else { ArgAction::Set })
        .value_parser(value_parser!(String))
        // A password may start with a dash, and so may a number that is refused with a sentence of its own.
        .allow_hyphen_values(matches!(row.syntax, Syntax::Text { .. }))
        .allow_negative_numbers(true)
        .global(true)
}

/// The README's table of settings.
#[must_use]
pub fn markdown_table() -> String {
    let head = "| setting | value | default | meaning |\n|---|---|---|---|\n";
    let config = format!("| `{CONFIG_FLAG}` (flag only) | the path of a file | | {CONFIG_HELP} |\n");
    let rows: String = ROWS.iter().map(markdown_row).collect();
    format!("{head}{config}{rows}").replace("under its name below", "under its name in this table")
}

fn markdown_row(row: &Row) -> String {
    let at_run_time = match row.changes {
        Changes::AnyTime => " (CONFIG SET)",
        Changes::AtStart => "",
    };
    let default = if row.default.is_empty() { String::new() } else { format!("`{}`", row.default) };
    let (name, expected) = (row.name, row.syntax.expected());
    format!("| `{name}`{at_run_time} | {expected} | {default} | {} |\n", row.help)
}
