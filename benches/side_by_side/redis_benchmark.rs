//! Single commands by redis-benchmark, and what it prints.

use std::net::SocketAddr;

use super::generator::{Latencies, Seen};
use super::loads::Command;
use crate::stage::Result;
use crate::stage::redis_benchmark::Run;
use crate::stage::session::{PREFIX, RANDOM, TTL_SECONDS, random_value};

/// How redis-benchmark is to be called.
#[derive(Clone, Copy, Debug)]
pub struct Call {
    /// GET or SET.
    pub command: Command,
    /// Connections.
    pub connections: u32,
    /// Requests under way on each.
    pub pipeline: u32,
    /// Over so many sessions.
    pub keys: u32,
}

impl Call {
    /// Sends about so many requests: a whole number of pipelines on each connection, since redis-benchmark sends no less.
    ///
    /// # Errors
    /// When it says that something is wrong, as it does at an error reply.
    pub fn run(&self, address: SocketAddr, requests: u64) -> Result<Seen> {
        let requests = requests.max(1).next_multiple_of(u64::from(self.connections * self.pipeline));
        let (key, value, ttl) = (format!("{PREFIX}{RANDOM}"), random_value(), TTL_SECONDS.to_string());
        let command: &[&str] = match self.command {
            Command::Get => &["GET", &key],
            Command::Set => &["SET", &key, &value, "EX", &ttl],
        };
        let run = Run { connections: self.connections, pipeline: self.pipeline, keys: self.keys, requests };
        let text = run.send(address, command)?;
        let (rate, latencies) = read(&text).ok_or_else(|| format!("redis-benchmark says {text}"))?;
        let sets = if self.command == Command::Set { requests } else { 0 };
        // It counts milliseconds, and says "inf" when there was none.
        let seconds = (requests as f64 / rate).max(0.001);
        Ok(Seen { operations: requests, seconds, latencies, sets })
    }
}

/// The requests a second and the latencies from its report.
fn read(text: &str) -> Option<(f64, Latencies)> {
    let lines = || text.split(['\n', '\r']).map(str::trim);
    let rate = lines().find_map(|line| line.strip_prefix("throughput summary: ")?.split(' ').next()?.parse().ok())?;
    // avg, min, p50, p95, p99, max in milliseconds, in the second line below the heading
    let summary = lines().skip_while(|line| !line.starts_with("latency summary")).nth(2)?;
    let mut columns = summary.split_whitespace().map(str::parse::<f64>);
    let p50_us = columns.nth(2)?.ok()? * 1_000.0;
    let p99_us = columns.nth(1)?.ok()? * 1_000.0;
    let distribution = lines().skip_while(|line| !line.starts_with("Latency by percentile"));
    let p999_us = distribution.filter_map(percentile).find(|(share, _)| *share >= 99.9)?.1;
    Some((rate, Latencies { p50_us, p99_us, p999_us }))
}

/// `99.902% <= 9.999 milliseconds (cumulative count 19984)` as a share and microseconds.
fn percentile(line: &str) -> Option<(f64, f64)> {
    let (share, rest) = line.split_once("% <= ")?;
    let milliseconds: f64 = rest.split(' ').next()?.parse().ok()?;
    Some((share.parse().ok()?, milliseconds * 1_000.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn its_report_is_read() {
        let text = "SET: rps=0.0 (overall: -nan)\rSET: rps=3.0\r\n====== SET ======\n\
            \nLatency by percentile distribution:\n0.000% <= 0.487 milliseconds (cumulative count 16)\n\
            99.805% <= 9.991 milliseconds (cumulative count 19968)\n99.902% <= 9.999 milliseconds (cumulative count 19984)\n\
            100.000% <= 10.023 milliseconds (cumulative count 20000)\n\nSummary:\n\
            \x20 throughput summary: 327868.84 requests per second\n  latency summary (msec):\n\
            \x20         avg       min       p50       p95       p99       max\n\
            \x20       2.211     0.480     1.927     3.639     9.783    10.023\n";
        let (rate, latencies) = read(text).expect("a report");
        assert!((rate - 327_868.84).abs() < 0.001);
        assert_eq!(latencies, Latencies { p50_us: 1_927.0, p99_us: 9_783.0, p999_us: 9_999.0 });
        assert!(read("Could not connect").is_none());
    }
}
