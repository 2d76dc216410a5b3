//! What every benchmark says to a server that speaks the Redis protocol. No reply but the expected one is taken for done.

use std::net::SocketAddr;
use std::ops::Range;
use std::str::FromStr;
use std::time::{Duration, Instant};

use super::Result;
use crate::support::resp::{Connection, Frame};
use crate::support::server::is_ok;

/// Requests of one pipeline; a server may commit them at once.
const PIPELINE: u32 = 500;

/// Sends the requests of these numbers in pipelines, at most so many a second if a rate is given.
///
/// # Errors
/// When one of them is not answered by OK.
pub fn fill(
    address: SocketAddr,
    numbers: Range<u32>,
    rate: Option<f64>,
    request: impl Fn(u32) -> Vec<u8>,
) -> Result<()> {
    let mut connection = Connection::open(address)?;
    let begun = Instant::now();
    for start in numbers.clone().step_by(PIPELINE as usize) {
        if let Some(rate) = rate {
            let due = Duration::from_secs_f64(f64::from(start - numbers.start) / rate);
            std::thread::sleep(due.saturating_sub(begun.elapsed()));
        }
        let chunk = start..numbers.end.min(start + PIPELINE);
        let requests: Vec<u8> = chunk.clone().flat_map(&request).collect();
        connection.send(&requests)?;
        for _ in chunk {
            expect_ok("a request of the fill", &connection.read()?)?;
        }
    }
    Ok(())
}

/// Waits until all that was acknowledged is in Sojourn's database, touches included.
///
/// # Errors
/// When that fails.
pub fn save(address: SocketAddr) -> Result<()> {
    expect_ok("SAVE", &Connection::open(address)?.call(&["SAVE"])?)
}

/// A number of INFO, if the server has it.
///
/// # Errors
/// When it does not answer.
pub fn info<N: FromStr>(address: SocketAddr, name: &str) -> Result<Option<N>> {
    let reply = Connection::open(address)?.call(&["INFO", "everything"])?;
    let text = String::from_utf8_lossy(reply.bytes().unwrap_or_default()).into_owned();
    let found = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
    Ok(found.and_then(|number| number.trim().parse().ok()))
}

/// Takes no other reply than OK to what was asked.
///
/// # Errors
/// When it is another one.
pub fn expect_ok(asked: &str, reply: &Frame) -> Result<()> {
    if is_ok(reply) { Ok(()) } else { Err(format!("{asked} was answered by {reply:?}").into()) }
}
