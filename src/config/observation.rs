//! The settings of the metrics' token, of the slow log and of the latencies: their rows, under redis.conf's names. What is slow is decided elsewhere.

use super::reading::path;
use super::rows::{Changes, Row, put};
use super::value::{Given, Invalid, Secret, Syntax, show_yes_no};

/// The most slow commands that are remembered: each keeps up to 5 KiB of what a client sent.
const SLOW_LOG_MAX: i64 = 100_000;

/// The most percentiles of one line of INFO's latencystats.
const PERCENTILES_MAX: usize = 32;

/// A share of all calls, in percent. Kept as its bits, so that settings can be compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Percentile(u64);

impl Percentile {
    /// Its number, from 0 to 100.
    #[must_use]
    pub const fn percent(self) -> f64 {
        f64::from_bits(self.0)
    }
}

/// `metrics-token`.
pub(super) const METRICS_TOKEN: Row = Row {
    name: "metrics-token",
    syntax: Syntax::Text { placeholder: "TOKEN", expected: "a token, or nothing for none" },
    default: "",
    help: "what must be shown at metrics-addr, as Authorization: Bearer, to ask for /api/…; empty for nobody may",
    changes: Changes::AnyTime,
    apply: |settings, given| {
        let token = Some(given.text).filter(|text| !text.is_empty());
        put(&mut settings.metrics_token, Ok(token.map(Secret::new)))
    },
    show: |settings| settings.metrics_token.as_ref().map_or_else(String::new, |secret| secret.expose().to_owned()),
};

/// `metrics-token-file`.
pub(super) const METRICS_TOKEN_FILE: Row = Row {
    name: "metrics-token-file",
    syntax: Syntax::Text { placeholder: "FILE", expected: "the path of a file, or nothing" },
    default: "",
    help: "file whose content is metrics-token; a line end at its end is not part of it",
    changes: Changes::AtStart,
    apply: |settings, given| put(&mut settings.metrics_token_file, Ok(path(given))),
    show: |settings| settings.metrics_token_file.clone().unwrap_or_default(),
};

/// `slowlog-log-slower-than`.
pub(super) const SLOW_LOG_SLOWER_THAN: Row = Row {
    name: "slowlog-log-slower-than",
    syntax: Syntax::Integer { min: -1, max: i64::MAX },
    default: "10000",
    help: "microseconds that a command takes at least to stand in SLOWLOG, its wait for the commit not counted; 0 for all, -1 for none",
    changes: Changes::AnyTime,
    apply: |settings, given| put(&mut settings.slowlog_log_slower_than_us, given.integer()),
    show: |settings| settings.slowlog_log_slower_than_us.to_string(),
};

/// `slowlog-max-len`.
pub(super) const SLOW_LOG_MAX_LEN: Row = Row {
    name: "slowlog-max-len",
    syntax: Syntax::Integer { min: 0, max: SLOW_LOG_MAX },
    default: "128",
    help: "the most commands that SLOWLOG remembers",
    changes: Changes::AnyTime,
    apply: |settings, given| put(&mut settings.slowlog_max_len, given.integer()),
    show: |settings| settings.slowlog_max_len.to_string(),
};

/// `latency-monitor-threshold`.
pub(super) const LATENCY_MONITOR_THRESHOLD: Row = Row {
    name: "latency-monitor-threshold",
    syntax: Syntax::Integer { min: 0, max: i64::MAX },
    default: "0",
    help: "milliseconds that something takes at least to be an event of LATENCY: command, fast-command, commit, expire-cycle; 0 for none",
    changes: Changes::AnyTime,
    apply: |settings, given| put(&mut settings.latency_monitor_threshold_ms, given.integer()),
    show: |settings| settings.latency_monitor_threshold_ms.to_string(),
};

/// `latency-tracking`.
pub(super) const LATENCY_TRACKING: Row = Row {
    name: "latency-tracking",
    syntax: Syntax::YesNo,
    default: "yes",
    help: "count how long the calls of each command take, for LATENCY HISTOGRAM and INFO latencystats",
    changes: Changes::AnyTime,
    apply: |settings, given| put(&mut settings.latency_tracking, given.yes_no()),
    show: |settings| show_yes_no(settings.latency_tracking),
};

/// `latency-tracking-info-percentiles`.
pub(super) const LATENCY_PERCENTILES: Row = Row {
    name: "latency-tracking-info-percentiles",
    syntax: Syntax::List { placeholder: "PERCENT", expected: "up to 32 numbers from 0 to 100, or nothing" },
    default: "50 99 99.9",
    help: "the percentiles that INFO latencystats shows",
    changes: Changes::AnyTime,
    apply: |settings, given| put(&mut settings.latency_percentiles, percentiles(given)),
    show: |settings| {
        let percents = settings.latency_percentiles.iter().map(|percentile| percentile.percent().to_string());
        percents.collect::<Vec<_>>().join(" ")
    },
};

fn percentiles(given: &Given<'_>) -> Result<Vec<Percentile>, Invalid> {
    let percentile = |word: &str| match word.parse::<f64>() {
        Ok(percent) if (0.0..=100.0).contains(&percent) => Ok(Percentile(percent.to_bits())),
        Ok(_) => Err(Invalid::Fault("latency-tracking-info-percentiles parameters should sit between [0.0,100.0]")),
        Err(_) => Err(Invalid::Fault("Invalid latency-tracking-info-percentiles parameters")),
    };
    if given.words().count() > PERCENTILES_MAX {
        return Err(given.unexpected());
    }
    given.words().map(percentile).collect()
}

#[cfg(test)]
mod tests {
    use super::super::{Settings, set};

    /// Each line was answered by redis-server 7.0.15.
    #[test]
    fn percentiles_are_taken_and_refused_as_redis_does() {
        let mut settings = Settings::default();
        let name = "latency-tracking-info-percentiles";
        for (text, fault) in [
            ("50 101", "latency-tracking-info-percentiles parameters should sit between [0.0,100.0]"),
            ("-1", "latency-tracking-info-percentiles parameters should sit between [0.0,100.0]"),
            ("50 abc", "Invalid latency-tracking-info-percentiles parameters"),
        ] {
            let refusal = set(&mut settings, name, text).map_err(|error| error.to_string());
            let expected = format!("ERR CONFIG SET failed (possibly related to argument '{name}') - {fault}");
            assert_eq!(refusal, Err(expected), "{text}");
        }
        assert!(set(&mut settings, name, &"1 ".repeat(33)).is_err());
        assert_eq!(settings, Settings::default());
        for (text, shown) in [("", ""), ("99.99 50 0 100 33.33333", "99.99 50 0 100 33.33333"), ("1e1", "10")] {
            assert_eq!(set(&mut settings, name, text), Ok(()), "{text}");
            assert_eq!((super::LATENCY_PERCENTILES.show)(&settings), shown);
        }
    }
}
