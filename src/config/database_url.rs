//! The database's URL: which forms are good, where the default file lies, and how the URL is shown without its
//! password. It opens nothing; the database itself knows the rest of its URL's meaning.

use std::path::PathBuf;

use super::value::{Given, Invalid};

/// The file name of the embedded database, in the state directory.
const DEFAULT_FILE: &str = "sojourn.db";

/// The values of `sslmode` that PostgreSQL knows.
const SSL_MODES: &[&str] = &["disable", "allow", "prefer", "require", "verify-ca", "verify-full"];

/// Refuses what no database could make sense of. The text itself is in no refusal: it may hold a password.
pub(super) fn check(given: &Given<'_>) -> Result<(), Invalid> {
    match given.text.split_once("://") {
        Some(("postgres" | "postgresql", rest)) => check_postgres(rest),
        Some(("sqlite", path)) if !path.is_empty() => Ok(()),
        Some(("memory", "")) => Ok(()),
        Some(_) | None => Err(given.unexpected()),
    }
}

fn check_postgres(rest: &str) -> Result<(), Invalid> {
    let (place, query) = rest.split_once('?').unwrap_or((rest, ""));
    let authority = place.split('/').next().unwrap_or_default();
    let hosts = authority.rsplit('@').next().unwrap_or_default();
    // The colons of an IPv6 address stand in brackets.
    let port = |host: &'_ str| Some(host.rsplit(']').next()?.split_once(':')?.1.parse::<u16>().is_ok());
    if hosts.split(',').any(|host| port(host) == Some(false)) {
        return Err(refused(
            "a port from 0 to 65535 after the host (and /, ?, # and @ in a password as %2F, %3F, %23 and %40)",
        ));
    }
    let mode = query.split('&').find_map(|pair| pair.strip_prefix("sslmode="));
    if mode.is_some_and(|mode| !SSL_MODES.contains(&mode)) {
        return Err(refused(&format!("sslmode to be one of {}", SSL_MODES.join(", "))));
    }
    Ok(())
}

/// The URL of each of its hosts, in their order: `postgres://user@one:5432,two:5432/database` as PostgreSQL's own programs
/// read it. A URL without several hosts is the only one.
#[must_use]
pub fn each_host(url: &str) -> Vec<String> {
    let Some((scheme, rest)) = url.split_once("://") else { return vec![url.to_owned()] };
    let (authority, tail) = rest.split_at(rest.find(['/', '?']).unwrap_or(rest.len()));
    let (login, hosts) = authority.split_at(authority.rfind('@').map_or(0, |at| at + 1));
    if !scheme.starts_with("postgres") || !hosts.contains(',') {
        return vec![url.to_owned()];
    }
    hosts.split(',').map(|host| format!("{scheme}://{login}{host}{tail}")).collect()
}

fn refused(expected: &str) -> Invalid {
    Invalid::NotExpected(expected.to_owned())
}

/// The URL with every password in it as `***`. It rather masks too much: an unescaped `@` or `/` in a password must
/// not let a part of it through.
#[must_use]
pub fn masked_url(url: &str) -> String {
    let Some((scheme, rest)) = url.split_once("://") else { return url.to_owned() };
    if !scheme.starts_with("postgres") {
        return url.to_owned();
    }
    let (login, place) = rest.rsplit_once('@').map_or((None, rest), |(login, place)| (Some(login), place));
    let login = login.map_or_else(String::new, |login| match login.split_once(':') {
        Some((user, _)) => format!("{user}:***@"),
        None => format!("{login}@"),
    });
    format!("{scheme}://{login}{}", mask_query(place))
}

fn mask_query(place: &str) -> String {
    let Some((place, query)) = place.split_once('?') else { return place.to_owned() };
    let pairs: Vec<String> = query
        .split('&')
        .map(|pair| match pair.split_once('=') {
            Some((name, _)) if name.contains("password") => format!("{name}=***"),
            Some(_) | None => pair.to_owned(),
        })
        .collect();
    format!("{place}?{}", pairs.join("&"))
}

/// The default URL: a file in the first of these directories that the environment names; `None` if it names none.
pub(super) fn in_state_directory(environment: impl Fn(&str) -> Option<String>) -> Option<String> {
    let set = |name: &str| environment(name).filter(|value| !value.is_empty());
    // systemd gives a list with colons where a unit has several.
    let of_unit = set("STATE_DIRECTORY").and_then(|list| list.split(':').next().map(PathBuf::from));
    let of_user = || set("XDG_STATE_HOME").map(|home| PathBuf::from(home).join("sojourn"));
    let of_home = || set("HOME").map(|home| PathBuf::from(home).join(".local/state/sojourn"));
    let directory = of_unit.or_else(of_user).or_else(of_home)?;
    Some(format!("sqlite://{}", directory.join(DEFAULT_FILE).display()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Syntax;

    fn checked(text: &str) -> Result<(), Invalid> {
        check(&Given { syntax: &Syntax::Text { placeholder: "URL", expected: "a URL" }, text })
    }

    #[test]
    fn good_urls_pass_and_bad_ones_do_not() {
        let good = [
            "memory://",
            "sqlite://x.db",
            "sqlite:///var/x.db",
            "postgres://u:p@h:5432/db?sslmode=require",
            "postgresql://[::1]:5432/db",
            "postgres:///db?host=/run/postgresql",
            "postgres://u:p@one,two:5433,[::1]:5434/db",
        ];
        for url in good {
            assert_eq!(checked(url), Ok(()), "{url}");
        }
        let bad = [
            "",
            "mysql://h/db",
            "sqlite://",
            "memory://x",
            "x.db",
            "postgres://h:abc/db",
            "postgres://one:5432,two:abc/db",
            "postgres://h/db?sslmode=on",
        ];
        for url in bad {
            assert!(checked(url).is_err(), "{url}");
        }
    }

    #[test]
    fn each_host_has_a_url_of_its_own() {
        let several = "postgres://u:a,b@one,two:5433,[::1]:5434/db?sslmode=require";
        let expected =
            ["one", "two:5433", "[::1]:5434"].map(|host| format!("postgres://u:a,b@{host}/db?sslmode=require"));
        assert_eq!(each_host(several), expected);
        assert_eq!(each_host("postgres://one,two?user=u"), ["postgres://one?user=u", "postgres://two?user=u"]);
        for one in ["postgres://u:a,b@one/db", "postgres:///db?host=/run/postgresql", "sqlite://a,b.db", "memory://"] {
            assert_eq!(each_host(one), [one]);
        }
    }

    #[test]
    fn no_password_survives_the_mask() {
        let urls = [
            "postgres://u:hunter2@h:5432/db",
            "postgres://u:hun/ter2@h/db",
            "postgres://u:a@hunter2@h/db",
            "postgres://u:a?hunter2@h/db",
            "postgres://h/db?user=u&password=hunter2&sslmode=require",
        ];
        for url in urls {
            let masked = masked_url(url);
            assert!(!masked.contains("ter2"), "{masked}");
            assert!(masked.contains("***"), "{masked}");
        }
        assert_eq!(masked_url("postgres://u@h/db"), "postgres://u@h/db");
        assert_eq!(masked_url("sqlite:///a@b.db"), "sqlite:///a@b.db");
    }

    #[test]
    fn the_default_file_lies_in_the_state_directory() {
        let find = |variables: &'static [(&'static str, &'static str)]| {
            in_state_directory(|name| {
                variables.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).to_owned())
            })
        };
        assert_eq!(find(&[]), None);
        assert_eq!(find(&[("HOME", "/home/u")]).as_deref(), Some("sqlite:///home/u/.local/state/sojourn/sojourn.db"));
        assert_eq!(
            find(&[("XDG_STATE_HOME", "/s"), ("HOME", "/h")]).as_deref(),
            Some("sqlite:///s/sojourn/sojourn.db")
        );
        assert_eq!(
            find(&[("STATE_DIRECTORY", "/v/a:/v/b"), ("HOME", "/h")]).as_deref(),
            Some("sqlite:///v/a/sojourn.db")
        );
    }
}
