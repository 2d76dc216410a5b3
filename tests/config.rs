//! The settings as a whole: rows, sources, sentences, README and example files. Nothing here opens a database.

use std::ffi::OsString;
use std::io;
use std::path::Path;

use sojourn::config::{
    Command, ConfigError, Durability, Loaded, ROWS, Row, Settings, Syntax, load, markdown_table, matching,
};

const HOME: (&str, &str) = ("HOME", "/home/u");
const PERSISTENCE: &str = "Redis's persistence words are replaced by durability, which is commit or everysec";
const README_START: &str = "<!-- settings:start -->";
const README_END: &str = "<!-- settings:end -->";

/// Loads with these words after the program's name, these variables and this text as every file.
fn load_from(args: &[&str], environment: &[(&str, &str)], file: &str) -> Result<Command, ConfigError> {
    let args = std::iter::once("sojourn").chain(args.iter().copied()).map(OsString::from);
    let mut variables = vec![(HOME.0.to_owned(), HOME.1.to_owned())];
    variables.extend(environment.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())));
    load(args, &variables, |_: &Path| Ok(file.to_owned()))
}

fn served(args: &[&str], environment: &[(&str, &str)], file: &str) -> Loaded {
    match load_from(args, environment, file) {
        Ok(Command::Serve(loaded)) => *loaded,
        other => panic!("expected settings, not {other:?}"),
    }
}

fn refusal(args: &[&str], environment: &[(&str, &str)], file: &str) -> String {
    match load_from(args, environment, file) {
        Err(error) => error.to_string(),
        Ok(command) => panic!("expected a refusal, not {command:?}"),
    }
}

fn shown(settings: &Settings, row: &Row) -> String {
    (row.show)(settings)
}

#[test]
fn every_default_parses_and_shows_equal() {
    for row in ROWS {
        let mut settings = Settings::default();
        row.parse_into(&mut settings, row.default).unwrap_or_else(|error| panic!("{}: {error}", row.name));
        assert_eq!(settings, Settings::default(), "{}", row.name);
        let again = shown(&settings, row);
        // A size is shown in bytes, as Redis shows it, and half of the memory as one.
        if !matches!(row.syntax, Syntax::Bytes { .. }) && row.name != "maxmemory" {
            assert_eq!(again, row.default, "{}", row.name);
        }
        row.parse_into(&mut settings, &again).unwrap_or_else(|error| panic!("{}: {error}", row.name));
        assert_eq!(shown(&settings, row), again, "{}", row.name);
    }
}

#[test]
fn rows_follow_the_rules_of_rows() {
    for (position, row) in ROWS.iter().enumerate() {
        assert!(row.name.bytes().all(|letter| letter.is_ascii_lowercase() || letter == b'-'), "{}", row.name);
        assert!(ROWS[..position].iter().all(|other| other.name != row.name), "{} twice", row.name);
        assert!(!row.help.ends_with('.') && !row.help.contains('|'), "{}", row.name);
        assert!(!row.syntax.expected().contains('|'), "{}", row.name);
    }
}

#[test]
fn bounds_hold_at_their_edges() {
    for row in ROWS {
        let (min, max, unit) = match row.syntax {
            Syntax::Integer { min, max } => (i128::from(min), i128::from(max), ""),
            Syntax::Bytes { min, max } => (min.into(), max.into(), ""),
            Syntax::Duration { min_ms, max_ms } => (min_ms.into(), max_ms.into(), "ms"),
            Syntax::Choice(_) | Syntax::YesNo | Syntax::Text { .. } | Syntax::List { .. } => continue,
        };
        let takes = |value: i128| row.parse_into(&mut Settings::default(), &format!("{value}{unit}")).is_ok();
        assert!(takes(min) && takes(max), "{} takes its bounds", row.name);
        assert!(!takes(min - 1), "{} below", row.name);
        assert!(!takes(max + 1), "{} above", row.name);
    }
}

#[test]
fn choices_are_all_taken_and_nothing_else() {
    for row in ROWS {
        let Syntax::Choice(names) = row.syntax else { continue };
        for name in names() {
            let mut settings = Settings::default();
            row.parse_into(&mut settings, name).unwrap_or_else(|error| panic!("{}: {error}", row.name));
            assert_eq!(shown(&settings, row), name);
        }
        assert!(row.parse_into(&mut Settings::default(), "maybe").is_err(), "{}", row.name);
    }
}

#[test]
fn flag_beats_environment_beats_file_beats_default() {
    let file = "port = 1\nmaxclients = 1\ndatabases = 1\n";
    let loaded =
        served(&["--config", "x.toml", "--port", "3"], &[("SOJOURN_PORT", "2"), ("SOJOURN_MAXCLIENTS", "2")], file);
    let settings = &loaded.settings;
    assert_eq!((settings.port, settings.maxclients, settings.databases, settings.prune_batch), (3, 2, 1, 1000));
    assert!(loaded.explicit.contains("databases") && !loaded.explicit.contains("prune-batch"));
}

#[test]
fn every_setting_can_come_from_every_source() {
    for row in ROWS {
        let value = row.default;
        let flag = format!("--{}={value}", row.name);
        let file = format!("{} = {value:?}\n", row.name);
        for loaded in [
            served(&[&flag], &[], ""),
            served(&[], &[(&row.variable(), value)], ""),
            served(&["--config", "x.toml"], &[], &file),
        ] {
            assert!(loaded.explicit.contains(row.name), "{}", row.name);
            assert_eq!(shown(&loaded.settings, row), shown(&Settings::default(), row), "{}", row.name);
            assert_eq!(loaded.warnings, Vec::<String>::new());
        }
    }
}

#[test]
fn the_file_may_use_its_own_types() {
    let file = "port = 6380\nprotected-mode = false\nbind = [\"127.0.0.1\", \"::1\"]\ntouch-interval = 5\n\
                create-tables = true\nproto-max-bulk-len = \"2mb\"\n[session-table]\n\"sess:\" = \"session\"\n\"\" = \"app.user_sessions\"\n";
    let settings = served(&["--config", "x.toml"], &[], file).settings;
    assert_eq!((settings.port, settings.protected_mode, settings.create_tables), (6380, false, true));
    assert_eq!(settings.bind.len(), 2);
    assert_eq!(settings.touch_interval.as_secs(), 5);
    let mut tables: Vec<_> =
        settings.session_tables.iter().map(|name| format!("{}>{}", name.prefix, name.table)).collect();
    tables.sort();
    assert_eq!(tables, [">app.user_sessions", "sess:>session"]);
}

#[test]
fn session_tables_may_be_repeated_and_prefixes_may_be_empty_or_hold_an_equals_sign() {
    let args = ["--session-table", "a=b:=session", "--session-table", "=user_sessions"];
    let tables = served(&args, &[], "").settings.session_tables;
    let tables: Vec<_> = tables.iter().map(|name| (name.prefix.as_str(), name.table.as_str())).collect();
    assert_eq!(tables, [("a=b:", "session"), ("", "user_sessions")]);
    let from_environment = served(&[], &[("SOJOURN_SESSION_TABLE", "x:=one y:=two")], "").settings.session_tables;
    assert_eq!(from_environment.len(), 2);
}

#[test]
fn schema_and_check_take_the_flags_on_either_side() {
    for word in ["schema", "check"] {
        for args in [[word, "--database-url", "memory://"], ["--database-url", "memory://", word]] {
            match (word, load_from(&args, &[], "")) {
                ("schema", Ok(Command::Schema(loaded))) | ("check", Ok(Command::Check(loaded))) => {
                    assert!(loaded.settings.is_memory_only());
                }
                other => panic!("expected {word}, not {other:?}"),
            }
        }
    }
}

#[test]
fn a_bad_flag_is_one_sentence_that_names_the_setting_and_the_choices() {
    let place = "session-table: expected PREFIX=TABLE or PREFIX=SCHEMA.TABLE, such as sess:=session or =user_sessions";
    let session_table = format!("{place}, not \"session\" (given by --session-table)");
    let cases: [(&[&str], &str); 11] = [
        (&["--port", "70000"], "port: expected a number from 0 to 65535, not \"70000\" (given by --port)"),
        (&["--port", "-1"], "port: expected a number from 0 to 65535, not \"-1\" (given by --port)"),
        (&["--port"], "port: expected a number from 0 to 65535 after --port"),
        (
            &["--durability", "always"],
            "durability: expected commit or everysec, not \"always\" (given by --durability)",
        ),
        (
            &["--database-url", "mysql://u:hunter2@h/db"],
            "database-url: expected postgres://…, sqlite://path or memory:// (given by --database-url)",
        ),
        (&["--session-table", "session"], &session_table),
        (
            &["--touch-interval", "2h"],
            "touch-interval: expected a duration from 0s to 3600s, such as 500ms, 60s or 2m, not \"2h\" (given by --touch-interval)",
        ),
        (&["--prot", "1"], "prot: no such setting (given by --prot); did you mean port?"),
        (&["--appendonly", "yes"], &format!("appendonly: no such setting (given by --appendonly); {PERSISTENCE}")),
        (
            &["redis.conf"],
            "\"redis.conf\" is not understood; expected flags such as --port 6379, --config FILE or the words schema and check",
        ),
        (&["--config"], "config: expected the path of a TOML file after --config, once"),
    ];
    for (args, sentence) in cases {
        assert_eq!(refusal(args, &[], ""), sentence);
    }
}

#[test]
fn a_bad_variable_is_one_sentence_that_names_the_setting_and_the_choices() {
    for (variable, sentence) in [
        (
            ("SOJOURN_BIND", "example.com"),
            "bind: expected one to 16 IP addresses such as 127.0.0.1, ::1 or 0.0.0.0, not \"example.com\" (given by SOJOURN_BIND)",
        ),
        (
            ("SOJOURN_LOG_LEVEL", "verbose"),
            "log-level: expected error, warn, info, debug or trace, not \"verbose\" (given by SOJOURN_LOG_LEVEL)",
        ),
    ] {
        assert_eq!(refusal(&[], &[variable], ""), sentence);
    }
}

#[test]
fn a_bad_file_is_one_sentence_that_names_the_setting_and_the_choices() {
    let refusal = |file: &str| refusal(&["--config", "x.toml"], &[], file);
    for (file, sentence) in [
        ("touch_interval = 5", "touch_interval: no such setting (given by x.toml); did you mean touch-interval?"),
        ("save = \"\"", &format!("save: no such setting (given by x.toml); {PERSISTENCE}")),
        ("port = 1.5", "port: expected a number from 0 to 65535 (given by x.toml)"),
        ("databases = 17", "databases: expected a number from 1 to 16, not \"17\" (given by x.toml)"),
    ] {
        assert_eq!(refusal(file), sentence);
    }
    let unknown = refusal("daemonize = true");
    assert!(unknown.contains("the settings are bind, port, tls-port"), "{unknown}");
    let not_toml = refusal("port = 1\nbind =\n");
    assert!(not_toml.starts_with("config: x.toml is not TOML: ") && not_toml.ends_with("in line 2"), "{not_toml}");
}

#[test]
fn no_sentence_holds_a_database_password() {
    for url in ["postgres://u:hunter2@h:port/db", "postgres://u:hunter2@h/db?sslmode=on", "hunter2"] {
        let sentence = refusal(&["--database-url", url], &[], "");
        assert!(sentence.starts_with("database-url: ") && !sentence.contains("hunter2"), "{sentence}");
    }
}

#[test]
fn a_file_that_cannot_be_read_is_named() {
    let args = ["sojourn", "--config", "gone.toml"].map(OsString::from);
    let gone = |_: &Path| Err(io::Error::from(io::ErrorKind::NotFound));
    let error = load(args, &[], gone).expect_err("there is no file").to_string();
    assert!(error.starts_with("config: cannot read gone.toml: "), "{error}");
}

#[test]
fn the_default_database_lies_in_the_state_directory_or_is_asked_for() {
    let url = |environment: &[(&str, &str)]| served(&[], environment, "").settings.database_url.expose().to_owned();
    assert_eq!(url(&[]), "sqlite:///home/u/.local/state/sojourn/sojourn.db");
    assert_eq!(url(&[("STATE_DIRECTORY", "/var/lib/sojourn")]), "sqlite:///var/lib/sojourn/sojourn.db");
    let nowhere = |_: &Path| Ok(String::new());
    let error = load(["sojourn".into()], &[], nowhere).expect_err("no directory is known").to_string();
    assert!(error.starts_with("database-url: no state directory is known"), "{error}");
    let args = ["sojourn", "--database-url", "memory://"].map(OsString::from);
    assert!(load(args, &[], nowhere).is_ok());
}

#[test]
fn unknown_variables_only_warn() {
    let loaded = served(&[], &[("SOJOURN_PROT", "1"), ("SOJOURN_APPENDONLY", "yes"), ("OTHER", "1")], "");
    assert_eq!(loaded.warnings.len(), 2);
    assert!(loaded.warnings[0].contains("SOJOURN_PROT") && loaded.warnings[0].contains("did you mean port?"));
    assert!(loaded.warnings[1].contains("durability"), "{:?}", loaded.warnings);
}

#[test]
fn what_kubernetes_injects_is_ignored_with_a_warning() {
    let injected = [
        ("SOJOURN_PORT", "tcp://10.0.0.1:6379"),
        ("SOJOURN_PORT_6379_TCP", "tcp://10.0.0.1:6379"),
        ("SOJOURN_PORT_6379_TCP_ADDR", "10.0.0.1"),
        ("SOJOURN_SERVICE_HOST", "10.0.0.1"),
        ("SOJOURN_SERVICE_PORT", "6379"),
    ];
    let loaded = served(&[], &injected, "");
    assert_eq!(loaded.settings.port, 6379);
    assert_eq!(loaded.warnings.len(), 1);
    assert!(
        loaded.warnings[0].starts_with("SOJOURN_PORT, SOJOURN_PORT_6379_TCP, ")
            && loaded.warnings[0].contains("Kubernetes")
    );
}

#[test]
fn help_shows_every_setting_with_its_default() {
    let Ok(Command::Print(help)) = load_from(&["--help"], &[], "") else { panic!("expected the help") };
    for row in ROWS {
        assert!(help.contains(&format!("--{} <", row.name)), "{} is not in {help}", row.name);
    }
    assert!(help.contains("[default: 127.0.0.1:9379]") && help.contains("schema"), "{help}");
    assert!(matches!(load_from(&["--version"], &[], ""), Ok(Command::Print(text)) if text.starts_with("sojourn ")));
}

#[test]
fn config_get_shows_every_setting() {
    let all = matching(&Settings::default(), |_| true);
    assert!(ROWS.iter().all(|row| all.iter().any(|(name, _)| *name == row.name)));
    let asked = ["databases", "maxclients", "maxmemory", "save", "appendonly", "timeout", "replica-read-only"];
    let also = ["notify-keyspace-events", "slowlog-max-len", "client-output-buffer-limit", "io-threads"];
    assert!(asked.iter().chain(&also).all(|wanted| all.iter().any(|(name, _)| name == wanted)));
}

#[test]
fn a_file_may_use_the_older_name_of_a_setting() {
    let settings = served(&["--config", "x.toml"], &[], "lua-time-limit = 7\n").settings;
    assert_eq!(settings.busy_reply_threshold_ms, 7);
}

#[test]
fn a_password_may_start_with_a_dash() {
    let settings = served(&["--requirepass", "-hunter2", "--port", "1"], &[], "").settings;
    assert_eq!(settings.requirepass.map(|secret| secret.expose().to_owned()).as_deref(), Some("-hunter2"));
    assert_eq!(settings.port, 1);
}

#[test]
fn the_password_may_stand_in_a_file_but_not_twice() {
    let from = |text: &'static str, args: &[&str]| {
        let args = ["sojourn", "--requirepass-file", "/run/secrets/redis"].into_iter().chain(args.iter().copied());
        load(args.map(OsString::from), &[(HOME.0.to_owned(), HOME.1.to_owned())], |_: &Path| Ok(text.to_owned()))
    };
    for (text, password) in [("pw", "pw"), ("pw\n", "pw"), ("pw\r\n", "pw"), (" p\nw \n\n", " p\nw \n")] {
        let Ok(Command::Serve(loaded)) = from(text, &[]) else { panic!("{text:?} is refused") };
        assert_eq!(loaded.settings.password(), Some(password.as_bytes()), "{text:?}");
    }
    for (text, args, part) in [
        ("hunter2", &["--requirepass", "hunter3"][..], "requirepass is given too"),
        ("", &[], "/run/secrets/redis holds no password"),
        ("\n", &[], "/run/secrets/redis holds no password"),
    ] {
        let refusal = from(text, args).expect_err("a refusal").to_string();
        assert!(refusal.starts_with("requirepass-file: ") && refusal.contains(part), "{refusal}");
        assert!(!refusal.contains("hunter"), "{refusal}");
    }
}

#[test]
fn metrics_can_be_switched_off() {
    for off in ["off", ""] {
        assert_eq!(served(&["--metrics-addr", off], &[], "").settings.metrics_addr, None);
    }
    assert!(!served(&[], &[], "").explicit.contains("metrics-addr"));
}

#[test]
fn the_example_files_are_good() {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("config");
    let files = std::fs::read_dir(directory).expect("the directory").map(|entry| entry.expect("a file").path());
    let mut names: Vec<String> = Vec::new();
    for path in files.filter(|path| path.extension().is_some_and(|extension| extension == "toml")) {
        let text = std::fs::read_to_string(&path).expect("its text");
        let loaded = served(&["--config", "x.toml"], &[], &text);
        assert!(!loaded.explicit.is_empty(), "{}", path.display());
        names.push(path.file_name().expect("a name").to_string_lossy().into_owned());
        if names.last().is_some_and(|name| name == "production.toml" || name == "high-security.toml") {
            assert_eq!(loaded.settings.durability, Durability::Commit);
            assert!(loaded.settings.database_url.expose().starts_with("postgres://"));
        }
    }
    names.sort();
    assert_eq!(names, ["development.toml", "high-security.toml", "production.toml"]);
}

/// `UPDATE_README=1 cargo test --test config` writes the table.
#[test]
fn the_readme_shows_the_settings_as_they_are() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("README.md");
    let readme = std::fs::read_to_string(&path).expect("the README");
    let (before, rest) = readme.split_once(README_START).expect("the start marker");
    let (table, after) = rest.split_once(README_END).expect("the end marker");
    let wanted = format!("\n{}", markdown_table());
    if std::env::var_os("UPDATE_README").is_some() {
        std::fs::write(&path, format!("{before}{README_START}{wanted}{README_END}{after}"))
            .expect("the README is written");
    } else {
        assert_eq!(table, wanted, "run UPDATE_README=1 cargo test --test config");
    }
}
