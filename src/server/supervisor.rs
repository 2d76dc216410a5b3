//! What the server tells systemd (`Type=notify`): that it serves, that it reads its settings again, that it stops, and in one
//! line what it is at. Without a service manager it tells nobody, and whether anybody listens must never change what it does.

use std::time::{Duration, Instant};

use sd_notify::NotifyState;
use tracing::debug;

use crate::database::write_through::Status;

/// It answers clients.
pub fn ready() {
    tell(&[NotifyState::Ready]);
}

/// It reads its settings again; [`ready`] says when that is done. systemd orders the two by the time.
pub fn reloading() {
    match NotifyState::monotonic_usec_now() {
        Ok(now) => tell(&[NotifyState::Reloading, now]),
        Err(error) => debug!(%error, "the monotonic clock cannot be read"),
    }
}

/// It commits what is left, and ends.
pub fn stopping() {
    tell(&[NotifyState::Stopping, NotifyState::Status("stopping: committing what is left")]);
}

fn tell(states: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(states) {
        debug!(%error, "the service manager could not be told");
    }
}

/// The line of `systemctl status`, told when it changes.
#[derive(Debug, Default)]
pub struct StatusLine(Option<Status>);

impl StatusLine {
    /// Follows what the way to the database is at.
    pub fn follow(&mut self, status: Status) {
        if self.0 == Some(status) {
            return;
        }
        self.0 = Some(status);
        tell(&[NotifyState::Status(match status {
            Status::Loading => "waiting for the database, or reading its keys: clients get LOADING",
            Status::Up => "serving",
            Status::Down => "the database is away: hot sessions are served, writes are refused",
            Status::Lost => "another server owns the database",
        })]);
    }
}

/// The sign of life that systemd may wait for (`WatchdogSec`). Whoever gives it must just have shown that the keys can be
/// reached, or a server whose locks never come free would be kept.
#[derive(Debug)]
pub struct Watchdog {
    every: Option<Duration>,
    told: Instant,
}

impl Watchdog {
    /// As often as the environment asks for, or never.
    #[must_use]
    pub fn new() -> Self {
        // Half of what is granted, as systemd recommends.
        Self { every: sd_notify::watchdog_enabled().map(|granted| granted / 2), told: Instant::now() }
    }

    /// Gives it if it is due.
    pub fn sign(&mut self) {
        if self.every.is_some_and(|every| self.told.elapsed() >= every) {
            self.told = Instant::now();
            tell(&[NotifyState::Watchdog]);
        }
    }
}
