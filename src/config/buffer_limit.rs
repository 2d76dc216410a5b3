//! `client-output-buffer-limit`: how much a client may leave unread, by its class. It must never take a text that Redis
//! refuses, nor refuse one that Redis takes: operators bring theirs along.

use super::value::{Given, Invalid, parse_integer, parse_size};

/// How much one client may leave unread; 0 is no limit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct BufferLimit {
    /// Bytes at which it is closed at once.
    pub hard_bytes: usize,
    /// Bytes at which it is closed after `soft_s`.
    pub soft_bytes: usize,
    /// How long it may stay above `soft_bytes`, in seconds.
    pub soft_s: u32,
}

impl BufferLimit {
    /// Whether there is none.
    #[must_use]
    pub const fn is_none(&self) -> bool {
        self.hard_bytes == 0 && self.soft_bytes == 0
    }

    /// The bytes at which it is closed at once; `most` if there is no such limit.
    #[must_use]
    pub const fn hard_bytes_or(&self, most: usize) -> usize {
        if self.hard_bytes == 0 { most } else { self.hard_bytes }
    }
}

/// The limits of each class. There are no replicas: theirs are kept for CONFIG GET alone.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct BufferLimits {
    /// Of ordinary clients.
    pub normal: BufferLimit,
    /// Of replicas.
    pub replica: BufferLimit,
    /// Of subscribers.
    pub pubsub: BufferLimit,
}

impl BufferLimits {
    /// No limits.
    pub(super) const fn none() -> Self {
        let none = BufferLimit { hard_bytes: 0, soft_bytes: 0, soft_s: 0 };
        Self { normal: none, replica: none, pubsub: none }
    }

    /// Changes those that are given: four words for each class.
    pub(super) fn change(&mut self, given: &Given<'_>) -> Result<(), Invalid> {
        let mut changed = *self;
        let words: Vec<&str> = given.words().collect();
        let (classes, rest) = words.as_chunks::<4>();
        if !rest.is_empty() {
            return Err(Invalid::Fault("Wrong number of arguments in buffer limit configuration."));
        }
        for [class, hard, soft, seconds] in classes {
            let limit = match class.to_ascii_lowercase().as_str() {
                "normal" => &mut changed.normal,
                "slave" | "replica" => &mut changed.replica,
                "pubsub" => &mut changed.pubsub,
                _ => return Err(Invalid::Fault("Invalid client class specified in buffer limit configuration.")),
            };
            *limit = parse(hard, soft, seconds)
                .ok_or(Invalid::Fault("Error in hard, soft or soft_seconds setting in buffer limit configuration."))?;
        }
        *self = changed;
        Ok(())
    }

    /// As CONFIG GET shows them.
    pub(super) fn show(&self) -> String {
        let class =
            |name, BufferLimit { hard_bytes, soft_bytes, soft_s }| format!("{name} {hard_bytes} {soft_bytes} {soft_s}");
        [class("normal", self.normal), class("slave", self.replica), class("pubsub", self.pubsub)].join(" ")
    }
}

fn parse(hard: &str, soft: &str, seconds: &str) -> Option<BufferLimit> {
    let size = |text| parse_size(text).and_then(|bytes| usize::try_from(bytes).ok());
    let soft_s = u32::try_from(parse_integer(seconds)?).ok()?;
    Some(BufferLimit { hard_bytes: size(hard)?, soft_bytes: size(soft)?, soft_s })
}

#[cfg(test)]
mod tests {
    use super::super::{Settings, set};

    /// Each line was answered by redis-server 7.0.15.
    #[test]
    fn limits_are_taken_and_refused_as_redis_does() {
        let mut settings = Settings::default();
        let name = "client-output-buffer-limit";
        let counted = "Wrong number of arguments in buffer limit configuration.";
        let classed = "Invalid client class specified in buffer limit configuration.";
        let faulty = "Error in hard, soft or soft_seconds setting in buffer limit configuration.";
        for (text, fault) in [
            ("normal 10 0", counted),
            ("foo 1 2 3", classed),
            ("master 1 1 1", classed),
            ("normal -1 0 0", faulty),
            ("normal 1xb 0 0", faulty),
            ("normal 1mb 0 -1", faulty),
        ] {
            let refusal = set(&mut settings, name, text).map_err(|error| error.to_string());
            let expected = format!("ERR CONFIG SET failed (possibly related to argument '{name}') - {fault}");
            assert_eq!(refusal, Err(expected), "{text}");
        }
        assert_eq!(settings, Settings::default());
        for text in ["", "slave 1gb 1mb 3 pubsub 1mb 1mb 1", "replica 1gb 1mb 4", "normal 1mb 512kb 60 NORMAL 2mb 1 1"]
        {
            assert_eq!(set(&mut settings, name, text), Ok(()), "{text}");
        }
        let shown = settings.client_output_buffer_limit.show();
        assert_eq!(shown, "normal 2097152 1 1 slave 1073741824 1048576 4 pubsub 1048576 1048576 1");
    }
}
