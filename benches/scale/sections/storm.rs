//! All sessions but a few end within the same second: are they gone on time, how soon is the database rid of them, and what
//! do those notice who go on reading the few?

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use hdrhistogram::Histogram;

use super::Section;
use crate::scale::load::{End, Latencies, Reader, fill, key, meanwhile, plain};
use crate::scale::report::Part;
use crate::scale::servers::{Server, Stage};
use crate::stage::Result;
use crate::stage::charts::{Line, lines, number_text};
use crate::stage::wanted::Wanted;

/// The section.
pub const SECTION: Section = Section { name: "storm", about: "all sessions end within one second", measure };

/// Sessions that live on and are read.
const LIVING: u32 = 10_000;
/// GETs a second.
const RATE: f64 = 4_000.0;
/// How long the calm is measured before the storm, in seconds.
const CALM_S: f64 = 5.0;
/// How long the reader goes on after the storm began, at least and at most.
const STORM_S: (f64, f64) = (5.0, 60.0);
/// The sessions written a second that a fill surely reaches, to know when they are to end.
const FILLED_A_SECOND: f64 = 25_000.0;
const SLICE: Duration = Duration::from_millis(250);
/// The chart ends so many seconds after the storm began.
const DRAWN_S: f64 = 15.0;
/// Where a GET is slower even before, its requests wait behind each other, and nothing can be compared with that.
const CALM_P99_US_MAX: f64 = 5_000.0;
/// How often Sojourn is measured: on a shared machine the ratio of two p99 differs more between runs of one server than between
/// two servers.
const RUNS: usize = 3;
/// The target is about p99 while the sessions leave memory and database.
const P99_OVER_CALM_MAX: f64 = 2.0;

/// What was seen of one server.
#[derive(Debug)]
struct Seen {
    latencies: Latencies,
    end: Ended,
}

/// How its sessions ended.
#[derive(Debug)]
struct Ended {
    /// DBSIZE half a second after the last end, and whether a session was gone at its millisecond.
    left: i64,
    gone_on_time: bool,
    /// Seconds after the storm began until memory and database were rid of them.
    freed_s: Option<f64>,
    pruned_s: Option<f64>,
}

fn measure(stage: &Stage<'_>) -> Result<Part> {
    let mut part = Part::new(
        "One connection reads 10 000 living sessions, 4 000 GETs a second at fixed times, while all others end. Sojourn stands on \
         PostgreSQL with `prune-interval 1s`; p99 is judged and drawn of the run with the middle ratio.",
    );
    let runs = if stage.options.scope.is_short() { 1 } else { RUNS };
    let mut ours = (0..runs).map(|_| of_sojourn(stage)).collect::<Result<Vec<_>>>()?;
    let redis = Server::redis(&stage.data.join("storm-redis"), &["--appendonly", "yes"])?.ready()?;
    let theirs = storm(&redis, stage.options.sessions)?;
    drop(redis);
    let rows = (1..).zip(&ours).map(|(run, seen)| seen.row(&format!("Sojourn, run {run}")));
    part.table("GET", &HEAD, rows.chain([theirs.row("redis")]).collect());
    judge_ends(&mut part, &ours);
    ours.retain(|seen| p99(&seen.calm()) <= CALM_P99_US_MAX);
    ours.sort_by(|one, other| one.over_calm().total_cmp(&other.over_calm()));
    let middle = ours.len() / 2;
    let Some(ours) = ours.get(middle) else {
        part.miss("p99 in the storm over calm: the machine was too busy for a calm before it");
        return Ok(part);
    };
    part.want("p99 of GET in the storm, over calm", ours.over_calm(), Wanted::AtMost(P99_OVER_CALM_MAX));
    let over_redis = p99(&ours.storm()) / p99(&theirs.storm());
    part.want("p99 of GET in the storm, over redis's", over_redis, Wanted::AtMost(1.0));
    let title = "p99 of GET while all sessions end at 0 s";
    let svg = lines(title, "microseconds over seconds", &[ours.line("Sojourn", 0), theirs.line("redis", 3)]);
    part.charts.push(("storm", title, svg));
    Ok(part)
}

const HEAD: [&str; 8] = [
    "",
    "calm p99, µs",
    "storm p99, µs",
    "storm p99.9, µs",
    "worst, µs",
    "freed after, s",
    "pruned after, s",
    "DBSIZE",
];

/// How the sessions ended, in the worst of the runs.
fn judge_ends(part: &mut Part, runs: &[Seen]) {
    let late = runs.iter().map(|seen| seen.end.left - i64::from(LIVING)).max().unwrap_or_default();
    part.want("sessions counted by DBSIZE half a second after their end", late as f64, Wanted::AtMost(0.0));
    let on_time = f64::from(u8::from(runs.iter().all(|seen| seen.end.gone_on_time)));
    part.want("sessions gone at their millisecond (1 is yes)", on_time, Wanted::AtLeast(1.0));
    match runs.iter().map(|seen| seen.end.pruned_s).collect::<Option<Vec<f64>>>() {
        Some(seconds) => {
            let longest = seconds.into_iter().fold(0.0, f64::max);
            part.want("seconds until the rows were deleted", longest, Wanted::AtMost(STORM_S.1));
        }
        None => part.miss("the end of the prune: it took longer than the section waits"),
    }
}

fn of_sojourn(stage: &Stage<'_>) -> Result<Seen> {
    let database = stage.postgres.create_database();
    let url = stage.postgres.url(&database);
    let server = Server::sojourn(&url, &["--durability", "everysec", "--prune-interval", "1s"])?.ready()?;
    let seen = storm(&server, stage.options.sessions)?;
    server.stop()?;
    stage.postgres.sql("postgres", &format!("drop database {database} with (force)"));
    Ok(seen)
}

fn storm(server: &Server, sessions: u32) -> Result<Seen> {
    let rate = if server.is_sojourn { FILLED_A_SECOND } else { FILLED_A_SECOND * 4.0 };
    let storm_ms = now_ms() + (f64::from(sessions) / rate * 1_000.0 + CALM_S * 1_000.0) as u64 + 3_000;
    fill(server.address(), sessions..sessions + LIVING, End::Tomorrow, None, plain)?;
    fill(server.address(), 0..sessions, End::SecondFrom(storm_ms), None, plain)?;
    server.settle()?;
    let calm_from_ms = storm_ms - (CALM_S * 1_000.0) as u64;
    let early = Duration::from_millis(calm_from_ms.checked_sub(now_ms()).ok_or("the fill took longer than it may")?);
    std::thread::sleep(early);
    let reader = Reader { address: server.address(), rate: RATE, first: sessions, count: LIVING, slice: SLICE };
    let (end, latencies) = meanwhile(|stop| reader.run(stop), || watch(server, sessions, storm_ms))?;
    Ok(Seen { latencies, end })
}

/// What is seen from beside: looks seldom, so as not to be the load itself.
fn watch(server: &Server, sessions: u32, storm_ms: u64) -> Result<Ended> {
    let mut connection = server.connect()?;
    std::thread::sleep(Duration::from_millis((storm_ms + 500).saturating_sub(now_ms())));
    // The sessions of the first half second have ended, those of the second not.
    let now = now_ms() - storm_ms;
    let number = |at_ms: u64| (at_ms % 1_000) as u32 % sessions;
    let ended = connection.call(&["GET", &key(number(now.saturating_sub(1)))])?;
    let living = connection.call(&["GET", &key(number((now + 300).min(999)))])?;
    let gone_on_time = ended.bytes().is_none() && living.bytes().is_some();
    std::thread::sleep(Duration::from_millis((storm_ms + 1_500).saturating_sub(now_ms())));
    let left = connection.call(&["DBSIZE"])?.integer().unwrap_or(-1);
    let begun = Instant::now();
    let since = || (now_ms() - storm_ms) as f64 / 1_000.0;
    let (mut freed_s, mut pruned_s) = (None, None);
    loop {
        let expired = server.info("expired_keys")?.unwrap_or(0.0);
        freed_s = freed_s.or((expired >= f64::from(sessions)).then(since));
        let pruned = server.info("pruned_records")?.unwrap_or(0.0);
        pruned_s = pruned_s.or((pruned >= f64::from(sessions)).then(since));
        let is_done = freed_s.is_some() && (pruned_s.is_some() || !server.is_sojourn) && since() > STORM_S.0;
        if is_done || begun.elapsed().as_secs_f64() > STORM_S.1 {
            break;
        }
        std::thread::sleep(SLICE);
    }
    Ok(Ended { left, gone_on_time, freed_s, pruned_s })
}

impl Seen {
    fn row(&self, name: &str) -> Vec<String> {
        let (calm, storm) = (self.calm(), self.storm());
        let us = |histogram: &Histogram<u64>, quantile| number_text(histogram.value_at_quantile(quantile) as f64);
        let seconds = |found: Option<f64>| found.map_or_else(|| "–".to_owned(), number_text);
        vec![
            name.to_owned(),
            us(&calm, 0.99),
            us(&storm, 0.99),
            us(&storm, 0.999),
            number_text(storm.max() as f64),
            seconds(self.end.freed_s),
            seconds(self.end.pruned_s),
            self.end.left.to_string(),
        ]
    }

    fn line(&self, name: &str, colour: usize) -> Line {
        let since_storm = self.latencies.points(0.99).map(|(at, us)| (at - CALM_S, us));
        let points = since_storm.filter(|(at, _)| *at < DRAWN_S);
        Line { name: name.to_owned(), colour, points: points.collect() }
    }

    /// p99 in the storm over that of the calm before it.
    fn over_calm(&self) -> f64 {
        p99(&self.storm()) / p99(&self.calm())
    }

    fn calm(&self) -> Histogram<u64> {
        self.latencies.between(0.5, CALM_S - 0.5)
    }

    /// From the first end until the last session had left memory and database, five seconds at least.
    fn storm(&self) -> Histogram<u64> {
        let end = self.end.freed_s.into_iter().chain(self.end.pruned_s).fold(STORM_S.0, f64::max);
        self.latencies.between(CALM_S, CALM_S + end)
    }
}

fn p99(histogram: &Histogram<u64>) -> f64 {
    histogram.value_at_quantile(0.99) as f64
}

fn now_ms() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as u64)
}
