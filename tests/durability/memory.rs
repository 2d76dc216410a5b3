//! What the server says of its memory, and what it does at its limit, asked of real processes.

use crate::server::{Server, is_ok, wait_until};
use crate::support::resp::{Connection, encode};

const SESSIONS: usize = 300_000;
const PIPELINE: usize = 500;
/// How far the account may be off.
const OFF_MAX: f64 = 0.05;

fn key(number: usize) -> String {
    // As long as the keys of connect-redis: `sess:` and 32 letters.
    format!("sess:{number:032x}")
}

fn value(number: usize, bytes: usize) -> String {
    let start = format!("{{\"user\":{number},\"padding\":\"");
    let padding = "x".repeat(bytes - start.len() - 2);
    format!("{start}{padding}\"}}")
}

fn log_in(client: &mut Connection, numbers: std::ops::Range<usize>, bytes: usize) {
    let numbers: Vec<usize> = numbers.collect();
    for part in numbers.chunks(PIPELINE) {
        let set = |number: &usize| encode(&["SET", &key(*number), &value(*number, bytes), "EX", "86400"]);
        client.send(&part.iter().flat_map(set).collect::<Vec<u8>>()).expect("a server");
        for number in part {
            assert!(is_ok(&client.read().expect("a reply")), "session {number}");
        }
    }
}

fn resident_bytes(server: &Server) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", server.pid())).expect("its status");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("its resident memory");
    line.trim().trim_end_matches(" kB").parse::<u64>().expect("a number") * 1024
}

/// The growth of the resident memory from 50 000 sessions to 300 000, beside that of `used_memory`.
#[test]
fn used_memory_is_what_the_process_holds_for_its_sessions() {
    let folder = tempfile::tempdir().expect("a folder");
    let url = format!("sqlite://{}", folder.path().join("sojourn.db").display());
    let server = Server::start(&url, &["--maxmemory", "0"]);
    let mut client = server.connect();
    let measure = |client: &mut Connection| {
        wait_until("all commits", || client.info("backlog") == 0);
        (resident_bytes(&server), client.info("used_memory"))
    };
    // What the process takes besides its sessions, the caches of the database above all, is there by then.
    log_in(&mut client, 0..SESSIONS / 6, 300);
    let (resident_before, used_before) = measure(&mut client);
    log_in(&mut client, SESSIONS / 6..SESSIONS, 300);
    let (resident, used) = measure(&mut client);
    let (grown, counted) = ((resident - resident_before) as f64, (used - used_before) as f64);
    assert!(counted > 250_000.0 * 337.0, "{counted} bytes counted");
    let off = (grown / counted - 1.0).abs();
    assert!(off < OFF_MAX, "the process grew by {grown} bytes, of which {counted} are counted");
}
