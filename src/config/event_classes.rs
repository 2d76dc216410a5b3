//! `notify-keyspace-events`: which events of keys are published, by class. It must never take a text that Redis refuses,
//! nor show one otherwise than Redis does: Spring Session adds its letters to what it finds.

use std::fmt;

use super::rows::{Changes, Row, put};
use super::value::{Given, Invalid, Syntax};

/// `notify-keyspace-events`.
pub(super) const ROW: Row = Row {
    name: "notify-keyspace-events",
    syntax: Syntax::Text { placeholder: "CLASSES", expected: "letters of Ag$lshzxeKEtmdn, such as Egx, or nothing" },
    default: "",
    help: "which changes of keys are published to subscribers, by Redis's letters; empty for none",
    changes: Changes::AnyTime,
    apply: |settings, given| put(&mut settings.notify_keyspace_events, given.event_classes()),
    show: |settings| settings.notify_keyspace_events.to_string(),
};

/// A kind of event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EventClass {
    /// Of commands for any type of key: DEL, EXPIRE, RENAME.
    Generic,
    /// Of commands over strings.
    String,
    /// Of commands over lists.
    List,
    /// Of commands over sets.
    Set,
    /// Of commands over hashes.
    Hash,
    /// Of commands over sorted sets.
    SortedSet,
    /// The end of a key's life.
    Expired,
    /// A key that had to make room.
    Evicted,
    /// Of commands over streams.
    Stream,
    /// Of modules.
    Module,
    /// A key that was not there before.
    New,
    /// A read of a key that is not there.
    Miss,
}

/// The classes that are published, and how: by the key's channel, by the event's, or by both.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EventClasses(u16);

/// The letters in the order in which Redis shows them; `None` for the two ways to publish.
const LETTERS: [(char, Option<EventClass>); 14] = [
    ('g', Some(EventClass::Generic)),
    ('$', Some(EventClass::String)),
    ('l', Some(EventClass::List)),
    ('s', Some(EventClass::Set)),
    ('h', Some(EventClass::Hash)),
    ('z', Some(EventClass::SortedSet)),
    ('x', Some(EventClass::Expired)),
    ('e', Some(EventClass::Evicted)),
    ('t', Some(EventClass::Stream)),
    ('d', Some(EventClass::Module)),
    ('n', Some(EventClass::New)),
    ('K', None),
    ('E', None),
    ('m', Some(EventClass::Miss)),
];

impl EventClasses {
    /// None at all.
    pub const NONE: Self = Self(0);

    /// What `A` stands for: all classes but those of new and of missing keys.
    const ALL: u16 = (1 << EventClass::New as u16) - 1;
    const BY_KEY: u16 = 1 << 12;
    const BY_EVENT: u16 = 1 << 13;

    /// Whether events of this class are published at all.
    #[must_use]
    pub const fn wants(self, class: EventClass) -> bool {
        self.0 & (1 << class as u16) != 0 && self.0 & (Self::BY_KEY | Self::BY_EVENT) != 0
    }

    /// Whether each goes to the channel of its key.
    #[must_use]
    pub const fn by_key(self) -> bool {
        self.0 & Self::BY_KEY != 0
    }

    /// Whether each goes to the channel of its event.
    #[must_use]
    pub const fn by_event(self) -> bool {
        self.0 & Self::BY_EVENT != 0
    }

    /// As a number, for an atomic.
    #[must_use]
    pub const fn bits(self) -> u16 {
        self.0
    }

    /// From that number.
    #[must_use]
    pub const fn of_bits(bits: u16) -> Self {
        Self(bits)
    }

    fn parse(text: &str) -> Option<Self> {
        text.chars().try_fold(Self::NONE, |classes, letter| Some(Self(classes.0 | Self::bits_of(letter)?)))
    }

    fn bits_of(letter: char) -> Option<u16> {
        match letter {
            'A' => Some(Self::ALL),
            'K' => Some(Self::BY_KEY),
            'E' => Some(Self::BY_EVENT),
            _ => LETTERS.iter().find(|(known, _)| *known == letter)?.1.map(|class| 1 << class as u16),
        }
    }
}

impl fmt::Display for EventClasses {
    /// As CONFIG GET shows them. `A` hides `n`, as in Redis.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let has_all = self.0 & Self::ALL == Self::ALL;
        let hideable = Self::ALL | (1 << EventClass::New as u16);
        let hidden = |letter| has_all && Self::bits_of(letter).is_some_and(|bit| bit & hideable != 0);
        if has_all {
            formatter.write_str("A")?;
        }
        let shown = LETTERS.iter().map(|(letter, _)| *letter);
        let shown = shown.filter(|letter| Self::bits_of(*letter).is_some_and(|bit| self.0 & bit != 0));
        shown.filter(|letter| !hidden(*letter)).try_for_each(|letter| write!(formatter, "{letter}"))
    }
}

impl Given<'_> {
    pub(super) fn event_classes(&self) -> Result<EventClasses, Invalid> {
        let refusal = Invalid::Fault("Invalid event class character. Use 'Ag$lshzxeKEtmdn'.");
        EventClasses::parse(self.text).ok_or(refusal)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Each pair was answered by redis-server 7.0.15.
    #[test]
    fn classes_are_shown_as_redis_shows_them() {
        for (given, shown) in [
            ("", ""),
            ("KEA", "AKE"),
            ("KEg", "gKE"),
            ("EK", "KE"),
            ("Kg$lshzxetdmn", "AKm"),
            ("n", "n"),
            ("m", "m"),
            ("Anm", "Am"),
            ("KAn", "AK"),
            ("g$lshzxetd", "A"),
            ("EKxe$nmd", "$xednKEm"),
        ] {
            assert_eq!(
                EventClasses::parse(given).map(|classes| classes.to_string()).as_deref(),
                Some(shown),
                "{given}"
            );
        }
        for refused in ["KEAQ", " ", "a", "K E"] {
            assert_eq!(EventClasses::parse(refused), None, "{refused}");
        }
    }

    #[test]
    fn nothing_is_wanted_that_no_channel_would_carry() {
        let wants = |text, class| EventClasses::parse(text).is_some_and(|classes| classes.wants(class));
        assert!(wants("Ex", EventClass::Expired) && wants("KA", EventClass::String));
        assert!(!wants("A", EventClass::String) && !wants("Ex", EventClass::Generic));
        assert!(!wants("KEA", EventClass::New) && wants("KEAn", EventClass::New) && !wants("KEA", EventClass::Miss));
    }
}
