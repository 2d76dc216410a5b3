//! The sessions of all loads: keys and values of one form, so that every contestant stores the same.

use std::sync::atomic::{AtomicU32, Ordering};

/// The bytes of each value.
pub const VALUE_BYTES: usize = 300;

/// The life that each write and each touch gives, in seconds, as connect-redis does by default.
pub const TTL_SECONDS: u32 = 86_400;

/// What the key of a session starts with.
pub const PREFIX: &str = "sess:";

/// redis-benchmark puts 12 random digits in its place, anew for each.
pub const RANDOM: &str = "__rand_int__";

/// The key of a session that is loaded beforehand, without prefix, as redis-benchmark writes its numbers.
pub fn sid(number: u32) -> String {
    format!("{number:012}")
}

/// The key of a session that a login makes, without prefix.
pub fn login_sid(nonce: u64) -> String {
    format!("login-{nonce:020}")
}

/// A value; different numbers give different ones.
pub fn value(nonce: u64) -> String {
    filled(&format!("{nonce:020}"))
}

/// A value for a run of redis-benchmark: 10^15 different ones and more, over 100 000 keys. Two runs never share one, though
/// redis-benchmark may draw the same numbers twice: it makes its seed of the second and its process.
pub fn random_value() -> String {
    static RUNS: AtomicU32 = AtomicU32::new(0);
    let run = RUNS.fetch_add(1, Ordering::Relaxed);
    filled(&format!("{run:08}-{}", [RANDOM; 3].join("-")))
}

/// express-session's cookie, passport's user, and something of the application's that brings it to its length.
fn filled(nonce: &str) -> String {
    let head = format!(
        r#"{{"cookie":{{"originalMaxAge":86400000,"expires":"2027-01-01T00:00:00.000Z","httpOnly":true,"path":"/"}},"passport":{{"user":"4711"}},"nonce":"{nonce}","cart":""#
    );
    format!("{head}{}\"}}", "x".repeat(VALUE_BYTES - head.len() - 2))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_json_objects_of_one_length() {
        for value in [value(0), value(u64::MAX), random_value()] {
            assert_eq!(value.len(), VALUE_BYTES);
            assert!(serde_json::from_str::<serde_json::Value>(&value).is_ok_and(|json| json.is_object()), "{value}");
        }
        assert_ne!(value(1), value(2));
        assert_ne!(random_value(), random_value(), "two runs with the same numbers");
        assert_eq!(RANDOM.len(), sid(0).len(), "the length must not change when redis-benchmark fills it");
    }
}
