//! All connections, as CLIENT LIST and CLIENT INFO show them.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use dashmap::DashMap;
use parking_lot::Mutex;

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
    /// What changes while it lives.
    pub shown: Mutex<Shown>,
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
    /// The last command's name.
    pub last_command: &'static str,
    /// When it ran.
    pub last_active: Option<Instant>,
}

impl ClientInfo {
    /// A command of this name runs now.
    pub fn note_command(&self, name: &'static str, now: Instant) {
        let mut shown = self.shown.lock();
        shown.last_command = name;
        shown.last_active = Some(now);
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
        let info = Arc::new(ClientInfo { id, address, local_address, connected: Instant::now(), shown });
        self.by_id.insert(id, Arc::clone(&info));
        info
    }

    /// Forgets a connection that ended.
    pub fn remove(&self, id: u64) {
        self.by_id.remove(&id);
    }

    /// How many there are.
    #[must_use]
    pub fn count(&self) -> usize {
        self.by_id.len()
    }

    /// All of them, oldest first.
    #[must_use]
    pub fn list(&self) -> Vec<Arc<ClientInfo>> {
        let mut all: Vec<_> = self.by_id.iter().map(|entry| Arc::clone(entry.value())).collect();
        all.sort_by_key(|info| info.id);
        all
    }
}
