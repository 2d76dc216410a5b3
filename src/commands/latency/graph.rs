//! LATENCY GRAPH: the samples of an event as columns of letters, as high as they are long.

use std::fmt::Write as _;

use crate::telemetry::latency::History;

/// How many columns stand beside each other, and how many lines they are high, as in Redis.
const COLUMNS: usize = 80;
const ROWS: u64 = 4;

/// What the top of a column looks like, from low to high.
const TOPS: [char; 3] = ['_', 'o', '#'];

/// The graph, with how long ago each sample was under its column.
pub(super) fn of(name: &str, history: &History, now_s: i64) -> String {
    let durations = || history.samples.iter().map(|sample| sample.took_ms);
    let (high, low) = (durations().max().unwrap_or_default(), durations().min().unwrap_or_default());
    let line = "-".repeat(COLUMNS);
    let worst = history.worst_ms;
    let mut graph = format!("{name} - high {high} ms, low {low} ms (all time high {worst} ms)\n{line}\n");
    let columns: Vec<(u64, String)> =
        history.samples.iter().map(|sample| (steps(sample.took_ms, low, high), age(now_s - sample.at_s))).collect();
    for (position, columns) in columns.chunks(COLUMNS).enumerate() {
        if position > 0 {
            graph.push('\n');
        }
        put_columns(&mut graph, columns);
    }
    graph
}

/// How high a column is, in parts of a line.
fn steps(took_ms: u64, low: u64, high: u64) -> u64 {
    let all = ROWS * TOPS.len() as u64;
    (took_ms.saturating_sub(low).saturating_mul(all) / (high - low).max(1)).min(all - 1)
}

fn put_columns(graph: &mut String, columns: &[(u64, String)]) {
    for row in (0..ROWS).rev() {
        let below = row * TOPS.len() as u64;
        let letter = |(steps, _): &(u64, String)| match steps.checked_sub(below).map(usize::try_from) {
            None => ' ',
            Some(above) => above.ok().and_then(|above| TOPS.get(above)).copied().unwrap_or('|'),
        };
        graph.extend(columns.iter().map(letter));
        graph.push('\n');
    }
    graph.push_str(&" ".repeat(columns.len()));
    graph.push('\n');
    let longest = columns.iter().map(|(_, age)| age.len()).max().unwrap_or_default();
    for position in 0..longest {
        let letter = |(_, age): &(u64, String)| age.as_bytes().get(position).map_or(' ', |byte| char::from(*byte));
        graph.extend(columns.iter().map(letter));
        graph.push('\n');
    }
}

/// How long ago, in the largest unit that is not above it.
fn age(seconds: i64) -> String {
    let (number, unit) = match seconds {
        ..60 => (seconds, 's'),
        60..3_600 => (seconds / 60, 'm'),
        3_600..86_400 => (seconds / 3_600, 'h'),
        86_400.. => (seconds / 86_400, 'd'),
    };
    let mut age = String::new();
    let written = write!(age, "{number}{unit}");
    debug_assert!(written.is_ok(), "a string takes all that is written");
    age
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::telemetry::latency::Sample;

    /// The graph is the one that redis-server 7.0.15 drew of the same samples.
    #[test]
    fn columns_are_drawn_as_redis_draws_them() {
        let samples = [(0, 5), (2, 10), (4, 26), (5, 26), (7, 35)];
        let samples = samples.map(|(at_s, took_ms)| Sample { at_s, took_ms });
        let graph = of("command", &History { samples: samples.into(), worst_ms: 35 }, 9);
        let drawn = ["    #", "  ##|", "  |||", "_#|||", "     ", "97542", "sssss", ""].join("\n");
        let head = "command - high 35 ms, low 5 ms (all time high 35 ms)";
        assert_eq!(graph, format!("{head}\n{}\n{drawn}", "-".repeat(80)));
        assert_eq!(graph.len(), 176);
    }

    #[test]
    fn many_samples_come_in_several_graphs_and_one_alone_is_low() {
        let samples = (0..160).map(|at_s| Sample { at_s, took_ms: 7 }).collect();
        let graph = of("commit", &History { samples, worst_ms: 9 }, 100_000);
        assert_eq!(graph.matches("\n\n").count(), 1);
        assert!(graph.lines().all(|line| line.len() <= COLUMNS) && !graph.contains(['#', '|']));
        assert_eq!([59, 60, 7_200, 86_400 * 9].map(age), ["59s", "1m", "2h", "9d"]);
    }
}
