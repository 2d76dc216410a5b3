//! What one contestant showed under one step: what the generator saw, and what the kernel and PostgreSQL say it cost.

use std::time::{Duration, Instant};

use super::contestants::echo;
use super::contestants::{Contestant, Kind, Server};
use super::generator::Seen;
use crate::postgres::PostgresServer;
use crate::stage::Result;
use crate::stage::process;

/// One contestant under one step of one round.
#[derive(Clone, Debug)]
pub struct Record {
    /// The number of the round.
    pub round: u32,
    /// The step's name.
    pub step: &'static str,
    /// Who.
    pub kind: Kind,
    /// What was measured.
    pub figures: Figures,
}

/// What is measured, each number for itself, so that tables and ratios can walk over them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Metric {
    /// Operations a second.
    Throughput,
    /// The latency of half of them, in milliseconds.
    P50,
    /// Of 99 of 100.
    P99,
    /// Of 999 of 1000.
    P999,
    /// Processor time of the server for each, in microseconds.
    ServerCpu,
    /// Processor time of PostgreSQL for each, in microseconds.
    DatabaseCpu,
    /// Bytes of PostgreSQL's log for each.
    Wal,
    /// Memory of the server afterwards, in MiB.
    Memory,
}

impl Metric {
    /// All, in the order of the tables.
    pub const ALL: [Self; 8] = [
        Self::Throughput,
        Self::P50,
        Self::P99,
        Self::P999,
        Self::ServerCpu,
        Self::DatabaseCpu,
        Self::Wal,
        Self::Memory,
    ];

    /// The head of its column.
    pub const fn title(self) -> &'static str {
        match self {
            Self::Throughput => "op/s",
            Self::P50 => "p50 ms",
            Self::P99 => "p99 ms",
            Self::P999 => "p99.9 ms",
            Self::ServerCpu => "server CPU µs/op",
            Self::DatabaseCpu => "PostgreSQL CPU µs/op",
            Self::Wal => "WAL bytes/op",
            Self::Memory => "memory MiB",
        }
    }
}

/// The numbers of one measurement; what a contestant does not have is missing.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Figures([Option<f64>; Metric::ALL.len()]);

impl Figures {
    /// One number.
    pub fn get(&self, metric: Metric) -> Option<f64> {
        self.0[metric as usize]
    }

    /// The same with this number.
    #[must_use]
    pub fn with(mut self, metric: Metric, value: Option<f64>) -> Self {
        self.0[metric as usize] = value;
        self
    }
}

/// What a contestant has used up at one moment.
#[derive(Clone, Copy, Debug)]
struct Used {
    server: Option<Duration>,
    database: Option<Duration>,
    wal_bytes: Option<f64>,
}

/// Runs `work` and measures what it cost until all that was acknowledged is on the disk. With `until_settled` that counts
/// for the throughput too: who acknowledges first and commits later is as fast as it commits.
///
/// # Errors
/// Those of `work`, and a contestant that does not answer.
pub fn measure(
    contestant: &Contestant,
    postgres: &PostgresServer,
    until_settled: bool,
    work: impl FnOnce() -> Result<Seen>,
) -> Result<(Seen, Figures)> {
    let wal = || contestant.database.as_ref().map(|_| wal_bytes(postgres)).transpose();
    let used = |wal_bytes| Used {
        server: server_time(&contestant.server),
        database: database_time(contestant, postgres),
        wal_bytes,
    };
    let before = used(wal()?);
    let mut seen = work()?;
    let begun = Instant::now();
    contestant.settle()?;
    if until_settled {
        seen.seconds += begun.elapsed().as_secs_f64();
    }
    // The processor time first: to ask PostgreSQL costs some.
    let after = used(None);
    let after = Used { wal_bytes: wal()?, ..after };
    let figures = figures(&seen, before, after).with(Metric::Memory, resident_mib(&contestant.server));
    Ok((seen, figures))
}

fn figures(seen: &Seen, before: Used, after: Used) -> Figures {
    let each = |total: f64| total / (seen.operations.max(1) as f64);
    let time = |before: Option<Duration>, after: Option<Duration>| {
        Some(each(after?.saturating_sub(before?).as_secs_f64() * 1e6))
    };
    let wal = after.wal_bytes.zip(before.wal_bytes).map(|(after, before)| each(after - before));
    Figures::default()
        .with(Metric::Throughput, Some(seen.operations as f64 / seen.seconds))
        .with(Metric::P50, Some(seen.latencies.p50_us / 1e3))
        .with(Metric::P99, Some(seen.latencies.p99_us / 1e3))
        .with(Metric::P999, Some(seen.latencies.p999_us / 1e3))
        .with(Metric::ServerCpu, time(before.server, after.server))
        .with(Metric::DatabaseCpu, time(before.database, after.database))
        .with(Metric::Wal, wal)
}

fn wal_bytes(postgres: &PostgresServer) -> Result<f64> {
    Ok(postgres.sql("postgres", "select pg_current_wal_insert_lsn() - '0/0'").parse()?)
}

fn server_time(server: &Server) -> Option<Duration> {
    match server {
        Server::Sojourn(server) => process::processor_time(server.pid()).ok(),
        Server::Redis(server) => process::processor_time(server.pid()).ok(),
        Server::Echo(_) => process::processor_time_of_threads(echo::THREADS).ok(),
        // The application itself is the server there; this one is not Node, so its time says nothing.
        Server::Store(_) => None,
    }
}

/// That of all processes of PostgreSQL.
fn database_time(contestant: &Contestant, postgres: &PostgresServer) -> Option<Duration> {
    contestant.database.as_ref()?;
    process::processor_time_of_family(postgres.pid()).ok()
}

fn resident_mib(server: &Server) -> Option<f64> {
    let pid = match server {
        Server::Sojourn(server) => server.pid(),
        Server::Redis(server) => server.pid(),
        Server::Echo(_) | Server::Store(_) => return None,
    };
    Some(process::resident_bytes(pid).ok()? / 1024.0 / 1024.0)
}

#[cfg(test)]
mod tests {
    use super::super::generator::Latencies;
    use super::*;

    #[test]
    fn costs_are_for_one_operation() {
        let latencies = Latencies { p50_us: 500.0, p99_us: 2_000.0, p999_us: 9_000.0 };
        let seen = Seen { operations: 1_000, seconds: 2.0, latencies, sets: 0 };
        let second = Duration::from_secs(1);
        let before = Used { server: Some(second), database: None, wal_bytes: Some(100.0) };
        let after = Used { server: Some(2 * second), database: None, wal_bytes: Some(300_100.0) };
        let figures = figures(&seen, before, after);
        assert_eq!(figures.get(Metric::Throughput), Some(500.0));
        assert_eq!(figures.get(Metric::P99), Some(2.0));
        assert_eq!(figures.get(Metric::ServerCpu), Some(1_000.0));
        assert_eq!(figures.get(Metric::DatabaseCpu), None);
        assert_eq!(figures.get(Metric::Wal), Some(300.0));
    }
}
