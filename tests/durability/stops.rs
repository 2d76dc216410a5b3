//! A stop answers what was received and ends in time, however busy the connections are.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use super::server::{Server, wait_until};
use super::support::resp::{Connection, encode};

/// So many that at any moment most of them are executing commands and not waiting for any.
const CLIENTS: usize = 8;
const PIPELINE: usize = 64;
/// Half of `shutdown-timeout` is what connections may take.
const ENDS_WITHIN: Duration = Duration::from_secs(10);

/// Asks again before it reads, so that there is always something to execute; ends with the connection.
fn keep_busy(mut connection: Connection, rounds: &AtomicUsize) {
    let commands = encode(&["MGET", "a", "b", "c"]).repeat(PIPELINE);
    let mut sent = connection.send(&commands);
    while sent.is_ok() {
        sent = connection.send(&commands);
        if (0..PIPELINE).any(|_| connection.read().is_err()) {
            return;
        }
        rounds.fetch_add(1, Ordering::Relaxed);
    }
}

#[test]
fn a_stop_is_not_missed_by_busy_connections() {
    let mut server = Server::start("memory://", &["--shutdown-timeout", "40s"]);
    let rounds = AtomicUsize::new(0);
    let (connections, rounds) = ((0..CLIENTS).map(|_| server.connect()).collect::<Vec<_>>(), &rounds);
    thread::scope(|scope| {
        for connection in connections {
            scope.spawn(move || keep_busy(connection, rounds));
        }
        wait_until("busy connections", || rounds.load(Ordering::Relaxed) > 10 * CLIENTS);
        let begun = Instant::now();
        assert_eq!(server.stop().code(), Some(0), "{}", server.log());
        let took = begun.elapsed();
        assert!(took < ENDS_WITHIN, "the stop took {took:?}: {}", server.log());
    });
}
