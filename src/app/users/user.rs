//! One user: its passwords and what it may do. A user never changes: who changes one puts another in its place, so a
//! connection can look at its own without a lock.

use bytes::Bytes;

use super::PasswordDigest;

/// Commands by their position in the command table, as a set of bits. Positions beyond the table stand for what does not
/// exist yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CommandSet([u64; Self::WORDS]);

impl CommandSet {
    const WORDS: usize = 4;

    /// How many positions there are.
    pub const CAPACITY: usize = Self::WORDS * 64;

    /// No command.
    pub const NONE: Self = Self([0; Self::WORDS]);

    /// Every command, also those that do not exist yet.
    pub const ALL: Self = Self([u64::MAX; Self::WORDS]);

    /// Whether this position is in the set; one beyond [`Self::CAPACITY`] never is.
    #[must_use]
    pub fn contains(&self, position: usize) -> bool {
        self.0.get(position / 64).is_some_and(|word| word >> (position % 64) & 1 == 1)
    }

    /// Puts a position in, or takes it out.
    pub fn set(&mut self, position: usize, is_in: bool) {
        if let Some(word) = self.0.get_mut(position / 64) {
            let bit = 1 << (position % 64);
            *word = if is_in { *word | bit } else { *word & !bit };
        }
    }
}

/// Keys that may be read, written or both.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyPattern {
    /// As for KEYS.
    pub pattern: Bytes,
    /// Whether what the keys hold may be read.
    pub reads: bool,
    /// Whether the keys may be changed.
    pub writes: bool,
}

/// Which commands may touch which keys and channels. A user may do what one of its selectors allows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Selector {
    /// The commands.
    pub commands: CommandSet,
    /// First arguments with which a command is allowed that is not in the set, in the order in which they were given.
    pub first_arguments: Vec<(usize, Bytes)>,
    /// Whether all keys are allowed; there are no patterns then.
    pub all_keys: bool,
    /// The allowed keys.
    pub keys: Vec<KeyPattern>,
    /// Whether all channels are allowed; there are no patterns then.
    pub all_channels: bool,
    /// The allowed channels.
    pub channels: Vec<Bytes>,
}

impl Selector {
    /// One that allows nothing, but all channels if `all_channels`.
    #[must_use]
    pub fn new(all_channels: bool) -> Self {
        Self {
            commands: CommandSet::NONE,
            first_arguments: Vec::new(),
            all_keys: false,
            keys: Vec::new(),
            all_channels,
            channels: Vec::new(),
        }
    }

    fn allows_everything(&self) -> bool {
        self.commands == CommandSet::ALL && self.all_keys && self.all_channels
    }
}

/// Whether RESTORE checks what it is given: nothing here asks, but Redis keeps and shows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sanitize {
    /// `sanitize-payload`.
    Check,
    /// `skip-sanitize-payload`.
    Skip,
}

/// One user.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct User {
    /// Without spaces and NUL.
    pub name: Bytes,
    /// Whether it can log in.
    pub enabled: bool,
    /// Whether any password will do.
    pub without_password: bool,
    /// As it was last said, if it was.
    pub sanitize: Option<Sanitize>,
    /// Each of these will do.
    pub passwords: Vec<PasswordDigest>,
    /// What it may do by the rules outside of parentheses.
    pub root: Selector,
    /// What it may do besides, by the rules in parentheses.
    pub selectors: Vec<Selector>,
}

impl User {
    /// The user that a connection has before it says which.
    pub const DEFAULT: &'static [u8] = b"default";

    /// One that may do nothing and cannot log in, but may use all channels if `all_channels`.
    #[must_use]
    pub fn new(name: Bytes, all_channels: bool) -> Self {
        Self {
            name,
            enabled: false,
            without_password: false,
            sanitize: None,
            passwords: Vec::new(),
            root: Selector::new(all_channels),
            selectors: Vec::new(),
        }
    }

    /// The default user of a server on which nothing was said: it may do everything, without a password.
    #[must_use]
    pub fn open_default() -> Self {
        let root = Selector { commands: CommandSet::ALL, all_keys: true, ..Selector::new(true) };
        Self { enabled: true, without_password: true, root, ..Self::new(Bytes::from_static(Self::DEFAULT), true) }
    }

    /// The same with this password only, or without one.
    #[must_use]
    pub fn with_only_password(mut self, password: Option<&[u8]>) -> Self {
        self.without_password = password.is_none();
        self.passwords = password.map(PasswordDigest::of).into_iter().collect();
        self
    }

    /// Whether a connection is let in as this user without a word.
    #[must_use]
    pub fn is_open(&self) -> bool {
        self.enabled && self.without_password
    }

    /// Whether this password logs in as this user.
    #[must_use]
    pub fn accepts(&self, password: PasswordDigest) -> bool {
        // Every digest is looked at, so that the time does not tell which of them it was.
        let known = self.passwords.iter().fold(false, |known, digest| known | (*digest == password));
        self.enabled && (self.without_password | known)
    }

    /// Whether nothing needs to be asked before this user does something.
    #[must_use]
    pub fn may_do_everything(&self) -> bool {
        self.root.allows_everything()
    }

    /// Its selectors, the root first.
    pub fn all_selectors(&self) -> impl Iterator<Item = &Selector> {
        std::iter::once(&self.root).chain(&self.selectors)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_set_of_commands_has_a_bit_for_each_position_and_none_beyond() {
        let mut set = CommandSet::NONE;
        for position in [0, 63, 64, CommandSet::CAPACITY - 1] {
            set.set(position, true);
            assert!(set.contains(position) && !set.contains(position ^ 1), "{position}");
            set.set(position, false);
            assert!(set == CommandSet::NONE);
        }
        set.set(CommandSet::CAPACITY, true);
        assert!(!set.contains(CommandSet::CAPACITY) && set == CommandSet::NONE);
    }

    #[test]
    fn a_user_is_let_in_by_its_passwords_only_and_only_if_it_is_enabled() {
        let [right, wrong] = [b"right", b"wrong"].map(|password| PasswordDigest::of(password));
        let mut user = User::open_default();
        assert!(user.accepts(right) && user.accepts(wrong) && user.is_open());
        user = user.with_only_password(Some(b"right"));
        assert!(user.accepts(right) && !user.accepts(wrong) && !user.is_open());
        user.enabled = false;
        assert!(!user.accepts(right));
    }

    #[test]
    fn every_right_that_is_missing_counts() {
        let all = User::open_default();
        assert!(all.may_do_everything());
        let lacks = |change: fn(&mut Selector)| {
            let mut user = all.clone();
            change(&mut user.root);
            !user.may_do_everything()
        };
        assert!(lacks(|root| root.commands.set(3, false)));
        assert!(lacks(|root| root.all_keys = false));
        assert!(lacks(|root| root.all_channels = false));
    }
}
