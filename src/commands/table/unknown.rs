//! What is answered where no row has the name: Redis's words, with no more of the request than Redis shows.

use std::borrow::Cow;

use bytes::Bytes;

use super::super::error::CommandError;
use super::Row;

/// How many bytes of a wrong name, and of the words after it, its error shows.
const SHOWN_BYTES_MAX: usize = 128;

fn shown(word: &[u8], bytes_max: usize) -> Cow<'_, str> {
    String::from_utf8_lossy(&word[..word.len().min(bytes_max)])
}

pub(super) fn unknown_command(request: &[Bytes]) -> CommandError {
    let mut words = request.iter();
    let name = shown(words.next().map_or(&[][..], |word| word), SHOWN_BYTES_MAX);
    let mut seen = String::new();
    for word in words {
        if seen.len() >= SHOWN_BYTES_MAX {
            break;
        }
        let word = shown(word, SHOWN_BYTES_MAX - seen.len());
        seen.extend(["'", &*word, "' "]);
    }
    CommandError::other(format!("ERR unknown command '{name}', with args beginning with: {seen}"))
}

pub(super) fn unknown_subcommand(container: &Row, word: &[u8]) -> CommandError {
    let (word, container) = (shown(word, SHOWN_BYTES_MAX), container.name.to_ascii_uppercase());
    CommandError::other(format!("ERR unknown subcommand '{word}'. Try {container} HELP."))
}
