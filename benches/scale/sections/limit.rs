//! `maxmemory` under load: does the server keep to it, is every session still there, and how fast are those that are cold?

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use super::{MIB, Section};
use crate::scale::load::{End, fill, get_by_benchmark, key, meanwhile, plain};
use crate::scale::report::Part;
use crate::scale::servers::{Server, Stage};
use crate::stage::Result;
use crate::stage::charts::number_text;
use crate::stage::wanted::Wanted;

/// The section.
pub const SECTION: Section = Section { name: "limit", about: "`maxmemory` under load, and cold GETs", measure };

/// The share of what all sessions would take hot that the limit allows.
const LIMIT_SHARE: f64 = 0.5;
/// What a hot session takes, about, in bytes.
const HOT_BYTES: f64 = 420.0;
const OVER_MAX: f64 = 1.05;
const SAMPLED_EVERY: Duration = Duration::from_millis(50);

/// The most that was seen, in bytes.
#[derive(Clone, Copy, Debug, Default)]
struct Most {
    used: f64,
    resident: f64,
}

fn measure(stage: &Stage<'_>) -> Result<Part> {
    let mut part = Part::new(
        "The limit is what the empty tables take and half of what all sessions would with their values, on SQLite. It is looked at every 50 ms while all sessions are \
         written and then read at random by redis-benchmark on 50 connections. What the process takes empty is taken off what is \
         resident.",
    );
    let sessions = stage.options.sessions;
    let server = Server::sojourn(&stage.sqlite("limit.db"), &[])?.ready()?;
    let empty = server.resident_bytes()?;
    let empty_tables = server.info("used_memory_startup")?.unwrap_or(0.0);
    let limit = empty_tables + f64::from(sessions) * HOT_BYTES * LIMIT_SHARE;
    server.set("maxmemory", &format!("{limit:.0}"))?;
    server.set("maxmemory-policy", "allkeys-lru")?;
    let requests = if stage.options.scope.is_short() { 20_000 } else { 200_000 };
    let work = || {
        fill(server.address(), 0..sessions, End::Tomorrow, None, plain)?;
        server.settle()?;
        let loads = server.info("cold_loads")?.unwrap_or(0.0);
        let rate = get_by_benchmark(server.address(), sessions, requests)?;
        Ok((rate, server.info("cold_loads")?.unwrap_or(0.0) - loads))
    };
    let ((rate, loads), most) = meanwhile(|stop| most(&server, stop), work)?;
    let known = server.connect()?.call(&["DBSIZE"])?.integer().unwrap_or(-1);
    let cold = server.info("cold_values")?.unwrap_or(0.0);
    let (get_us, missing) = cold_gets(&server, sessions)?;
    let rows = vec![
        vec!["limit, MiB".to_owned(), number_text(limit / MIB)],
        vec!["the most that was accounted for, MiB".to_owned(), number_text(most.used / MIB)],
        vec![
            "the most that was resident beyond the empty process, MiB".to_owned(),
            number_text((most.resident - empty) / MIB),
        ],
        vec!["sessions whose value is cold at the end".to_owned(), number_text(cold)],
        vec!["GETs a second over all sessions".to_owned(), number_text(rate)],
        vec!["of them cold".to_owned(), number_text(loads / f64::from(requests))],
        vec!["a GET one at a time, µs".to_owned(), number_text(get_us)],
    ];
    part.table("Under the limit", &["", ""], rows);
    part.want("the most that was accounted for, over `maxmemory`", most.used / limit, Wanted::AtMost(OVER_MAX));
    part.want(
        "the most that was resident beyond the empty process, over what `maxmemory` leaves beyond it",
        (most.resident - empty) / (limit - empty_tables),
        Wanted::AtMost(OVER_MAX),
    );
    part.want("sessions that are gone", f64::from(sessions) - known as f64 + f64::from(missing), Wanted::AtMost(0.0));
    Ok(part)
}

/// Looks at the memory again and again until it is told to stop.
fn most(server: &Server, stop: &AtomicBool) -> Result<Most> {
    let mut most = Most::default();
    while !stop.load(Ordering::Relaxed) {
        most.used = most.used.max(server.info("used_memory")?.unwrap_or(0.0));
        most.resident = most.resident.max(server.resident_bytes()?);
        std::thread::sleep(SAMPLED_EVERY);
    }
    Ok(most)
}

/// GETs of sessions at random, one at a time: microseconds of one, and how many found nothing.
fn cold_gets(server: &Server, sessions: u32) -> Result<(f64, u32)> {
    const GETS: u32 = 2_000;
    let (mut connection, mut random, mut missing) = (server.connect()?, fastrand::Rng::with_seed(1), 0);
    let begun = Instant::now();
    for _ in 0..GETS {
        let reply = connection.call(&["GET", &key(random.u32(..sessions))])?;
        missing += u32::from(reply.bytes().is_none());
    }
    Ok((begun.elapsed().as_secs_f64() / f64::from(GETS) * 1e6, missing))
}
