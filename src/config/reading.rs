//! How the values of single settings are read, where no syntax of [`super::value`] says all about them. Nothing is known of a
//! setting here but its value.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use super::SessionTableName;
use super::value::{Given, Invalid};

/// The most listening addresses: each is a socket, and a machine has few.
const BIND_MAX: usize = 16;
/// The longest name of a PostgreSQL identifier, in bytes; longer ones are cut off silently.
const IDENTIFIER_BYTES_MAX: usize = 63;

pub(super) fn path(given: &Given<'_>) -> Option<String> {
    Some(given.text.to_owned()).filter(|path| !path.is_empty())
}

pub(super) fn bind(given: &Given<'_>) -> Result<Vec<IpAddr>, Invalid> {
    let address = |word: &str| match word {
        "localhost" => Ok(IpAddr::V4(Ipv4Addr::LOCALHOST)),
        "*" => Ok(IpAddr::V4(Ipv4Addr::UNSPECIFIED)),
        _ => word.parse().map_err(|_| given.unexpected()),
    };
    let addresses = given.words().map(address).collect::<Result<Vec<_>, _>>()?;
    if (1..=BIND_MAX).contains(&addresses.len()) { Ok(addresses) } else { Err(given.unexpected()) }
}

pub(super) fn session_tables(given: &Given<'_>) -> Result<Vec<SessionTableName>, Invalid> {
    // The last equals sign divides: a prefix may hold one, a table's name does not.
    let name = |word: &str| {
        let (prefix, table) =
            word.rsplit_once('=').filter(|(_, table)| is_table(table)).ok_or_else(|| given.unexpected())?;
        Ok(SessionTableName { prefix: prefix.to_owned(), table: table.to_owned() })
    };
    given.words().map(name).collect()
}

fn is_table(table: &str) -> bool {
    let is_identifier =
        |part: &str| !part.is_empty() && part.len() <= IDENTIFIER_BYTES_MAX && !part.contains(['\0', '"']);
    let parts: Vec<&str> = table.split('.').collect();
    parts.len() <= 2 && parts.iter().all(|part| is_identifier(part))
}

pub(super) fn metrics_addr(given: &Given<'_>) -> Result<Option<SocketAddr>, Invalid> {
    match given.text {
        "" | "off" => Ok(None),
        text => text.parse().map(Some).map_err(|_| given.unexpected()),
    }
}

pub(super) fn timezone(given: &Given<'_>) -> Result<Option<String>, Invalid> {
    let is_name = |text: &str| text.chars().all(|letter| letter.is_ascii_alphanumeric() || "/_+-:".contains(letter));
    match given.text {
        "" => Ok(None),
        text if is_name(text) => Ok(Some(text.to_owned())),
        _ => Err(given.unexpected()),
    }
}
