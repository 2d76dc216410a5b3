//! Passwords, kept as SHA-256 digests as in Redis. The password itself is never kept, and two digests are compared in
//! constant time: who could measure the first difference would find the digest byte by byte.

use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;

/// The SHA-256 of a password. It never prints: it can be tried offline.
#[derive(Clone, Copy)]
pub struct PasswordDigest([u8; 32]);

impl PasswordDigest {
    /// The digest of a password.
    #[must_use]
    pub fn of(password: &[u8]) -> Self {
        Self(Sha256::digest(password).into())
    }

    /// Reads 64 lower-case hexadecimal digits; `None` for anything else, as in Redis.
    #[must_use]
    pub fn from_hex(digits: &[u8]) -> Option<Self> {
        let (pairs, rest) = digits.as_chunks();
        let pairs: &[[u8; 2]; 32] = pairs.try_into().ok().filter(|_| rest.is_empty())?;
        let mut digest = [0; 32];
        for (byte, [high, low]) in digest.iter_mut().zip(pairs) {
            *byte = nibble(*high)? << 4 | nibble(*low)?;
        }
        Some(Self(digest))
    }

    /// 64 lower-case hexadecimal digits.
    #[must_use]
    pub fn to_hex(self) -> String {
        hex(&self.0)
    }
}

/// In constant time.
impl PartialEq for PasswordDigest {
    fn eq(&self, other: &Self) -> bool {
        self.0.ct_eq(&other.0).into()
    }
}

impl Eq for PasswordDigest {}

impl std::fmt::Debug for PasswordDigest {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("***")
    }
}

/// Bytes as lower-case hexadecimal digits.
#[must_use]
pub fn hex(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let digit = |nibble: u8| char::from(DIGITS[usize::from(nibble)]);
    bytes.iter().flat_map(|byte| [digit(byte >> 4), digit(byte & 15)]).collect()
}

fn nibble(digit: u8) -> Option<u8> {
    match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const EMPTY: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

    #[test]
    fn a_digest_survives_its_digits() {
        assert_eq!(PasswordDigest::of(b"").to_hex(), EMPTY);
        assert_eq!(PasswordDigest::from_hex(EMPTY.as_bytes()), Some(PasswordDigest::of(b"")));
        assert!(PasswordDigest::of(b"a") != PasswordDigest::of(b"b"));
    }

    #[test]
    fn only_64_lower_case_digits_are_a_digest() {
        for digits in ["", "abc", &EMPTY.to_uppercase(), &EMPTY[1..], &format!("{EMPTY}0"), &EMPTY.replace('e', "g")] {
            assert!(PasswordDigest::from_hex(digits.as_bytes()).is_none(), "{digits}");
        }
    }

    #[test]
    fn a_digest_does_not_print() {
        assert_eq!(format!("{:?}", PasswordDigest::of(b"hunter2")), "***");
    }
}
