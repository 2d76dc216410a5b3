//! All connections, as CLIENT LIST and CLIENT INFO show them.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use dashmap::DashMap;
use parking_lot::Mutex;
use tokio::sync::oneshot;

use super::users::Registered;

/// What others may see of a connection.
#[derive(Debug)]
pub struct ClientInfo {
    /// Counts up from 1.
    pub id: u64,
    /// The peer.
    pub address: SocketAddr,
    /// This side.
    pub local_address: SocketAddr,
    /// When it connected.
    pub connected: Instant,
    /// What a few commands change while it lives.
    pub shown: Mutex<Shown>,
    last: Last,
    /// Whoever takes it away ends the connection.
    stay: Mutex<Option<oneshot::Sender<()>>>,
    expelled: Mutex<Option<oneshot::Receiver<()>>>,
}

/// The part of [`ClientInfo`] that commands change.
#[derive(Clone, Debug, Default)]
pub struct Shown {
    /// CLIENT SETNAME.
    pub name: String,
    /// CLIENT SETINFO LIB-NAME.
    pub library_name: String,
    /// CLIENT SETINFO LIB-VER.
    pub library_version: String,
    /// The selected database.
    pub database: u8,
    /// 2 or 3.
    pub protocol: u8,
    /// Commands queued in MULTI, -1 outside.
    pub queued: i64,
    /// How many channels it listens to.
    pub channels: usize,
    /// How many patterns it listens to.
    pub patterns: usize,
    /// Whether it watches what all clients do.
    pub monitors: bool,
    /// As whom it acts.
    pub user: Option<Registered>,
}

/// The last command of a connection. Atomics, since every command notes itself here.
#[derive(Debug)]
struct Last {
    /// Its position in the command table, `usize::MAX` before the first.
    command: AtomicUsize,
    /// When it ran, in microseconds after the connection began.
    after_us: AtomicU64,
}

impl ClientInfo {
    /// The command at this position of the command table runs now.
    pub fn note_command(&self, position: usize, now: Instant) {
        let after_us = now.saturating_duration_since(self.connected).as_micros();
        self.last.command.store(position, Ordering::Relaxed);
        self.last.after_us.store(u64::try_from(after_us).unwrap_or(u64::MAX), Ordering::Relaxed);
    }

    /// The position of the last command in the command table; `None` before the first.
    #[must_use]
    pub fn last_command(&self) -> Option<usize> {
        Some(self.last.command.load(Ordering::Relaxed)).filter(|position| *position != usize::MAX)
    }

    /// How long ago the last command ran, or the connection began.
    #[must_use]
    pub fn idle(&self, now: Instant) -> Duration {
        let last = Duration::from_micros(self.last.after_us.load(Ordering::Relaxed));
        now.saturating_duration_since(self.connected).saturating_sub(last)
    }

    /// Ready, with an error, once the connection must end; only the first call gets it. A channel of one message, since it is
    /// asked in every round of the connection and takes no lock.
    pub fn expelled(&self) -> Option<oneshot::Receiver<()>> {
        self.expelled.lock().take()
    }

    /// Whether it acts as this incarnation of a user.
    #[must_use]
    pub fn acts_as(&self, incarnation: u64) -> bool {
        self.shown.lock().user.as_ref().is_some_and(|user| user.incarnation == incarnation)
    }

    /// Whether it listens to channels.
    #[must_use]
    pub fn listens(&self) -> bool {
        let shown = self.shown.lock();
        shown.channels + shown.patterns > 0
    }

    /// Ends the connection, whatever it is doing.
    pub fn expel(&self) {
        self.stay.lock().take();
    }

    /// So many commands are queued in MULTI; `None` outside.
    pub fn note_queued(&self, queued: Option<usize>) {
        self.shown.lock().queued = queued.map_or(-1, |queued| i64::try_from(queued).unwrap_or(i64::MAX));
    }
}

/// All connections.
#[derive(Debug, Default)]
pub struct Clients {
    last_id: AtomicU64,
    by_id: DashMap<u64, Arc<ClientInfo>>,
}

impl Clients {
    /// Registers a connection.
    pub fn add(&self, address: SocketAddr, local_address: SocketAddr) -> Arc<ClientInfo> {
        let id = self.last_id.fetch_add(1, Ordering::Relaxed) + 1;
        let shown = Mutex::new(Shown { protocol: 2, queued: -1, ..Shown::default() });
        let last = Last { command: AtomicUsize::new(usize::MAX), after_us: AtomicU64::new(0) };
        let (stay, expelled) = oneshot::channel();
        let info = Arc::new(ClientInfo {
            id,
            address,
            local_address,
            connected: Instant::now(),
            shown,
            last,
            stay: Mutex::new(Some(stay)),
            expelled: Mutex::new(Some(expelled)),
        });
        self.by_id.insert(id, Arc::clone(&info));
        info
    }

    /// Forgets a connection that ended.
    pub fn remove(&self, id: u64) {
        self.by_id.remove(&id);
    }

    /// Ends the connections that act as one of these incarnations of users, but the one with the number `but`: whether that one
    /// was to end too.
    pub fn expel_users(&self, incarnations: &[u64], but: u64) -> bool {
        let mut all = self.list();
        all.retain(|info| incarnations.iter().any(|incarnation| info.acts_as(*incarnation)));
        for info in all.iter().filter(|info| info.id != but) {
            info.expel();
        }
        all.iter().any(|info| info.id == but)
    }

    /// How many there are.
    #[must_use]
    pub fn count(&self) -> usize {
        self.by_id.len()
    }

    /// All of them, oldest first, but those that were told to end: Redis ends them at once, here they may take a moment.
    #[must_use]
    pub fn list(&self) -> Vec<Arc<ClientInfo>> {
        let stays = |info: &Arc<ClientInfo>| info.stay.lock().is_some();
        let mut all: Vec<_> = self.by_id.iter().map(|entry| Arc::clone(entry.value())).filter(stays).collect();
        all.sort_by_key(|info| info.id);
        all
    }
}
