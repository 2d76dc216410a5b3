//! Sessions that differ as real ones do, compressed in memory and not: how much smaller, and what a GET costs.

use std::time::{Duration, Instant};

use super::{FIRST_SHARE, Section};
use crate::scale::load::{End, fill, get_by_benchmark};
use crate::scale::report::Part;
use crate::scale::servers::{Server, Stage};
use crate::scale::sessions;
use crate::stage::Result;
use crate::stage::charts::number_text;
use crate::stage::median::median;
use crate::stage::wanted::Wanted;

/// The section.
pub const SECTION: Section =
    Section { name: "compression", about: "bytes a session and GETs a second with compressed values", measure };

const MEMORY_MAX: f64 = 0.4;
const THROUGHPUT_MIN: f64 = 0.9;
/// The longest that the values may take to be compressed in the background.
const COMPRESSED_WITHIN: Duration = Duration::from_secs(120);
const LOOKED_AT_EVERY: Duration = Duration::from_secs(1);
/// Some are too small, or nothing but random letters: 0.989 of them were compressed in the end.
const SHARE_MIN: f64 = 0.98;
const ROUNDS: usize = 3;

fn measure(stage: &Stage<'_>) -> Result<Part> {
    let mut part = Part::new(
        "JSON as applications keep it, of many shapes: visitors, people who are logged in, carts, dashboards, wizards, tokens. \
         Memory as for hot sessions, once it is at rest. GETs by redis-benchmark, 50 connections, one at a time on each, taken in \
         turns; the median of the ratios.",
    );
    let sessions = stage.options.sessions;
    let first = sessions / FIRST_SHARE;
    let compressed = Server::sojourn(&stage.sqlite("compressed.db"), &["--maxmemory", "0"])?.ready()?;
    let plain = Server::sojourn(&stage.sqlite("plain.db"), &["--maxmemory", "0", "--compress-above", "0"])?.ready()?;
    let redis = Server::redis(&stage.data.join("compression-redis"), &["--appendonly", "no"])?.ready()?;
    let all = [&compressed, &plain, &redis];
    let mut bytes = Vec::new();
    for server in all {
        fill(server.address(), 0..first, End::Tomorrow, None, varied)?;
        server.settle()?;
        bytes.push(server.resident_bytes()?);
        fill(server.address(), first..sessions, End::Tomorrow, None, varied)?;
    }
    all.into_iter().try_for_each(Server::settle)?;
    let within = if stage.options.scope.is_smoke() { Duration::ZERO } else { COMPRESSED_WITHIN };
    let share = wait_until_compressed(&compressed, sessions, within)?;
    for (server, bytes) in all.iter().zip(&mut bytes) {
        *bytes = (stage.bytes_at_rest(server)? - *bytes) / f64::from(sessions - first);
    }
    let requests = if stage.options.scope.is_short() { 50_000 } else { 300_000 };
    let mut rates: Vec<[f64; 3]> = Vec::new();
    for _ in 0..ROUNDS {
        let mut round = [0.0; 3];
        for (server, rate) in all.iter().zip(&mut round) {
            *rate = get_by_benchmark(server.address(), sessions, requests)?;
        }
        rates.push(round);
    }
    let typical = |number: &dyn Fn(&[f64; 3]) -> f64| median(rates.iter().map(number).collect()).unwrap_or(f64::NAN);
    let row = |name: &str, at: usize| {
        vec![
            name.to_owned(),
            number_text(bytes[at]),
            number_text(bytes[at] / bytes[2]),
            number_text(typical(&|round| round[at])),
        ]
    };
    let rows = vec![row("Sojourn", 0), row("Sojourn, `compress-above 0`", 1), row("redis", 2)];
    part.table("Varied sessions", &["", "bytes a session", "over redis's", "GETs a second"], rows);
    part.want("share of the values that were compressed", share, Wanted::AtLeast(SHARE_MIN));
    part.want("bytes a session with compressed values, over redis's", bytes[0] / bytes[2], Wanted::AtMost(MEMORY_MAX));
    part.want(
        "GETs a second of compressed values, over plain ones",
        typical(&|round| round[0] / round[1]),
        Wanted::AtLeast(THROUGHPUT_MIN),
    );
    Ok(part)
}

/// Answers the share that is compressed in the end.
fn wait_until_compressed(server: &Server, sessions: u32, within: Duration) -> Result<f64> {
    let begun = Instant::now();
    loop {
        std::thread::sleep(LOOKED_AT_EVERY);
        let share = server.info("compressed_values")?.unwrap_or(0.0) / f64::from(sessions);
        if share >= SHARE_MIN || begun.elapsed() > within {
            return Ok(share);
        }
    }
}

fn varied(number: u32) -> String {
    sessions::session(u64::from(number)).json
}
