//! Resident bytes a session, hot and cold, over a row of counts: the worst is where the tables have just doubled.

use super::{FIRST_SHARE, Section};
use crate::scale::load::{End, fill, plain};
use crate::scale::report::Part;
use crate::scale::servers::{Server, Stage};
use crate::stage::Result;
use crate::stage::charts::{Line, lines, number_text};
use crate::stage::wanted::Wanted;

/// The section.
pub const SECTION: Section = Section { name: "memory", about: "resident bytes a session, hot and cold", measure };

/// Counts at which memory is read on the way to all.
const STEPS: u32 = 20;
/// With fewer sessions what a server takes by itself weighs too much.
const COUNTED_FROM: f64 = 100_000.0;
const COLD_BYTES_MAX: f64 = 120.0;

fn measure(stage: &Stage<'_>) -> Result<Part> {
    let sessions = stage.options.sessions;
    let mut part = Part::new(
        "A session is a key of 37 bytes, a JSON value of 300 bytes and a TTL. Sojourn stands on SQLite. What a server takes with \
         the first hundredth of the sessions is taken off, since by then it has touched its own code and buffers; the rest is divided \
         by the other sessions.",
    );
    let url = stage.sqlite("memory.db");
    let sojourn = Server::sojourn(&url, &["--maxmemory", "0"])?.ready()?;
    let hot = while_filling(stage, &sojourn)?;
    sojourn.stop()?;
    let redis = Server::redis(&stage.data.join("memory-redis"), &["--appendonly", "no"])?.ready()?;
    let redis_hot = while_filling(stage, &redis)?;
    drop(redis);
    let cold = cold_bytes(stage, &url)?;
    let chart = lines(
        "Resident memory",
        "MiB over sessions",
        &[chart_of("Sojourn", 0, &hot), chart_of("redis", 3, &redis_hot)],
    );
    part.charts.push(("memory", "Resident memory over sessions", chart));
    let row = |at: usize| {
        let (count, bytes) = hot[at];
        vec![number_text(count), number_text(bytes), number_text(redis_hot[at].1)]
    };
    part.table("Bytes a hot session", &["sessions", "Sojourn", "redis"], (0..hot.len()).map(row).collect());
    let worst = worst(&hot, sessions);
    let rows = vec![
        vec!["hot, all sessions".to_owned(), number_text(last(&hot)), number_text(last(&redis_hot))],
        vec!["hot, worst count".to_owned(), number_text(worst), number_text(self::worst(&redis_hot, sessions))],
        vec!["cold".to_owned(), cold.map_or_else(|| "–".to_owned(), number_text), "–".to_owned()],
    ];
    part.table("Bytes a session", &["", "Sojourn", "redis"], rows);
    part.want("bytes a hot session, over redis's", last(&hot) / last(&redis_hot), Wanted::AtMost(1.0));
    part.want(
        "bytes a hot session at the worst count, over redis's worst",
        worst / self::worst(&redis_hot, sessions),
        Wanted::AtMost(1.0),
    );
    match cold {
        Some(bytes) => part.want("bytes a cold session", bytes, Wanted::AtMost(COLD_BYTES_MAX)),
        None => part.miss("bytes a cold session: not all values were cold"),
    }
    Ok(part)
}

/// Counts, and the bytes a session at each.
fn while_filling(stage: &Stage<'_>, server: &Server) -> Result<Vec<(f64, f64)>> {
    let sessions = stage.options.sessions;
    let (first, step) = (sessions / FIRST_SHARE, sessions / STEPS);
    let (mut found, mut from) = (Vec::new(), first);
    fill(server.address(), 0..first, End::Tomorrow, None, plain)?;
    server.settle()?;
    let taken_off = server.resident_bytes()?;
    let each = |bytes: f64, to: u32| (bytes - taken_off) / f64::from(to - first);
    for to in (1..=STEPS).map(|number| number * step) {
        fill(server.address(), from..to, End::Tomorrow, None, plain)?;
        server.settle()?;
        found.push((f64::from(to), each(server.resident_bytes()?, to)));
        from = to;
    }
    if let Some((_, bytes)) = found.last_mut() {
        *bytes = each(stage.bytes_at_rest(server)?, from);
    }
    Ok(found)
}

/// The same of a server that has just read its keys, and whose values it may not hold.
fn cold_bytes(stage: &Stage<'_>, url: &str) -> Result<Option<f64>> {
    let sessions = stage.options.sessions;
    let empty = Server::sojourn("memory://", &[])?.ready()?.resident_bytes()?;
    // So little that the keys alone are above it, and so no value is warmed.
    let server = Server::sojourn(url, &["--maxmemory", "1mb"])?.ready()?;
    let hot = server.info("hot_values")?.unwrap_or(0.0);
    let bytes = (stage.bytes_at_rest(&server)? - empty) / f64::from(sessions);
    Ok(Some(bytes).filter(|_| hot < f64::from(sessions) / 100.0))
}

fn last(found: &[(f64, f64)]) -> f64 {
    found.last().map_or(0.0, |(_, bytes)| *bytes)
}

fn worst(found: &[(f64, f64)], sessions: u32) -> f64 {
    let counted = found.iter().filter(|(count, _)| *count >= COUNTED_FROM.min(f64::from(sessions)));
    counted.map(|(_, bytes)| *bytes).fold(0.0, f64::max)
}

fn chart_of(name: &str, colour: usize, found: &[(f64, f64)]) -> Line {
    let points = found.iter().map(|(count, bytes)| (*count, count * bytes / super::MIB)).collect();
    Line { name: name.to_owned(), colour, points }
}
