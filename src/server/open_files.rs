//! The limit of open files: each connection is one, and shells and service managers often allow 1 024. What it does not
//! allow must be said at the start, and not found out when the database cannot be reached any more.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tracing::warn;

use crate::config::Settings;

/// Files that are no client's connection: listeners, the database's connections and files, the log, and some to spare
/// (Redis keeps 32).
const FILES_BESIDE_CLIENTS: u64 = 64;

/// Raises the limit to what `maxclients` needs; makes the setting say what is allowed where that is less, and the log, too.
pub(super) fn make_room(settings: &mut Settings) {
    let wanted = settings.maxclients;
    settings.maxclients = allow(wanted);
    if settings.maxclients < wanted {
        let maxclients = settings.maxclients;
        warn!(wanted, maxclients, "the limit of open files (ulimit -n) allows fewer clients than maxclients");
    }
}

/// Raises the limit to what so many clients need, as Redis does; answers how many clients it allows, of those.
pub(super) fn allow(clients_max: u32) -> u32 {
    let wanted = u64::from(clients_max) + FILES_BESIDE_CLIENTS;
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    if current.is_some_and(|current| current < wanted) {
        // Root may go beyond the maximum; anybody else up to it.
        let beyond = Rlimit { current: Some(wanted), maximum: maximum.map(|maximum| maximum.max(wanted)) };
        let within = Rlimit { current: Some(maximum.map_or(wanted, |maximum| maximum.min(wanted))), maximum };
        // Where both are refused, the limit stays as it is, which is asked for below.
        let _raised = setrlimit(Resource::Nofile, beyond).or_else(|_| setrlimit(Resource::Nofile, within));
    }
    let current = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
    let allowed = current.saturating_sub(FILES_BESIDE_CLIENTS).max(1);
    u32::try_from(allowed).unwrap_or(u32::MAX).min(clients_max)
}
