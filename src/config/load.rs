//! Where settings come from: flags beat the environment, which beats the file, which beats the defaults. Every value
//! that was given is checked, also one that another source beats: a mistake must not wait for the day it counts.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::io;
use std::path::{Path, PathBuf};

use clap::error::{ContextKind, ErrorKind};
use toml::Value;

use super::rows::ALIASES;
use super::value::{Invalid, Secret, Syntax};
use super::{Command, Loaded, ROWS, Row, Settings, database_url, document};

/// The flag that names the file; it is no setting, since a file cannot name itself.
pub(super) const CONFIG_FLAG: &str = "config";
/// What the environment's names start with.
const VARIABLE_PREFIX: &str = "SOJOURN_";
/// How many letters may be wrong for a name to be suggested; never more than half of them.
const TYPING_ERRORS_MAX: usize = 3;
/// The words of redis.conf that another setting replaces.
const REPLACED_BY_DURABILITY: &[&str] = &["appendonly", "appendfsync", "save"];

/// Why the start ends with exit code 2; each displays as one sentence.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ConfigError {
    /// A value that its setting does not take.
    #[error("{setting}: {problem} (given by {place})")]
    Invalid {
        /// The setting's name.
        setting: &'static str,
        /// What was expected.
        problem: String,
        /// The flag, variable or file.
        place: String,
    },
    /// A name that no setting has.
    #[error("{name}: no such setting (given by {place}); {hint}")]
    Unknown {
        /// The name as given.
        name: String,
        /// The flag or file.
        place: String,
        /// What may have been meant.
        hint: String,
    },
    /// The file cannot be read.
    #[error("config: {0}")]
    File(String),
    /// The file with a password or a token is no use.
    #[error("{setting}-file: {problem}")]
    SecretFile {
        /// The setting that it should hold.
        setting: &'static str,
        /// What is wrong with it.
        problem: String,
    },
    /// No default place for the database is known.
    #[error(
        "database-url: no state directory is known, since neither STATE_DIRECTORY, XDG_STATE_HOME nor HOME is set; expected postgres://…, sqlite://path or memory://"
    )]
    NoStateDirectory,
    /// The command line is no use.
    #[error("{0}")]
    Usage(String),
}

impl ConfigError {
    /// Whether the mistake is in the command line, and not in what stands behind it.
    #[must_use]
    pub fn is_of_command_line(&self) -> bool {
        match self {
            Self::Usage(_) => true,
            Self::Invalid { place, .. } | Self::Unknown { place, .. } => place.starts_with("--"),
            Self::File(_) | Self::SecretFile { .. } | Self::NoStateDirectory => false,
        }
    }
}

/// A value as some source gave it.
struct Found {
    row: &'static Row,
    text: String,
    place: String,
}

/// Reads flags (the program's name first), environment and file.
///
/// # Errors
/// One sentence for the first mistake.
pub fn load(
    args: impl IntoIterator<Item = OsString>,
    environment: &[(String, String)],
    read_file: impl Fn(&Path) -> io::Result<String>,
) -> Result<Command, ConfigError> {
    let mut matches = match document::command_line().try_get_matches_from(args) {
        Ok(matches) => matches,
        Err(error) if [ErrorKind::DisplayHelp, ErrorKind::DisplayVersion].contains(&error.kind()) => {
            return Ok(Command::Print(error.render().to_string()));
        }
        Err(error) => return Err(usage_error(&error)),
    };
    let asked = matches.subcommand_name().map(str::to_owned);
    let file = matches.remove_one::<String>(CONFIG_FLAG);
    let from_file = match &file {
        Some(path) => from_file(path, &read_file)?,
        None => Vec::new(),
    };
    let (mut beyond_file, warnings) = from_environment(environment);
    beyond_file.extend(from_flags(&mut matches));
    let names = beyond_file.iter().map(|found| found.row.name).collect();
    let (mut settings, explicit) = apply(from_file.into_iter().chain(beyond_file))?;
    let Settings { requirepass, requirepass_file, metrics_token, metrics_token_file, .. } = &mut settings;
    read_secret("requirepass", requirepass, requirepass_file.as_deref(), &read_file)?;
    read_secret("metrics-token", metrics_token, metrics_token_file.as_deref(), &read_file)?;
    if !explicit.contains("database-url") {
        settings.database_url = default_database(environment)?;
    }
    let loaded = Loaded { settings, warnings, explicit, beyond_file: names, file: file.map(PathBuf::from) };
    let loaded = Box::new(loaded);
    Ok(match asked.as_deref() {
        Some(document::SCHEMA) => Command::Schema(loaded),
        Some(document::CHECK) => Command::Check(loaded),
        Some(_) | None => Command::Serve(loaded),
    })
}

fn apply(found: impl Iterator<Item = Found>) -> Result<(Settings, BTreeSet<&'static str>), ConfigError> {
    let mut settings = Settings::default();
    let mut explicit = BTreeSet::new();
    for Found { row, text, place } in found {
        row.parse_into(&mut settings, &text).map_err(|invalid| refused(row, &text, place, invalid))?;
        explicit.insert(row.name);
    }
    Ok((settings, explicit))
}

/// The sentence of a refusal. A URL is not repeated: it may hold a password.
fn refused(row: &'static Row, text: &str, place: String, invalid: Invalid) -> ConfigError {
    let expected = match invalid {
        Invalid::NotExpected(expected) => expected,
        Invalid::NotAnInteger
        | Invalid::OutOfRange { .. }
        | Invalid::NotASize
        | Invalid::NotYesNo
        | Invalid::Fault(_)
        | Invalid::NotAChoice(_) => row.syntax.expected(),
    };
    let but = if row.name == "database-url" { String::new() } else { format!(", not {text:?}") };
    ConfigError::Invalid { setting: row.name, problem: format!("expected {expected}{but}"), place }
}

/// `requirepass-file` is another way to say `requirepass`, and so with others.
fn read_secret(
    setting: &'static str,
    secret: &mut Option<Secret>,
    file: Option<&str>,
    read_file: impl Fn(&Path) -> io::Result<String>,
) -> Result<(), ConfigError> {
    let Some(path) = file else { return Ok(()) };
    let refused = |problem: String| ConfigError::SecretFile { setting, problem };
    if secret.is_some() {
        return Err(refused(format!("{setting} is given too; one of the two is enough")));
    }
    let text = read_file(Path::new(path)).map_err(|error| refused(format!("cannot read {path}: {error}")))?;
    let line = text.strip_suffix('\n').unwrap_or(&text);
    let found = line.strip_suffix('\r').unwrap_or(line);
    if found.is_empty() {
        let what = if setting == "requirepass" { "password" } else { "token" };
        return Err(refused(format!("{path} holds no {what}")));
    }
    *secret = Some(Secret::new(found));
    Ok(())
}

fn default_database(environment: &[(String, String)]) -> Result<Secret, ConfigError> {
    let find = |wanted: &str| environment.iter().find(|(name, _)| name == wanted).map(|(_, value)| value.clone());
    database_url::in_state_directory(find).map(Secret::new).ok_or(ConfigError::NoStateDirectory)
}

fn from_flags(matches: &mut clap::ArgMatches) -> Vec<Found> {
    let mut read = |row: &'static Row| {
        let words: Vec<String> = matches.remove_many(row.name)?.collect();
        Some(Found { row, text: words.join(" "), place: format!("--{}", row.name) })
    };
    ROWS.iter().filter_map(&mut read).collect()
}

/// The settings among the variables, and a warning for each name that is like one but is none.
fn from_environment(environment: &[(String, String)]) -> (Vec<Found>, Vec<String>) {
    let (mut found, mut warnings, mut injected) = (Vec::new(), Vec::new(), Vec::new());
    for (name, value) in environment.iter().filter(|(name, _)| name.starts_with(VARIABLE_PREFIX)) {
        if is_injected(name, value) {
            injected.push(name.as_str());
        } else if let Some(row) = ROWS.iter().find(|row| row.variable() == *name) {
            found.push(Found { row, text: spelled_for(row, value), place: name.clone() });
        } else {
            warnings.push(format!("{name} is ignored: no such setting; {}", variable_hint(name)));
        }
    }
    if !injected.is_empty() {
        let names = injected.join(", ");
        warnings.push(format!("{names}: ignored, as Kubernetes makes such variables for a Service named sojourn"));
    }
    (found, warnings)
}

/// Kubernetes gives every container addresses of the Services around it: `SOJOURN_PORT=tcp://10.0.0.1:6379` and more.
fn is_injected(name: &str, value: &str) -> bool {
    let is_address = ["tcp://", "udp://", "sctp://"].iter().any(|scheme| value.starts_with(scheme));
    let is_numbered =
        name.split_once("_PORT_").is_some_and(|(_, tail)| tail.starts_with(|letter: char| letter.is_ascii_digit()));
    let is_port = name.ends_with("_PORT") && is_address;
    is_port || is_numbered || name.contains("_SERVICE_HOST") || name.contains("_SERVICE_PORT")
}

fn variable_hint(name: &str) -> String {
    hint(&name[VARIABLE_PREFIX.len()..].replace('_', "-").to_ascii_lowercase())
}

/// The environment and the file may say `true` where Redis's words are yes and no.
fn spelled_for(row: &Row, text: &str) -> String {
    match (row.syntax, text) {
        (Syntax::YesNo, "true") => "yes".to_owned(),
        (Syntax::YesNo, "false") => "no".to_owned(),
        (_, text) => text.to_owned(),
    }
}

fn from_file(path: &str, read_file: impl Fn(&Path) -> io::Result<String>) -> Result<Vec<Found>, ConfigError> {
    let text = read_file(Path::new(path)).map_err(|error| ConfigError::File(format!("cannot read {path}: {error}")))?;
    let table: toml::Table = text.parse().map_err(|error| not_toml(path, &text, &error))?;
    let found = |(name, value): (&String, &Value)| {
        let alias = ALIASES.iter().find(|(alias, _)| alias == name).map(|(_, name)| *name);
        let known = ROWS.iter().find(|row| row.name == name || alias == Some(row.name));
        let row = known.ok_or_else(|| unknown(name, path))?;
        let text = file_text(row, value).ok_or_else(|| ConfigError::Invalid {
            setting: row.name,
            problem: format!("expected {}", row.syntax.expected()),
            place: path.to_owned(),
        })?;
        Ok(Found { row, text, place: path.to_owned() })
    };
    table.iter().map(found).collect()
}

/// A value of the file as text; `None` if its type fits no setting of this syntax.
fn file_text(row: &Row, value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(spelled_for(row, text)),
        Value::Integer(number) => Some(number.to_string()),
        Value::Boolean(yes) => Some(spelled_for(row, &yes.to_string())),
        Value::Array(values) if row.is_list() => {
            Some(values.iter().map(Value::as_str).collect::<Option<Vec<_>>>()?.join(" "))
        }
        Value::Table(pairs) if row.name == "session-table" => {
            let pair = |(prefix, table): (&String, &Value)| Some(format!("{prefix}={}", table.as_str()?));
            Some(pairs.iter().map(pair).collect::<Option<Vec<_>>>()?.join(" "))
        }
        Value::Array(_) | Value::Table(_) | Value::Float(_) | Value::Datetime(_) => None,
    }
}

fn not_toml(path: &str, text: &str, error: &toml::de::Error) -> ConfigError {
    let before = error.span().and_then(|span| text.get(..span.start)).unwrap_or_default();
    let line = before.matches('\n').count() + 1;
    let message = error.message().replace('\n', ", ");
    ConfigError::File(format!("{path} is not TOML: {message} in line {line}"))
}

fn unknown(name: &str, place: &str) -> ConfigError {
    ConfigError::Unknown { name: name.to_owned(), place: place.to_owned(), hint: hint(name) }
}

/// What may have been meant by a name that no setting has.
fn hint(name: &str) -> String {
    if REPLACED_BY_DURABILITY.contains(&name) {
        return "Redis's persistence words are replaced by durability, which is commit or everysec".to_owned();
    }
    let nearest = ROWS.iter().map(|row| (distance(name, row.name), row.name)).min();
    match nearest {
        Some((errors, near)) if errors <= TYPING_ERRORS_MAX.min(name.len() / 2) => format!("did you mean {near}?"),
        Some(_) | None => {
            format!("the settings are {}", ROWS.iter().map(|row| row.name).collect::<Vec<_>>().join(", "))
        }
    }
}

/// How many letters must be put in, taken out or replaced to make one name of the other.
fn distance(left: &str, right: &str) -> usize {
    let mut above: Vec<usize> = (0..=right.chars().count()).collect();
    for (row, letter) in left.chars().enumerate() {
        let mut diagonal = row;
        above[0] = row + 1;
        for (column, other) in right.chars().enumerate() {
            let replaced = diagonal + usize::from(letter != other);
            diagonal = above[column + 1];
            above[column + 1] = replaced.min(diagonal + 1).min(above[column] + 1);
        }
    }
    above.last().copied().unwrap_or_default()
}

/// One sentence instead of clap's several lines.
fn usage_error(error: &clap::Error) -> ConfigError {
    let context = |kind| error.get(kind).map(ToString::to_string).unwrap_or_default();
    let argument = context(ContextKind::InvalidArg);
    let flag = argument.split_whitespace().next().unwrap_or_default();
    let name = flag.split('=').next().unwrap_or_default().trim_start_matches('-');
    if error.kind() == ErrorKind::UnknownArgument && flag.starts_with("--") {
        return unknown(name, flag);
    }
    if let Some(row) = Row::named(name) {
        return ConfigError::Usage(format!("{}: expected {} after --{}", row.name, row.syntax.expected(), row.name));
    }
    let word = format!("{argument}{}", context(ContextKind::InvalidSubcommand));
    ConfigError::Usage(match name {
        CONFIG_FLAG => "config: expected the path of a TOML file after --config, once".to_owned(),
        _ => {
            format!(
                "{word:?} is not understood; expected flags such as --port 6379, --config FILE or the words schema and check"
            )
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn distance_counts_letters() {
        assert_eq!(distance("port", "port"), 0);
        assert_eq!(distance("touch_interval", "touch-interval"), 1);
        assert_eq!(distance("", "bind"), 4);
        assert_eq!(distance("prot", "port"), 2);
    }

    #[test]
    fn what_kubernetes_injects_is_known() {
        for (name, value) in [
            ("SOJOURN_PORT", "tcp://10.0.0.1:6379"),
            ("SOJOURN_PORT_6379_TCP", "tcp://10.0.0.1:6379"),
            ("SOJOURN_PORT_6379_TCP_ADDR", "10.0.0.1"),
            ("SOJOURN_SERVICE_HOST", "10.0.0.1"),
            ("SOJOURN_SERVICE_PORT", "6379"),
            ("SOJOURN_SERVICE_PORT_METRICS", "9379"),
        ] {
            assert!(is_injected(name, value), "{name}");
        }
        for (name, value) in [("SOJOURN_PORT", "6379"), ("SOJOURN_BIND", "0.0.0.0"), ("SOJOURN_TCP_KEEPALIVE", "60")] {
            assert!(!is_injected(name, value), "{name}");
        }
    }
}
