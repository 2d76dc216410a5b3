//! Which words of a request nobody else may see: passwords, and whatever stands where one could. MONITOR and SLOWLOG show them as
//! Redis does, `(redacted)`; where Redis shows a word that was mistyped, this file does not.

use super::args;
use super::table::{Flag, Row, full_name};
use crate::config;
use crate::protocol::Request;

/// What stands for a word that is not shown.
const REDACTED: &[u8] = b"(redacted)";

/// The words of a request as others may see them.
pub(super) fn shown<'a>(row: &'static Row, request: &'a Request) -> impl Iterator<Item = &'a [u8]> + use<'a> {
    let is_secret: fn(&Request, usize) -> bool = match row {
        _ if row.has(Flag::Secret) => |_, _| true,
        _ if row.has(Flag::SecretOptions) => in_hello,
        _ if row.has(Flag::SecretValues) => in_config_set,
        _ => |_, _| false,
    };
    let name_words = if full_name(row).contains('|') { 2 } else { 1 };
    let word = move |(position, word): (usize, &'a bytes::Bytes)| {
        if position >= name_words && is_secret(request, position) { REDACTED } else { word }
    };
    request.iter().enumerate().map(word)
}

/// HELLO: all but the version, the options, and the name of the connection.
fn in_hello(request: &Request, position: usize) -> bool {
    let is = |position: usize, option: &str| request.get(position).is_some_and(|word| args::is(word, option));
    let mut option = 2;
    while option <= position {
        let (words, is_secret) = match option {
            _ if is(option, "AUTH") => (3, option != position),
            _ if is(option, "SETNAME") => (2, false),
            _ => return true,
        };
        if option + words > position {
            return is_secret;
        }
        option += words;
    }
    false
}

/// CONFIG SET: all but names of settings, and the values of those that hold no password.
fn in_config_set(request: &Request, position: usize) -> bool {
    let name = if position.is_multiple_of(2) { position } else { position - 1 };
    let is_paired = request.len().is_multiple_of(2);
    let name = std::str::from_utf8(&request[name]).unwrap_or_default();
    !is_paired || !config::is_known(name) || (position % 2 == 1 && config::is_secret(name))
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::super::table;
    use super::*;

    fn shown_line(line: &str) -> String {
        let request: Request = line.split(' ').map(|word| Bytes::copy_from_slice(word.as_bytes())).collect();
        let row = table::lookup(&request).expect(line);
        let words: Vec<_> = shown(row, &request).map(|word| String::from_utf8_lossy(word)).collect();
        words.join(" ")
    }

    #[test]
    fn a_password_is_not_shown_wherever_it_stands() {
        for (line, seen) in [
            ("AUTH pw", "AUTH (redacted)"),
            ("auth u pw", "auth (redacted) (redacted)"),
            ("AUTH u pw x", "AUTH (redacted) (redacted) (redacted)"),
            ("HELLO", "HELLO"),
            ("HELLO 3 AUTH u pw SETNAME me", "HELLO 3 AUTH (redacted) (redacted) SETNAME me"),
            ("HELLO 3 setname me auth u pw", "HELLO 3 setname me auth (redacted) (redacted)"),
            ("HELLO 3 AUTH pw", "HELLO 3 AUTH (redacted)"),
            ("HELLO 3 AHTU u pw", "HELLO 3 (redacted) (redacted) (redacted)"),
            ("HELLO 3 SETNAME AUTH u pw", "HELLO 3 SETNAME AUTH (redacted) (redacted)"),
            ("HELLO 3 AUTH AUTH AUTH pw", "HELLO 3 AUTH (redacted) (redacted) (redacted)"),
            ("ACL SETUSER u on >pw", "ACL SETUSER (redacted) (redacted) (redacted)"),
            ("ACL DRYRUN u auth pw", "ACL DRYRUN (redacted) (redacted) (redacted)"),
            ("ACL GETUSER u", "ACL GETUSER u"),
            ("CONFIG SET requirepass pw timeout 0", "CONFIG SET requirepass (redacted) timeout 0"),
            ("CONFIG SET masterauth pw", "CONFIG SET (redacted) (redacted)"),
            ("CONFIG SET database-url pw", "CONFIG SET database-url (redacted)"),
            ("CONFIG SET lua-time-limit 5 save x", "CONFIG SET lua-time-limit 5 save x"),
            ("CONFIG SET timeout requirepass pw", "CONFIG SET (redacted) (redacted) (redacted)"),
            ("CONFIG GET requirepass", "CONFIG GET requirepass"),
            ("SET k pw", "SET k pw"),
        ] {
            assert_eq!(shown_line(line), seen);
        }
    }
}
