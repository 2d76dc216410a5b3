//! As whom a connection acts. Each connection has its user in its own hands, so that a request looks at no lock and counts no
//! reference; it learns of a change by a number that all may read and nobody writes meanwhile.

use std::sync::Arc;
use std::time::Duration;

use super::Client;
use super::users::{PasswordDigest, Registered, User, Users};

/// Wrong passwords that a connection may say before each further one costs it time: a person mistypes, a program that is
/// configured wrongly connects anew.
const WRONG_PASSWORDS_FREE: u32 = 3;

/// How long the first password after those waits; each further one twice as long.
const PAUSE_MIN: Duration = Duration::from_millis(100);

/// The longest that a password waits: 43 200 guesses a day, and a connection that is closed is noticed as soon.
const PAUSE_MAX: Duration = Duration::from_secs(2);

/// As whom a connection acts.
#[derive(Debug)]
pub struct Login {
    registered: Registered,
    /// It has logged in, or began when nobody had to.
    is_proven: bool,
    /// The generation of the users in which this was so.
    generation: u64,
    may_do_everything: bool,
    wrong_passwords: u32,
}

impl Login {
    /// That of a connection that has just begun.
    #[must_use]
    pub fn new(users: &Users) -> Self {
        let generation = users.generation();
        let registered = users.default_user();
        let is_proven = registered.user.is_open();
        let may_do_everything = is_proven && registered.user.may_do_everything();
        Self { registered, is_proven, generation, may_do_everything, wrong_passwords: 0 }
    }

    /// The user.
    #[must_use]
    pub fn user(&self) -> &Arc<User> {
        &self.registered.user
    }

    /// How long the next password waits; nothing for the first few.
    #[must_use]
    pub fn pause(&self) -> Duration {
        match self.wrong_passwords.checked_sub(WRONG_PASSWORDS_FREE) {
            None => Duration::ZERO,
            Some(doublings) => PAUSE_MIN.saturating_mul(2_u32.saturating_pow(doublings)).min(PAUSE_MAX),
        }
    }

    fn is_admitted(&self, users: &Users) -> bool {
        self.is_proven || users.default_user().user.is_open()
    }
}

impl Client {
    /// Whether nothing needs to be asked before this client does something. This is all that a request of a user with full
    /// rights pays for the others.
    #[must_use]
    pub fn may_do_everything(&self, users: &Users) -> bool {
        self.login.may_do_everything && self.login.generation == users.generation()
    }

    /// Learns what became of its user; a user that was deleted ends the connection. Answers whether any user has changed since
    /// it was asked last.
    pub fn follow(&mut self, users: &Users) -> bool {
        let generation = users.generation();
        if self.login.generation == generation {
            return false;
        }
        let known = users.get(&self.login.registered.user.name);
        match known.filter(|known| known.incarnation == self.login.registered.incarnation) {
            Some(known) => {
                self.login.registered = known;
                self.login.generation = generation;
                self.note_rights(users);
            }
            None => {
                self.log_out(users);
                // Nobody, rather than the default user: it ends, and does nothing before.
                self.authenticated = false;
                self.login.may_do_everything = false;
                self.close_after_reply = true;
            }
        }
        true
    }

    /// Logs in, if this is a user's name and password: whether it is. Who was logged in stays so if not.
    pub fn log_in(&mut self, users: &Users, name: &[u8], password: &[u8]) -> bool {
        let generation = users.generation();
        // Even where there is no such user: otherwise the time would tell who is one.
        let password = PasswordDigest::of(password);
        let Some(registered) = users.get(name).filter(|known| known.user.accepts(password)) else {
            self.login.wrong_passwords = self.login.wrong_passwords.saturating_add(1);
            return false;
        };
        self.login.registered = registered;
        self.login.is_proven = true;
        self.login.generation = generation;
        self.note_rights(users);
        true
    }

    /// Makes it what it was when it connected (RESET).
    pub fn log_out(&mut self, users: &Users) {
        self.login = Login { wrong_passwords: self.login.wrong_passwords, ..Login::new(users) };
        self.note_rights(users);
    }

    fn note_rights(&mut self, users: &Users) {
        let login = &mut self.login;
        self.authenticated = login.is_admitted(users);
        login.may_do_everything = self.authenticated && login.registered.user.may_do_everything();
        self.info.shown.lock().user = Some(login.registered.clone());
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::app::Clients;

    fn client(users: &Users) -> Client {
        let address = "127.0.0.1:1".parse().expect("an address");
        Client::new(Clients::default().add(address, address), users)
    }

    fn put(users: &Users, name: &'static str, change: fn(User) -> User) {
        let user = |known: Option<&User>| {
            let known = known.cloned().unwrap_or_else(|| User::new(Bytes::from_static(name.as_bytes()), false));
            Ok::<_, ()>(change(known))
        };
        assert_eq!(users.change(name.as_bytes(), user), Ok(()));
    }

    #[test]
    fn guesses_cost_more_and_more_and_a_right_password_does_not_buy_new_ones() {
        let users = Users::new(Some(b"right"));
        let mut client = client(&users);
        let mut pauses = Vec::new();
        for _ in 0..11 {
            pauses.push(client.login.pause().as_millis());
            assert!(!client.log_in(&users, b"default", b"wrong"));
        }
        assert_eq!(pauses, [0, 0, 0, 100, 200, 400, 800, 1_600, 2_000, 2_000, 2_000]);
        assert!(client.log_in(&users, b"default", b"right") && client.authenticated);
        client.log_out(&users);
        assert_eq!((client.login.pause(), client.authenticated), (PAUSE_MAX, false));
        client.login.wrong_passwords = u32::MAX;
        assert_eq!(client.login.pause(), PAUSE_MAX);
    }

    #[test]
    fn a_connection_follows_its_user() {
        let users = Users::new(None);
        put(&users, "u", |user| User { enabled: true, without_password: true, ..user });
        let mut client = client(&users);
        assert!(client.may_do_everything(&users));
        assert!(client.log_in(&users, b"u", b"any") && !client.may_do_everything(&users));
        put(&users, "u", |user| User { root: User::open_default().root, ..user });
        assert!(!client.may_do_everything(&users), "it has not asked yet");
        client.follow(&users);
        assert!(client.may_do_everything(&users) && !client.close_after_reply);
        assert!(client.info.acts_as(users.get(b"u").expect("a user").incarnation));
    }

    #[test]
    fn a_user_that_is_gone_takes_its_connections_with_it_also_if_it_was_made_anew() {
        let users = Users::new(None);
        put(&users, "u", |user| User { enabled: true, without_password: true, ..user });
        let mut client = client(&users);
        assert!(client.log_in(&users, b"u", b"any"));
        users.remove(b"u");
        put(&users, "u", |user| User { enabled: true, without_password: true, ..user });
        client.follow(&users);
        assert!(client.close_after_reply && !client.authenticated);
        assert_eq!(client.login.user().name, User::DEFAULT);
    }

    #[test]
    fn who_came_in_without_a_word_stays_in_and_who_had_to_log_in_is_let_in_when_nobody_has_to() {
        let users = Users::new(None);
        let mut early = client(&users);
        users.set_default_password(Some(b"secret"));
        let mut late = client(&users);
        early.follow(&users);
        assert!(early.authenticated && !late.authenticated);
        users.set_default_password(None);
        late.follow(&users);
        assert!(late.authenticated);
        users.set_default_password(Some(b"secret"));
        late.follow(&users);
        assert!(!late.authenticated, "it never said the password");
    }
}
