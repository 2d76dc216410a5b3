//! One round: all contestants start afresh with the same sessions, and take turns under each step.

use std::collections::HashMap;
use std::path::Path;
use std::time::Duration;

use indicatif::ProgressBar;
use tempfile::TempDir;

use super::contestants::{Contestant, Kind, Server};
use super::generator::{Seen, Visits, commands_by_sql, mixed, web_by_redis, web_by_sql};
use super::loads::{LOAD_SHARE, Pace, Step, Work};
use super::measuring::{Metric, Record, measure};
use super::options::Options;
use super::redis_benchmark::Call;
use super::rows;
use crate::postgres::PostgresServer;
use crate::stage::{Result, machine};

/// What part of a measurement's length the warm-up before it takes.
const WARM_UP_SHARE: f64 = 0.25;

/// So many sessions for each request that tells roughly how fast a contestant is, before its warm-up.
const KEYS_PER_PROBE: u32 = 50;

/// The contestants of one round.
pub struct Round<'a> {
    number: u32,
    options: &'a Options,
    postgres: &'a PostgresServer,
    // Before their folder, so that they end before it goes.
    contestants: Vec<Contestant>,
    /// SETs that each acknowledged.
    acked: HashMap<Kind, u64>,
    /// Web requests a second that each can do, by the number of the load.
    fastest: HashMap<(Kind, u8), f64>,
    _folder: TempDir,
}

impl<'a> Round<'a> {
    /// Starts all contestants.
    ///
    /// # Errors
    /// When one of them does not take the sessions.
    pub fn start(
        number: u32,
        options: &'a Options,
        postgres: &'a PostgresServer,
        data: &Path,
        bar: &ProgressBar,
    ) -> Result<Self> {
        let folder = tempfile::Builder::new().prefix("round-").tempdir_in(data)?;
        // The only checkpoint of the round: none falls on anybody who is measured, and the pages that all write first
        // after it are those of the filling.
        postgres.sql("postgres", "checkpoint");
        let mut contestants = Vec::new();
        let mut acked = HashMap::new();
        for &kind in &options.contestants {
            bar.set_message(format!("round {}: {} is filled", number + 1, kind.name()));
            contestants.push(Contestant::start(kind, postgres, folder.path(), options.keys)?);
            acked.insert(kind, u64::from(options.keys));
            bar.inc(1);
        }
        machine::sync(data)?;
        Ok(Self { number, options, postgres, contestants, acked, fastest: HashMap::new(), _folder: folder })
    }

    /// Measures all contestants under a step, each round beginning with another of them.
    ///
    /// # Errors
    /// A wrong answer, or rows that do not fit what was acknowledged.
    pub fn measure(&mut self, step: &Step, bar: &ProgressBar) -> Result<Vec<Record>> {
        let count = self.contestants.len();
        let mut records = Vec::new();
        for place in 0..count {
            let place = (place + self.number as usize) % count;
            let kind = self.contestants[place].kind;
            bar.set_message(format!("round {}: {}: {}", self.number + 1, step.name, kind.name()));
            if step.suits(kind) {
                records.push(
                    self.measure_one(step, place)
                        .map_err(|error| format!("{}, {}: {error}", kind.name(), step.name))?,
                );
            }
            bar.inc(1);
        }
        Ok(records)
    }

    fn measure_one(&mut self, step: &Step, place: usize) -> Result<Record> {
        let contestant = &self.contestants[place];
        let kind = contestant.kind;
        self.tidy(contestant);
        let load = Load { contestant, options: self.options, seed: u64::from(self.number) };
        let fastest = self.fastest.get(&(kind, step.load)).copied();
        let warm_up = load.run(step, fastest, None)?;
        let (seen, figures) = measure(contestant, self.postgres, step.counts_until_settled(kind), || {
            load.run(step, fastest, Some(&warm_up))
        })?;
        *self.acked.entry(kind).or_default() += warm_up.sets + seen.sets;
        if matches!(step.work, Work::Web { pace: Pace::Closed, .. }) {
            self.fastest.extend(figures.get(Metric::Throughput).map(|rate| ((kind, step.load), rate)));
        }
        Ok(Record { round: self.number, step: step.name, kind, figures })
    }

    /// Compares the rows that changed with what was acknowledged since the start. To be called after the last step of a
    /// load in which every write is a SET, and before any other.
    ///
    /// # Errors
    /// The run is void.
    pub fn check_rows(&self) -> Result<()> {
        self.contestants
            .iter()
            .try_for_each(|contestant| rows::check(contestant, self.postgres, self.acked[&contestant.kind]))
    }

    /// PostgreSQL's own tidying is off while somebody is measured, so it happens here.
    fn tidy(&self, contestant: &Contestant) {
        if let Some(database) = &contestant.database {
            self.postgres.sql(database, "vacuum session");
        }
    }
}

/// A contestant and what is asked of it.
struct Load<'a> {
    contestant: &'a Contestant,
    options: &'a Options,
    seed: u64,
}

impl Load<'_> {
    /// Runs a step: as a warm-up, or for as long as is to be measured when the warm-up has been seen. `fastest` is what
    /// the contestant can do of this load.
    fn run(&self, step: &Step, fastest: Option<f64>, warm_up: Option<&Seen>) -> Result<Seen> {
        let length = match warm_up {
            None => self.options.measured.mul_f64(WARM_UP_SHARE),
            Some(_) => self.options.measured,
        };
        // The warm-up must not write the very values that the measurement writes.
        let seed = self.seed * 1_000 + u64::from(step.load) * 10 + u64::from(warm_up.is_some());
        match step.work {
            Work::Commands { command, connections, pipeline } => {
                self.commands(Call { command, connections, pipeline, keys: self.options.keys }, length, seed, warm_up)
            }
            Work::Mixed { rate } => mixed(self.address()?, seed, self.options.keys, rate, length),
            Work::Web { write_one_in, pace } => {
                let rate = match pace {
                    Pace::Closed => None,
                    Pace::Open { rate_max } => Some(fastest.map_or(rate_max, |rate| rate_max.min(rate * LOAD_SHARE))),
                };
                let keys = self.options.keys;
                let visits = |lane: usize| Visits::new(seed * 0x1_0000 + lane as u64, keys, write_one_in);
                match &self.contestant.server {
                    Server::Store(store) => web_by_sql(store, visits, rate, length),
                    Server::Sojourn(_) | Server::Redis(_) | Server::Echo(_) => {
                        web_by_redis(self.address()?, visits, rate, length)
                    }
                }
            }
        }
    }

    fn commands(&self, call: Call, length: Duration, seed: u64, warm_up: Option<&Seen>) -> Result<Seen> {
        if let Server::Store(store) = &self.contestant.server {
            return commands_by_sql(store, call.command, call.connections, seed, call.keys, length);
        }
        let address = self.address()?;
        let lasting = |seen: &Seen| (seen.operations as f64 / seen.seconds * length.as_secs_f64()) as u64;
        if let Some(seen) = warm_up {
            return call.run(address, lasting(seen));
        }
        let probe = call.run(address, u64::from(call.keys / KEYS_PER_PROBE))?;
        let seen = call.run(address, lasting(&probe))?;
        Ok(Seen { sets: probe.sets + seen.sets, ..seen })
    }

    fn address(&self) -> Result<std::net::SocketAddr> {
        self.contestant.address().ok_or_else(|| "it does not speak the Redis protocol".into())
    }
}
