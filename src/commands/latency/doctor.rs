//! LATENCY DOCTOR: what took long, in words. It says what was measured and where to look next, and guesses nothing.

use std::fmt::Write as _;

use crate::telemetry::latency::{Event, History};

const OFF: &str =
    "Latency monitoring is disabled. Use \"CONFIG SET latency-monitor-threshold <milliseconds>\" to enable it.\n";

/// The report.
pub(super) fn report(threshold_ms: u64, histories: impl Iterator<Item = (Event, History)>, now_s: i64) -> String {
    if threshold_ms == 0 {
        return OFF.to_owned();
    }
    let mut text = String::new();
    for (number, (event, history)) in (1..).zip(histories) {
        let written = writeln!(text, "{number}. {}\n   {}", sentence(event, &history, now_s), advice(event));
        debug_assert!(written.is_ok(), "a string takes all that is written");
    }
    if text.is_empty() {
        return format!("Nothing took {threshold_ms} ms or longer since the start or the last LATENCY RESET.\n");
    }
    text
}

/// One event, in the form that Redis has for it.
#[expect(clippy::cast_precision_loss, reason = "two decimals are shown")]
fn sentence(event: Event, history: &History, now_s: i64) -> String {
    let count = history.samples.len() as u64;
    let durations = || history.samples.iter().map(|sample| sample.took_ms);
    let mean = durations().sum::<u64>() / count.max(1);
    let deviation = durations().map(|took_ms| took_ms.abs_diff(mean)).sum::<u64>() / count.max(1);
    let since_s = history.samples.front().map_or(0, |oldest| now_s - oldest.at_s);
    let period = since_s as f64 / count.max(1) as f64;
    let (name, worst) = (event.name(), history.worst_ms);
    format!(
        "{name}: {count} latency spikes (average {mean}ms, mean deviation {deviation}ms, period {period:.2} sec). Worst all time \
         event {worst}ms."
    )
}

/// Where to look next.
const fn advice(event: Event) -> &'static str {
    match event {
        Event::Command | Event::FastCommand => {
            "See SLOWLOG GET for the commands; its threshold is slowlog-log-slower-than."
        }
        Event::Commit => {
            "The database took so long to commit: see commit_us_p50 and commit_us_p99 in INFO sojourn, and its own log."
        }
        Event::ExpireCycle => "Many keys ended together: let their lives differ by a little.",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::telemetry::latency::Sample;

    /// The numbers are those of redis-server 7.0.15 for the same samples.
    #[test]
    fn the_report_has_the_numbers_of_each_event() {
        let samples = [(0, 5), (2, 10), (4, 26), (5, 26), (7, 35)];
        let samples = samples.map(|(at_s, took_ms)| Sample { at_s, took_ms });
        let history = History { samples: samples.into(), worst_ms: 35 };
        let text = report(3, std::iter::once((Event::Command, history)), 9);
        let expected = "1. command: 5 latency spikes (average 20ms, mean deviation 10ms, period 1.80 sec). Worst all time event 35ms.";
        assert_eq!(text.lines().next(), Some(expected));
        assert!(text.contains("SLOWLOG"));
    }

    #[test]
    fn nothing_to_say_is_said() {
        assert!(report(0, std::iter::empty(), 0).contains("disabled"));
        assert!(report(7, std::iter::empty(), 0).contains("7 ms"));
    }
}
