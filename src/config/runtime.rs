//! CONFIG GET and CONFIG SET: the rows, and the names of redis.conf that clients and tools ask for although Sojourn
//! has no such setting. Those are answered with what is true here, and cannot be changed.

use super::rows::ALIASES;
use super::{Changes, Durability, ROWS, Row, Settings};

/// A name of redis.conf whose value follows from how Sojourn works.
struct Fixed {
    name: &'static str,
    value: fn(&Settings) -> &'static str,
    /// The setting that does here what this one does in Redis.
    instead: Option<&'static str>,
}

/// Asked for by redis-benchmark (`save`, `appendonly`), redis_exporter, Datadog, Spring Session, RedisInsight.
const FIXED: &[Fixed] = &[
    // There are no snapshots: every write is in the database.
    Fixed { name: "save", value: |_| "", instead: Some("durability") },
    Fixed {
        name: "appendonly",
        value: |settings| if settings.is_memory_only() { "no" } else { "yes" },
        instead: Some("durability"),
    },
    Fixed { name: "appendfsync", value: appendfsync, instead: Some("durability") },
    Fixed { name: "replica-read-only", value: |_| "yes", instead: None },
    Fixed { name: "cluster-enabled", value: |_| "no", instead: None },
    Fixed { name: "io-threads", value: |_| "1", instead: None },
];

fn appendfsync(settings: &Settings) -> &'static str {
    match settings.durability {
        _ if settings.is_memory_only() => "no",
        Durability::Commit => "always",
        Durability::EverySec => "everysec",
    }
}

/// The settings whose values hold passwords.
const SECRET: &[&str] = &["requirepass", "database-url", "metrics-token"];

/// A refused CONFIG SET; `Display` is Redis's error line without the leading minus.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SetError {
    /// No setting has this name.
    #[error("ERR Unknown option or number of arguments for CONFIG SET - '{0}'")]
    Unknown(String),
    /// The setting does not take this value, or none at all now.
    #[error("ERR CONFIG SET failed (possibly related to argument '{name}') - {reason}")]
    Failed {
        /// The name as given.
        name: String,
        /// Why.
        reason: String,
    },
}

/// The names that the pattern fits (they are in lower case), with their values.
pub fn matching(settings: &Settings, glob: impl Fn(&str) -> bool) -> Vec<(&'static str, String)> {
    let rows = ROWS.iter().map(|row| (row.name, (row.show)(settings)));
    let aliases = ALIASES.iter().filter_map(|(alias, _)| Some((*alias, (Row::named(alias)?.show)(settings))));
    let fixed = FIXED.iter().map(|fixed| (fixed.name, (fixed.value)(settings).to_owned()));
    rows.chain(aliases).chain(fixed).filter(|(name, _)| glob(name)).collect()
}

/// Whether CONFIG knows this name, in any case.
#[must_use]
pub fn is_known(name: &str) -> bool {
    Row::named(name).is_some() || FIXED.iter().any(|fixed| fixed.name.eq_ignore_ascii_case(name))
}

/// Whether the value of this setting holds a password.
#[must_use]
pub fn is_secret(name: &str) -> bool {
    SECRET.iter().any(|secret| secret.eq_ignore_ascii_case(name))
}

/// Changes one setting.
///
/// # Errors
/// In Redis's words; the settings are as before.
pub fn set(settings: &mut Settings, name: &str, value: &str) -> Result<(), SetError> {
    set_all(settings, &[(name, value)])
}

/// Changes several settings, or none: as in Redis, all names are checked before any value is.
///
/// # Errors
/// In Redis's words; the settings are as before.
pub fn set_all(settings: &mut Settings, pairs: &[(&str, &str)]) -> Result<(), SetError> {
    let mut rows: Vec<&Row> = Vec::with_capacity(pairs.len());
    for (position, (name, _)) in pairs.iter().enumerate() {
        rows.push(changeable(name)?);
        // As in Redis, a setting and its alias may stand side by side.
        if pairs[..position].iter().any(|(other, _)| other.eq_ignore_ascii_case(name)) {
            return Err(failed(name, "duplicate parameter"));
        }
    }
    let mut changed = settings.clone();
    for (row, (name, value)) in rows.into_iter().zip(pairs) {
        row.parse_into(&mut changed, value).map_err(|invalid| failed(name, invalid))?;
    }
    *settings = changed;
    Ok(())
}

fn changeable(name: &str) -> Result<&'static Row, SetError> {
    if let Some(fixed) = FIXED.iter().find(|fixed| fixed.name.eq_ignore_ascii_case(name)) {
        let advice = fixed.instead.map(|instead| format!("; {instead} replaces it")).unwrap_or_default();
        return Err(failed(name, format!("can't set immutable config{advice}")));
    }
    let row = Row::named(name).ok_or_else(|| SetError::Unknown(name.to_owned()))?;
    match row.changes {
        Changes::AnyTime => Ok(row),
        Changes::AtStart => Err(failed(name, "can't set immutable config")),
    }
}

fn failed(name: &str, reason: impl ToString) -> SetError {
    SetError::Failed { name: name.to_owned(), reason: reason.to_string() }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Each line was answered by redis-server 7.0.15.
    #[test]
    fn refusals_are_in_redis_words() {
        let mut settings = Settings::default();
        for (pairs, words) in [
            (&[("fOO", "3")][..], "ERR Unknown option or number of arguments for CONFIG SET - 'fOO'"),
            (&[("foo", "1"), ("timeout", "abc")], "ERR Unknown option or number of arguments for CONFIG SET - 'foo'"),
            (&[("timeout", "1"), ("foo", "2")], "ERR Unknown option or number of arguments for CONFIG SET - 'foo'"),
            (
                &[("Databases", "5")],
                "ERR CONFIG SET failed (possibly related to argument 'Databases') - can't set immutable config",
            ),
            (
                &[("timeout", "abc"), ("databases", "3")],
                "ERR CONFIG SET failed (possibly related to argument 'databases') - can't set immutable config",
            ),
            (
                &[("io-threads", "2")],
                "ERR CONFIG SET failed (possibly related to argument 'io-threads') - can't set immutable config",
            ),
            (
                &[("TIMEOUT", "5"), ("timeout", "6")],
                "ERR CONFIG SET failed (possibly related to argument 'timeout') - duplicate parameter",
            ),
            (
                &[("timeout", "007")],
                "ERR CONFIG SET failed (possibly related to argument 'timeout') - argument couldn't be parsed into an integer",
            ),
            (
                &[("timeout", "-1")],
                "ERR CONFIG SET failed (possibly related to argument 'timeout') - argument must be between 0 and 2147483647 inclusive",
            ),
            (
                &[("maxclients", "0")],
                "ERR CONFIG SET failed (possibly related to argument 'maxclients') - argument must be between 1 and 4294967295 inclusive",
            ),
            (
                &[("protected-mode", "maybe")],
                "ERR CONFIG SET failed (possibly related to argument 'protected-mode') - argument must be 'yes' or 'no'",
            ),
            (
                &[("proto-max-bulk-len", "1xb")],
                "ERR CONFIG SET failed (possibly related to argument 'proto-max-bulk-len') - argument must be a memory value",
            ),
        ] {
            let refusal = set_all(&mut settings, pairs).map_err(|error| error.to_string());
            assert_eq!(refusal, Err(words.to_owned()));
        }
        assert_eq!(settings, Settings::default());
    }

    #[test]
    fn several_settings_change_together_or_not_at_all() {
        let mut settings = Settings::default();
        assert!(set_all(&mut settings, &[("timeout", "5"), ("maxclients", "0")]).is_err());
        assert_eq!(settings.timeout_s, 0);
        assert_eq!(set_all(&mut settings, &[("TIMEOUT", "5"), ("proto-max-bulk-len", "2m")]), Ok(()));
        assert_eq!((settings.timeout_s, settings.proto_max_bulk_len), (5, 2_000_000));
        assert_eq!(set(&mut settings, "protected-mode", "NO"), Ok(()));
        assert!(!settings.protected_mode);
    }

    #[test]
    fn maxmemory_is_read_and_refused_in_the_words_of_redis() {
        // Each line was answered by redis-server 7.0.15.
        let mut settings = Settings::default();
        for (text, bytes) in [("10", 10), ("0", 0), ("", 0), ("1k", 1000), ("1KB", 1024), ("100mb", 104_857_600)] {
            assert_eq!(set(&mut settings, "maxmemory", text), Ok(()), "{text}");
            assert_eq!(settings.maxmemory, bytes);
        }
        let failed = |settings: &mut Settings, name: &str, text: &str| {
            set(settings, name, text).map_err(|error| error.to_string()).expect_err(text)
        };
        let start = "ERR CONFIG SET failed (possibly related to argument";
        for text in ["abc", "-1", "50%", "1.5mb"] {
            let line = format!("{start} 'maxmemory') - argument must be a memory value");
            assert_eq!(failed(&mut settings, "maxmemory", text), line);
        }
        assert_eq!(set(&mut settings, "maxmemory-policy", "VOLATILE-ttl"), Ok(()));
        let policies = "volatile-lru, volatile-lfu, volatile-random, volatile-ttl, allkeys-lru, allkeys-lfu, allkeys-random, noeviction";
        let line = format!("{start} 'maxmemory-policy') - argument(s) must be one of the following: {policies}");
        assert_eq!(failed(&mut settings, "maxmemory-policy", "abc"), line);
    }

    #[test]
    fn an_alias_is_the_setting_under_its_older_name() {
        let mut settings = Settings::default();
        assert_eq!(set(&mut settings, "LUA-time-limit", "7"), Ok(()));
        assert_eq!(settings.busy_reply_threshold_ms, 7);
        assert_eq!(set_all(&mut settings, &[("lua-time-limit", "1"), ("busy-reply-threshold", "2")]), Ok(()));
        let shown = matching(&settings, |name| name.starts_with("lua") || name.starts_with("busy"));
        let shown: Vec<_> = shown.iter().map(|(name, value)| (*name, value.as_str())).collect();
        assert_eq!(shown, [("busy-reply-threshold", "2"), ("lua-time-limit", "2")]);
    }

    #[test]
    fn persistence_words_tell_the_truth_and_name_durability() {
        let mut settings = Settings::default();
        let ask =
            |settings: &Settings, wanted: &str| matching(settings, |name| name == wanted).pop().map(|(_, value)| value);
        assert_eq!(ask(&settings, "appendfsync").as_deref(), Some("always"));
        settings.durability = Durability::EverySec;
        assert_eq!(ask(&settings, "appendfsync").as_deref(), Some("everysec"));
        settings.database_url = crate::config::Secret::new("memory://");
        assert_eq!(ask(&settings, "appendfsync").as_deref(), Some("no"));
        assert_eq!(ask(&settings, "appendonly").as_deref(), Some("no"));
        assert_eq!(ask(&settings, "save").as_deref(), Some(""));
        let refusal = set(&mut settings, "appendonly", "yes").map_err(|error| error.to_string());
        assert!(refusal.is_err_and(|words| words.contains("durability")));
    }

    #[test]
    fn config_get_masks_the_database_password() {
        let database_url = crate::config::Secret::new("postgres://u:hunter2@h/db");
        let settings = Settings { database_url, ..Settings::default() };
        let all = matching(&settings, |_| true);
        assert!(all.iter().all(|(_, value)| !value.contains("hunter2")));
        assert!(all.contains(&("proto-max-bulk-len", "536870912".to_owned())));
    }

    #[test]
    fn no_name_is_both_a_setting_and_fixed() {
        assert!(FIXED.iter().all(|fixed| Row::named(fixed.name).is_none()));
    }
}
