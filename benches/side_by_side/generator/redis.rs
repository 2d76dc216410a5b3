//! The loads by the Redis protocol: a thread that sends at the scheduled moments, and one for each connection that reads
//! the replies and sends what follows from them.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use fastrand::Rng;

use super::lane::Lane;
use super::pacing::Schedule;
use super::visits::Visits;
use super::{LANES, Seen, Tally, UNDER_WAY};
use crate::stage::Result;

/// Web requests, at a rate or as fast as they are answered.
///
/// # Errors
/// A wrong reply or none.
pub fn web(address: SocketAddr, visits: impl Fn(usize) -> Visits, rate: Option<f64>, length: Duration) -> Result<Seen> {
    let lanes = open(address)?;
    match rate {
        None => closed(&lanes, visits, length),
        Some(rate) => {
            let mut visits: Vec<_> = (0..LANES).map(visits).collect();
            paced(&lanes, rate, length, |lane, number, moment| {
                lane.send(|outgoing| {
                    if let Some(visit) = visits[number as usize % LANES].next() {
                        outgoing.open(visit, moment);
                    }
                })
            })
        }
    }
}

/// As many reads as writes on the same connections; the latencies are those of the reads.
///
/// # Errors
/// A wrong reply or none.
pub fn mixed(address: SocketAddr, seed: u64, keys: u32, rate: f64, length: Duration) -> Result<Seen> {
    let lanes = open(address)?;
    let mut random = Rng::with_seed(seed);
    // Reads and writes take turns, and both on every connection.
    paced(&lanes, 2.0 * rate, length, |lane, number, moment| {
        let (key, nonce) = (random.u32(0..keys), random.u64(..));
        let is_read = (number / LANES as u64).is_multiple_of(2);
        lane.send(|outgoing| if is_read { outgoing.read(key, moment) } else { outgoing.write(key, nonce) })
    })
}

fn open(address: SocketAddr) -> Result<Vec<Lane>> {
    (0..LANES).map(|_| Lane::open(address)).collect()
}

/// A fixed number of visits under way on each connection, until the time is over.
fn closed(lanes: &[Lane], visits: impl Fn(usize) -> Visits, length: Duration) -> Result<Seen> {
    let begin = Instant::now();
    let end = begin + length;
    let finished = AtomicBool::new(false);
    thread::scope(|scope| {
        let mut readers = Vec::new();
        for (number, lane) in lanes.iter().enumerate() {
            let mut visits = visits(number);
            lane.send(|outgoing| {
                for visit in visits.by_ref().take(UNDER_WAY) {
                    outgoing.open(visit, begin);
                }
            })?;
            let next = move || if Instant::now() < end { visits.next() } else { None };
            let finished = &finished;
            readers.push(scope.spawn(move || lane.read(finished, next)));
        }
        thread::sleep(length);
        finished.store(true, Ordering::Release);
        join(readers, begin)
    })
}

/// Sends by a schedule, on each connection in turn.
fn paced(
    lanes: &[Lane],
    rate: f64,
    length: Duration,
    mut send: impl FnMut(&Lane, u64, Instant) -> Result<()>,
) -> Result<Seen> {
    let finished = AtomicBool::new(false);
    thread::scope(|scope| {
        let readers = lanes.iter().map(|lane| scope.spawn(|| lane.read(&finished, || None))).collect();
        let begin = Instant::now();
        let sent = Schedule::new(begin, rate, length).keep(|number, moment| {
            let lane = &lanes[number as usize % lanes.len()];
            lane.wait_for_room()?;
            send(lane, number, moment)
        });
        finished.store(true, Ordering::Release);
        // A reader that failed says more than the sender that failed because of it.
        let seen = join(readers, begin)?;
        sent.map(|()| seen)
    })
}

fn join(readers: Vec<thread::ScopedJoinHandle<'_, Result<Tally>>>, begin: Instant) -> Result<Seen> {
    let mut all = Tally::new();
    for reader in readers {
        all.add(&reader.join().map_err(|_| "a reader panicked")??);
    }
    Ok(all.seen(begin.elapsed()))
}
