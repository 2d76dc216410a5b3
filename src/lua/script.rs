//! A script as it was sent: its name, its text and what its first line says of it. It never looks into the text behind.

use bytes::Bytes;
use sha1::{Digest as _, Sha1};

/// The name of a script: the SHA-1 digest of its text.
pub type Sha = [u8; 20];

/// The flags that a first line may name. Those without a meaning here are taken, as Redis takes them.
const FLAGS: [&[u8]; 5] = [b"no-writes", b"allow-oom", b"allow-stale", b"no-cluster", b"allow-cross-slot-keys"];

/// The longest script: it is compiled while its connection's thread waits, some tens of milliseconds a mebibyte.
const TEXT_BYTES_MAX: usize = 1024 * 1024;

/// A script.
#[derive(Clone, Debug)]
pub struct Script {
    /// Its name.
    pub sha: Sha,
    /// All of it.
    pub text: Bytes,
    /// Where its code begins: behind `#!lua …`, with the end of that line, so that lines are counted from there.
    code_at: usize,
    /// It said that it does not write.
    pub no_writes: bool,
    /// It said what it does, and not that it may run without memory.
    pub needs_room: bool,
    /// It said that it may write without memory.
    pub allows_oom: bool,
}

impl Script {
    /// Reads its first line.
    ///
    /// # Errors
    /// What is wrong with a line that begins with `#!`, in Redis's words.
    pub fn read(text: Bytes) -> Result<Self, String> {
        if text.len() > TEXT_BYTES_MAX {
            return Err(format!("ERR script is longer than {TEXT_BYTES_MAX} bytes"));
        }
        let mut script =
            Self { sha: sha_of(&text), code_at: 0, no_writes: false, needs_room: false, allows_oom: false, text };
        if !script.text.starts_with(b"#!") {
            return Ok(script);
        }
        let end = script.text.iter().position(|byte| *byte == b'\n').ok_or("ERR Invalid script shebang")?;
        script.code_at = end;
        let mut words = script.text[..end].split(|byte| *byte == b' ').filter(|word| !word.is_empty());
        let engine = words.next().unwrap_or_default();
        if engine != b"#!lua" {
            return Err(format!("ERR Unexpected engine in script shebang: {}", shown(engine)));
        }
        let (mut no_writes, mut allows_oom) = (false, false);
        for word in words {
            let flags = word.strip_prefix(b"flags=");
            let flags = flags.ok_or_else(|| format!("ERR Unknown lua shebang option: {}", shown(word)))?;
            for flag in flags.split(|byte| *byte == b',').filter(|flag| !flag.is_empty()) {
                if !FLAGS.contains(&flag) {
                    return Err(format!("ERR Unexpected flag in script shebang: {}", shown(flag)));
                }
                no_writes |= flag == FLAGS[0];
                allows_oom |= flag == FLAGS[1];
            }
        }
        Ok(Self { no_writes, allows_oom, needs_room: !no_writes && !allows_oom, ..script })
    }

    /// What Lua compiles.
    #[must_use]
    pub fn code(&self) -> &[u8] {
        &self.text[self.code_at..]
    }

    /// Its name in hexadecimal digits.
    #[must_use]
    pub fn hex(&self) -> String {
        hex(&self.sha)
    }
}

fn shown(word: &[u8]) -> std::borrow::Cow<'_, str> {
    String::from_utf8_lossy(word)
}

/// The digest of a text.
#[must_use]
pub fn sha_of(text: &[u8]) -> Sha {
    Sha1::digest(text).into()
}

/// Hexadecimal digits, in lower case.
#[must_use]
pub fn hex(sha: &Sha) -> String {
    sha.iter().flat_map(|byte| [byte >> 4, byte & 15]).filter_map(|digit| char::from_digit(digit.into(), 16)).collect()
}

/// The name that these hexadecimal digits give, in any case.
#[must_use]
pub fn sha_named(word: &[u8]) -> Option<Sha> {
    if word.len() != 2 * size_of::<Sha>() {
        return None;
    }
    let mut sha = Sha::default();
    for (byte, digits) in sha.iter_mut().zip(word.chunks_exact(2)) {
        let digit = |digit: u8| u8::try_from(char::from(digit).to_digit(16)?).ok();
        *byte = digit(digits[0])? << 4 | digit(digits[1])?;
    }
    Some(sha)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_the_digest_in_forty_digits() {
        let script = Script::read(Bytes::from_static(b"return 1")).expect("a script");
        assert_eq!(script.hex(), "e0e1f9fabfc9d4800c877a703b823ac0578ff8db");
        assert_eq!(sha_named(script.hex().to_ascii_uppercase().as_bytes()), Some(script.sha));
        assert_eq!(sha_named(b"abc"), None);
        assert_eq!(sha_named(&[b'g'; 40]), None);
    }

    #[test]
    fn a_first_line_is_read_and_its_line_counted() {
        let script = Script::read(Bytes::from_static(b"#!lua flags=no-writes,allow-oom\nreturn 1")).expect("a script");
        assert!(script.no_writes && script.code() == b"\nreturn 1");
    }
}
