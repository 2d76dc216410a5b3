//! While the set grows: is there ever a pause for a reader, does a GET cost more with many keys than with few, and does a SCAN
//! of all keys keep its neighbour waiting?

use std::time::{Duration, Instant};

use super::Section;
use crate::scale::load::{End, Latencies, Reader, fill, get_by_benchmark, meanwhile, plain};
use crate::scale::report::Part;
use crate::scale::servers::{Server, Stage};
use crate::stage::Result;
use crate::stage::charts::{Line, lines, number_text};
use crate::stage::wanted::Wanted;
use crate::support::resp::Frame;

/// The section.
pub const SECTION: Section =
    Section { name: "growth", about: "GET while the set grows, its processor time, and SCAN beside it", measure };

/// Sessions that are there from the beginning.
const FEW: u32 = 10_000;
const RATE: f64 = 2_000.0;
const SLICE: Duration = Duration::from_millis(500);
/// Sessions written a second: about half of what one processor writes.
const WRITTEN_A_SECOND: f64 = 80_000.0;
const COST_MAX: f64 = 1.3;
/// "A few milliseconds."
const SCAN_WORST_MS_MAX: f64 = 5.0;
const SCAN_SECONDS_MAX: f64 = 15.0;

#[derive(Debug)]
struct Seen {
    growing: Latencies,
    scanning: Latencies,
    scanned: u64,
    /// Microseconds of processor time a GET, with few keys and with many.
    cost_us: (f64, f64),
}

fn measure(stage: &Stage<'_>) -> Result<Part> {
    let mut part = Part::new(
        "One connection reads 2 000 times a second at fixed times while another one writes 80 000 new sessions a second, and then \
         while a third one scans all keys with COUNT 100. The processor time of a GET is that of the server during redis-benchmark \
         with 50 connections over all keys. Sojourn has no database here (`memory://`), redis no AOF. Values are not compressed \
         here: with 5 000 000 that goes on for minutes beside the GETs, and has a section of its own.",
    );
    let sojourn = Server::sojourn("memory://", &["--maxmemory", "0", "--compress-above", "0"])?.ready()?;
    let ours = grow(&sojourn, stage)?;
    drop(sojourn);
    let redis = Server::redis(&stage.data.join("growth-redis"), &["--appendonly", "no"])?.ready()?;
    let theirs = grow(&redis, stage)?;
    drop(redis);
    let row = |name: &str, seen: &Seen| {
        let us = |latencies: &Latencies, quantile| number_text(latencies.all().value_at_quantile(quantile) as f64);
        vec![
            name.to_owned(),
            us(&seen.growing, 0.99),
            us(&seen.growing, 0.999),
            us(&seen.growing, 1.0),
            us(&seen.scanning, 0.999),
            us(&seen.scanning, 1.0),
            seen.scanned.to_string(),
            number_text(seen.cost_us.0),
            number_text(seen.cost_us.1),
        ]
    };
    let head = [
        "",
        "growing p99, µs",
        "p99.9, µs",
        "worst, µs",
        "SCAN beside it p99.9, µs",
        "worst, µs",
        "keys scanned",
        "CPU a GET, few keys, µs",
        "many keys, µs",
    ];
    part.table("GET", &head, vec![row("Sojourn", &ours), row("redis", &theirs)]);
    let late = |seen: &Seen| seen.growing.all().value_at_quantile(0.999) as f64;
    part.want("p99.9 of GET while the set grows, over redis's", late(&ours) / late(&theirs), Wanted::AtMost(1.0));
    part.want(
        "processor time of a GET with many keys, over few",
        ours.cost_us.1 / ours.cost_us.0,
        Wanted::AtMost(COST_MAX),
    );
    let scan_ms = ours.scanning.all().value_at_quantile(0.999) as f64 / 1_000.0;
    part.want("p99.9 of GET beside SCAN COUNT 100, ms", scan_ms, Wanted::AtMost(SCAN_WORST_MS_MAX));
    let line = |name: &str, colour, seen: &Seen| {
        let points = seen.growing.points(0.999).collect();
        Line { name: name.to_owned(), colour, points }
    };
    let svg = lines(
        "p99.9 of GET while the set grows",
        "microseconds over seconds",
        &[line("Sojourn", 0, &ours), line("redis", 3, &theirs)],
    );
    part.charts.push(("growth", "p99.9 of GET while the set grows", svg));
    Ok(part)
}

fn grow(server: &Server, stage: &Stage<'_>) -> Result<Seen> {
    let large = stage.options.large;
    let few = FEW.min(large / 2);
    let requests = if stage.options.scope.is_short() { 50_000 } else { 500_000 };
    fill(server.address(), 0..few, End::Tomorrow, None, plain)?;
    let cheap = cost_us(server, few, requests)?;
    let reader = Reader { address: server.address(), rate: RATE, first: 0, count: few, slice: SLICE };
    let write = || fill(server.address(), few..large, End::Tomorrow, Some(WRITTEN_A_SECOND), plain);
    let ((), growing) = meanwhile(|stop| reader.run(stop), write)?;
    let dear = cost_us(server, large, requests)?;
    let (scanned, scanning) = meanwhile(|stop| reader.run(stop), || scan(server))?;
    Ok(Seen { growing, scanning, scanned, cost_us: (cheap, dear) })
}

fn cost_us(server: &Server, sessions: u32, requests: u32) -> Result<f64> {
    // The first one finds the keys in no cache.
    get_by_benchmark(server.address(), sessions, requests / 5)?;
    let before = server.cpu_seconds()?;
    get_by_benchmark(server.address(), sessions, requests)?;
    Ok((server.cpu_seconds()? - before) / f64::from(requests) * 1e6)
}

/// Scans until all is seen or it has taken long enough; answers how many keys came.
fn scan(server: &Server) -> Result<u64> {
    let (mut connection, mut cursor, mut keys) = (server.connect()?, "0".to_owned(), 0);
    let begun = Instant::now();
    loop {
        let reply = connection.call(&["SCAN", &cursor, "COUNT", "100"])?;
        let [Frame::Bulk(_, Some(next)), Frame::Aggregate(_, Some(found))] = reply.items() else {
            return Err(format!("SCAN was answered by {reply:?}").into());
        };
        keys += found.len() as u64;
        cursor = String::from_utf8_lossy(next).into_owned();
        if cursor == "0" || begun.elapsed().as_secs_f64() > SCAN_SECONDS_MAX {
            return Ok(keys);
        }
    }
}
