//! The users: who may log in, and what each may do. This holds what the rules of ACL SETUSER have made of a user; the
//! rules themselves, and what they mean for a request, stand in `commands::acl`. The lock here is never taken for a request
//! of a user who may do everything.

mod denials;
mod password;
mod user;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use parking_lot::{Mutex, RwLock};

pub use denials::{Context, Denial, Denials, Reason};
pub use password::{PasswordDigest, hex};
pub use user::{CommandSet, KeyPattern, Sanitize, Selector, User};

/// All users by their names, in the order of their bytes.
pub type UsersByName = BTreeMap<Bytes, Registered>;

/// A user and its incarnation: one that is deleted and made anew is another one.
#[derive(Clone, Debug)]
pub struct Registered {
    /// What it may do now.
    pub user: Arc<User>,
    /// Counts up; a change keeps it.
    pub incarnation: u64,
}

/// Every request reads it, and nobody writes beside it: a cache line that all cores share without a word.
#[derive(Debug, Default)]
#[repr(align(64))]
struct Generation(AtomicU64);

/// All users.
#[derive(Debug)]
pub struct Users {
    generation: Generation,
    by_name: RwLock<UsersByName>,
    last_incarnation: AtomicU64,
    /// What was denied, for ACL LOG.
    pub denials: Mutex<Denials>,
    /// Held while the aclfile is written.
    pub saving: tokio::sync::Mutex<()>,
}

impl Users {
    /// With the default user only, who has this password if any.
    #[must_use]
    pub fn new(password: Option<&[u8]>) -> Self {
        let users = Self {
            generation: Generation::default(),
            by_name: RwLock::default(),
            last_incarnation: AtomicU64::new(0),
            denials: Mutex::default(),
            saving: tokio::sync::Mutex::default(),
        };
        users.put(&mut users.by_name.write(), User::open_default().with_only_password(password));
        users
    }

    /// Changes whenever a user changes.
    #[must_use]
    pub fn generation(&self) -> u64 {
        self.generation.0.load(Ordering::Acquire)
    }

    /// The user of this name.
    #[must_use]
    pub fn get(&self, name: &[u8]) -> Option<Registered> {
        self.by_name.read().get(name).cloned()
    }

    /// The default user, which cannot be deleted.
    #[must_use]
    pub fn default_user(&self) -> Registered {
        // It is put there at the start and by each replacement; nobody takes it away.
        self.get(User::DEFAULT).unwrap_or_else(|| Registered { user: Arc::new(User::open_default()), incarnation: 0 })
    }

    /// All of them, in the order of their names.
    #[must_use]
    pub fn list(&self) -> Vec<Arc<User>> {
        self.by_name.read().values().map(|registered| Arc::clone(&registered.user)).collect()
    }

    /// Puts what `change` makes of the user of this name in its place; nothing is changed when it fails. Two changes of a
    /// user follow each other.
    ///
    /// # Errors
    /// Those of `change`.
    pub fn change<E>(&self, name: &[u8], change: impl FnOnce(Option<&User>) -> Result<User, E>) -> Result<(), E> {
        let mut by_name = self.by_name.write();
        let user = change(by_name.get(name).map(|registered| &*registered.user))?;
        self.put(&mut by_name, user);
        Ok(())
    }

    /// Gives the default user this password only, or none.
    pub fn set_default_password(&self, password: Option<&[u8]>) {
        let changed: Result<(), std::convert::Infallible> = self.change(User::DEFAULT, |user| {
            Ok(user.cloned().unwrap_or_else(User::open_default).with_only_password(password))
        });
        debug_assert!(changed.is_ok(), "nothing refuses this change");
    }

    /// Deletes the user of this name, and says which incarnation it was.
    pub fn remove(&self, name: &[u8]) -> Option<u64> {
        let removed = self.by_name.write().remove(name)?;
        self.turn();
        Some(removed.incarnation)
    }

    /// Puts these users in the place of all others, and says which incarnations are gone. The default user is changed, or is
    /// as on a new server if it is not among them.
    pub fn replace(&self, users: Vec<User>) -> Vec<u64> {
        let mut by_name = self.by_name.write();
        let mut gone = std::mem::take(&mut *by_name);
        if let Some(default) = gone.remove(User::DEFAULT) {
            by_name.insert(Bytes::from_static(User::DEFAULT), default);
        }
        self.put(&mut by_name, User::open_default());
        for user in users {
            self.put(&mut by_name, user);
        }
        gone.into_values().map(|registered| registered.incarnation).collect()
    }

    fn put(&self, by_name: &mut UsersByName, user: User) {
        let known = by_name.get(&user.name).map(|registered| registered.incarnation);
        let incarnation = known.unwrap_or_else(|| self.last_incarnation.fetch_add(1, Ordering::Relaxed) + 1);
        by_name.insert(user.name.clone(), Registered { user: Arc::new(user), incarnation });
        self.turn();
    }

    fn turn(&self) {
        self.generation.0.fetch_add(1, Ordering::Release);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named(name: &'static str) -> User {
        User::new(Bytes::from_static(name.as_bytes()), false)
    }

    fn put(users: &Users, user: &User) -> u64 {
        let changed: Result<(), ()> = users.change(&user.name, |_| Ok(user.clone()));
        assert_eq!(changed, Ok(()));
        users.get(&user.name).expect("just put").incarnation
    }

    #[test]
    fn a_change_keeps_the_incarnation_and_a_user_made_anew_has_another() {
        let users = Users::new(None);
        let first = put(&users, &named("u"));
        assert_eq!(put(&users, &User { enabled: true, ..named("u") }), first);
        assert_eq!(users.remove(b"u"), Some(first));
        assert_eq!(users.remove(b"u"), None);
        assert_ne!(put(&users, &named("u")), first);
    }

    #[test]
    fn every_change_is_noticed_and_a_failed_one_changes_nothing() {
        let users = Users::new(Some(b"secret"));
        let mut seen = users.generation();
        let mut changed = |users: &Users| std::mem::replace(&mut seen, users.generation()) != users.generation();
        assert_eq!(users.change(b"u", |_| Err("refused")), Err("refused"));
        assert!(!changed(&users) && users.get(b"u").is_none());
        put(&users, &named("u"));
        assert!(changed(&users));
        users.set_default_password(None);
        assert!(changed(&users) && users.default_user().user.is_open());
        users.remove(b"u");
        assert!(changed(&users));
        users.replace(Vec::new());
        assert!(changed(&users));
    }

    #[test]
    fn a_replacement_ends_all_users_but_the_default_one() {
        let users = Users::new(Some(b"secret"));
        let (default, old) = (users.default_user().incarnation, put(&users, &named("old")));
        assert_eq!(users.replace(vec![named("new"), named("old")]), [old]);
        assert_ne!(users.get(b"old").expect("made anew").incarnation, old);
        assert_eq!(users.default_user().incarnation, default);
        assert!(users.default_user().user.is_open(), "it was not among them, so it is as on a new server");
        let names: Vec<_> = users.list().iter().map(|user| user.name.clone()).collect();
        assert_eq!(names, ["default", "new", "old"]);
    }
}
