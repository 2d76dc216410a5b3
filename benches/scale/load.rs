//! The load: sessions that are written in pipelines, and readers whose requests leave at fixed times, whatever the server
//! does, so that a pause shows in all the requests that fall into it.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;

use crate::stage::redis_benchmark::Run;
use crate::stage::session::{PREFIX, RANDOM, TTL_SECONDS, value};
use crate::stage::{Result, client};
use crate::support::resp::{Connection, encode};

/// The key of a session: 37 bytes, as connect-redis makes them of express-session's 32.
pub fn key(number: u32) -> String {
    format!("{PREFIX}{number:032}")
}

/// When the sessions end.
#[derive(Clone, Copy, Debug)]
pub enum End {
    /// A day after they are written, as [`TTL_SECONDS`] says.
    Tomorrow,
    /// Within the second that begins at this time, in Unix milliseconds.
    SecondFrom(u64),
}

/// The request that writes a session.
fn set(number: u32, value: &str, end: End) -> Vec<u8> {
    match end {
        End::Tomorrow => encode(&["SET", &key(number), value, "EX", &TTL_SECONDS.to_string()]),
        End::SecondFrom(ms) => {
            let end = (ms + u64::from(number % 1_000)).to_string();
            encode(&["SET", &key(number), value, "PXAT", &end])
        }
    }
}

/// Writes sessions, at most so many a second if a rate is given.
///
/// # Errors
/// When a write is refused.
pub fn fill(
    address: SocketAddr,
    numbers: std::ops::Range<u32>,
    end: End,
    rate: Option<f64>,
    content: impl Fn(u32) -> String,
) -> Result<()> {
    client::fill(address, numbers, rate, |number| set(number, &content(number), end))
}

/// The usual value of a session.
pub fn plain(number: u32) -> String {
    value(u64::from(number))
}

/// A reader whose GETs leave at a fixed rate.
#[derive(Clone, Copy, Debug)]
pub struct Reader {
    /// Whom it asks.
    pub address: SocketAddr,
    /// GETs a second.
    pub rate: f64,
    /// Of the sessions from this number on.
    pub first: u32,
    /// So many.
    pub count: u32,
    /// The latencies are kept apart for each of these.
    pub slice: Duration,
}

/// Latencies in microseconds, slice by slice.
#[derive(Clone, Debug)]
pub struct Latencies {
    /// The length of a slice.
    pub slice: Duration,
    /// Those whose request was due within the slice.
    pub slices: Vec<Histogram<u64>>,
}

/// Latencies above ten minutes are none of a server that works.
const LATENCY_US_MAX: u64 = 600_000_000;

fn histogram() -> Histogram<u64> {
    Histogram::new_with_bounds(1, LATENCY_US_MAX, 3).expect("bounds that are in order")
}

impl Reader {
    /// Reads until it is told to stop. The latency of a request counts from when it was due.
    ///
    /// # Errors
    /// When a GET is not answered by a value.
    pub fn run(&self, stop: &AtomicBool) -> Result<Latencies> {
        let mut connection = Connection::open(self.address)?;
        let mut latencies = Latencies { slice: self.slice, slices: Vec::new() };
        let (begun, mut sent) = (Instant::now(), 0_u64);
        while !stop.load(Ordering::Relaxed) {
            let due = Duration::from_secs_f64(sent as f64 / self.rate);
            wait_until(begun + due);
            let number = self.first + (sent as u32).wrapping_mul(2_654_435_761) % self.count;
            let reply = connection.call(&["GET", &key(number)])?;
            if reply.bytes().is_none() {
                return Err(format!("a GET of a living session was answered by {reply:?}").into());
            }
            latencies.note(due, begun.elapsed() - due);
            sent += 1;
        }
        Ok(latencies)
    }
}

/// Sleeps for most of the time and watches the clock for the rest: a sleep alone ends some 60 µs late.
fn wait_until(due: Instant) {
    const WATCHED: Duration = Duration::from_micros(100);
    let left = due.saturating_duration_since(Instant::now());
    if left > WATCHED {
        std::thread::sleep(left - WATCHED);
    }
    while Instant::now() < due {
        std::thread::yield_now();
    }
}

impl Latencies {
    fn note(&mut self, due: Duration, took: Duration) {
        let slice = (due.as_secs_f64() / self.slice.as_secs_f64()) as usize;
        while self.slices.len() <= slice {
            self.slices.push(histogram());
        }
        let took_us = u64::try_from(took.as_micros()).unwrap_or(LATENCY_US_MAX);
        self.slices[slice].saturating_record(took_us.max(1));
    }

    /// The seconds at which the slices begin, and this quantile of each in microseconds.
    pub fn points(&self, quantile: f64) -> impl Iterator<Item = (f64, f64)> {
        let seconds = self.slice.as_secs_f64();
        let point = move |(number, slice): (usize, &Histogram<u64>)| {
            (number as f64 * seconds, slice.value_at_quantile(quantile) as f64)
        };
        self.slices.iter().enumerate().map(point)
    }

    /// All of the slices within these seconds.
    pub fn between(&self, from: f64, to: f64) -> Histogram<u64> {
        let mut all = histogram();
        for (number, slice) in self.slices.iter().enumerate() {
            let at = number as f64 * self.slice.as_secs_f64();
            if (from..to).contains(&at) {
                // Both have the same bounds.
                let _ = all.add(slice);
            }
        }
        all
    }

    /// All of them.
    pub fn all(&self) -> Histogram<u64> {
        self.between(0.0, f64::MAX)
    }
}

/// Does something while it is watched; answers what both found. The watch goes on until it is told to stop.
///
/// # Errors
/// When either fails.
pub fn meanwhile<T, W: Send>(
    watch: impl FnOnce(&AtomicBool) -> Result<W> + Send,
    act: impl FnOnce() -> Result<T>,
) -> Result<(T, W)> {
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let watching = scope.spawn(|| watch(&stop));
        let done = act();
        stop.store(true, Ordering::Relaxed);
        let watched = watching.join().map_err(|_| "the watch panicked")??;
        Ok((done?, watched))
    })
}

/// GETs by redis-benchmark over so many sessions on 50 connections, one at a time on each; answers how many a second.
///
/// # Errors
/// When it fails.
pub fn get_by_benchmark(address: SocketAddr, sessions: u32, requests: u32) -> Result<f64> {
    let random = format!("{PREFIX}{:020}{RANDOM}", 0);
    let run = Run { connections: 50, pipeline: 1, keys: sessions, requests: u64::from(requests) };
    let begun = Instant::now();
    run.send(address, &["-q", "GET", &random])?;
    Ok(f64::from(requests) / begun.elapsed().as_secs_f64())
}
