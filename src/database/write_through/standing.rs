//! What the server may do, and how long the database was away. A status changes a few times a day; it is read by every request.

use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use super::WriteThrough;

/// What the server may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Status {
    /// The database is not owned yet; nothing is answered.
    Loading,
    /// All is well.
    Up,
    /// The database is away: hot reads and touches only.
    Down,
    /// Another server owns the database: nothing may be answered any more.
    Lost,
}

impl Status {
    /// Its word for operators.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Loading => "loading",
            Self::Up => "up",
            Self::Down => "down",
            Self::Lost => "lost",
        }
    }
}

/// The status of this moment, and the time spent in outages.
#[derive(Debug)]
pub(super) struct Standing {
    status: AtomicU8,
    /// Whether it waits for another server to be gone.
    waits_for_owner: AtomicBool,
    outages: Mutex<Outages>,
}

#[derive(Debug, Default)]
struct Outages {
    past: Duration,
    since: Option<Instant>,
}

impl Standing {
    pub fn loading() -> Self {
        Self {
            status: AtomicU8::new(Status::Loading as u8),
            waits_for_owner: AtomicBool::new(false),
            outages: Mutex::default(),
        }
    }

    pub fn status(&self) -> Status {
        match self.status.load(Ordering::Acquire) {
            0 => Status::Loading,
            1 => Status::Up,
            2 => Status::Down,
            _ => Status::Lost,
        }
    }

    pub fn set(&self, status: Status) {
        let mut outages = self.outages.lock();
        let ended = outages.since.take().map_or(Duration::ZERO, |since| since.elapsed());
        outages.past += ended;
        outages.since = (status == Status::Down).then(Instant::now);
        self.status.store(status as u8, Ordering::Release);
    }

    /// How long the outage under way has lasted; `None` without one.
    pub fn down_for(&self) -> Option<Duration> {
        self.outages.lock().since.map(|since| since.elapsed())
    }

    /// How long all outages have lasted together.
    pub fn down_in_all(&self) -> Duration {
        let outages = self.outages.lock();
        outages.past + outages.since.map_or(Duration::ZERO, |since| since.elapsed())
    }
}

impl WriteThrough {
    /// Notes whether another server was found to own the database, for whose end this one waits.
    pub fn note_other_owner(&self, is_there: bool) {
        self.standing.waits_for_owner.store(is_there, Ordering::Relaxed);
    }

    /// Whether this server waits for another one to be gone.
    #[must_use]
    pub fn waits_for_owner(&self) -> bool {
        self.status() == Status::Loading && self.standing.waits_for_owner.load(Ordering::Relaxed)
    }

    /// What the server may do.
    #[must_use]
    pub fn status(&self) -> Status {
        self.standing.status()
    }

    /// How long the outage under way has lasted; `None` without one.
    #[must_use]
    pub fn down_for(&self) -> Option<Duration> {
        self.standing.down_for()
    }

    /// How long all outages have lasted together.
    #[must_use]
    pub fn down_in_all(&self) -> Duration {
        self.standing.down_in_all()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn outages_add_up_and_end_with_any_other_status() {
        let standing = Standing::loading();
        assert_eq!(
            (standing.status(), standing.down_for(), standing.down_in_all()),
            (Status::Loading, None, Duration::ZERO)
        );
        for after in [Status::Up, Status::Lost] {
            let before = standing.down_in_all();
            standing.set(Status::Down);
            assert!(standing.down_for().is_some());
            while standing.down_in_all() == before {}
            standing.set(after);
            let ended = standing.down_in_all();
            assert!(ended > before && standing.down_for().is_none());
            assert_eq!((standing.status(), standing.down_in_all()), (after, ended));
        }
    }
}
