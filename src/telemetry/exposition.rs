//! Prometheus's text format, version 0.0.4, made of the catalogue when somebody asks: so a scrape and INFO show the same
//! counters at the same moment. Here alone a number goes from the unit in which it is kept to Prometheus's. Lines of help and
//! type, and what must be escaped, are the exporter's; its recorder is not used, since its counters hold whole numbers, which
//! no time in seconds is, and its histograms are not INFO's.

use std::fmt::Write as _;

use metrics_exporter_prometheus::formatting::{sanitize_label_value, write_help_line, write_type_line};

use super::catalogue::{Described, Distribution, Family, Sample, Value};
use super::metrics::Metrics;

/// What a page of this format is called.
pub const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// All numbers as Prometheus reads them.
#[must_use]
pub fn text(metrics: &Metrics) -> String {
    let mut page = String::new();
    metrics.families().iter().for_each(|family| write_family(&mut page, family));
    page
}

fn write_family(page: &mut String, family: &Family<'_>) {
    let described = family.described;
    write_help_line(page, described.name, None, None, described.help);
    write_type_line(page, described.name, None, None, described.kind.word());
    for sample in &family.samples {
        let labels = labels(described.labels, sample);
        match &sample.value {
            Value::Number(kept) => write_line(page, described.name, "", &labels, described.exported(*kept)),
            Value::Distribution(distribution) => write_distribution(page, described, &labels, distribution),
        }
    }
}

/// `name="value"` for each label, with a comma between.
fn labels(names: &[&str], sample: &Sample<'_>) -> String {
    let pairs = names.iter().zip(&sample.labels);
    pairs.map(|(name, value)| format!("{name}=\"{}\"", sanitize_label_value(value))).collect::<Vec<_>>().join(",")
}

fn write_distribution(page: &mut String, described: &Described, labels: &str, distribution: &Distribution) {
    let name = described.name;
    let comma = if labels.is_empty() { "" } else { "," };
    for (bound, count) in &distribution.up_to {
        let bound = described.exported(*bound);
        write_line(page, name, "_bucket", &format!("{labels}{comma}le=\"{bound}\""), count);
    }
    write_line(page, name, "_bucket", &format!("{labels}{comma}le=\"+Inf\""), distribution.count);
    write_line(page, name, "_sum", labels, described.exported(distribution.sum));
    write_line(page, name, "_count", labels, distribution.count);
}

fn write_line(page: &mut String, name: &str, suffix: &str, labels: &str, value: impl std::fmt::Display) {
    let written = match labels {
        "" => writeln!(page, "{name}{suffix} {value}"),
        _ => writeln!(page, "{name}{suffix}{{{labels}}} {value}"),
    };
    debug_assert!(written.is_ok(), "a string takes all that is written");
}

#[cfg(test)]
mod tests {
    use super::super::catalogue::Kind;
    use super::*;
    use ::metrics::Unit;
    use std::time::Duration;

    #[test]
    fn prometheus_sees_the_numbers_of_info() {
        let metrics = Metrics::new(&["get".to_owned()]);
        metrics.connections_received.add(3);
        metrics.count_call(0, Duration::from_micros(700), false);
        metrics.commit_us.observe(1500);
        metrics.backlog_age_ms.set(250);
        metrics.count_error("ERR x");
        let page = text(&metrics);
        for line in [
            "# HELP sojourn_connections_received_total Connections that were accepted",
            "# TYPE sojourn_connections_received_total counter",
            "sojourn_connections_received_total 3",
            "sojourn_command_calls_total{command=\"get\"} 1",
            "sojourn_command_seconds_total{command=\"get\"} 0.0007",
            "sojourn_errors_total{code=\"ERR\"} 1",
            "sojourn_keys{database=\"15\"} 0",
            "sojourn_backlog_age_seconds 0.25",
            "# TYPE sojourn_commit_duration_seconds histogram",
            "sojourn_commit_duration_seconds_bucket{le=\"0.001\"} 0",
            "sojourn_commit_duration_seconds_bucket{le=\"0.002\"} 1",
            "sojourn_commit_duration_seconds_bucket{le=\"+Inf\"} 1",
            "sojourn_commit_duration_seconds_sum 0.0015",
            "sojourn_commit_duration_seconds_count 1",
        ] {
            assert!(page.lines().any(|other| other == line), "{line} is not in {page}");
        }
    }

    /// Series with labels and histograms as well: one that forgot to scale would be wrong by a thousand, and nobody would notice.
    #[test]
    fn every_value_is_in_the_unit_of_prometheus() {
        static AGE: Described =
            Described { name: "age", kind: Kind::Gauge, unit: Unit::Milliseconds, labels: &["of"], help: "" };
        static TOOK: Described =
            Described { name: "took", kind: Kind::Histogram, unit: Unit::Nanoseconds, labels: &[], help: "" };
        let age = Sample { labels: vec!["a".into()], value: 1500.into() };
        let took = Distribution { up_to: vec![(5_000, 2), (1_000_000, 3)], count: 4, sum: 2_000_000_500 };
        let took = Sample { labels: Vec::new(), value: took.into() };
        let mut page = String::new();
        for (described, sample) in [(&AGE, age), (&TOOK, took)] {
            write_family(&mut page, &Family { described, samples: vec![sample] });
        }
        let series: Vec<&str> = page.lines().filter(|line| !line.is_empty() && !line.starts_with('#')).collect();
        let (small, large) = ("took_bucket{le=\"0.000005\"} 2", "took_bucket{le=\"0.001\"} 3");
        let (all, sum, count) = ("took_bucket{le=\"+Inf\"} 4", "took_sum 2.0000005", "took_count 4");
        assert_eq!(series, ["age{of=\"a\"} 1.5", small, large, all, sum, count]);
    }

    #[test]
    fn each_name_is_described_once_before_its_series() {
        let page = text(&Metrics::new(&["get".to_owned()]));
        let mut seen = std::collections::BTreeSet::new();
        for line in page.lines().filter_map(|line| line.strip_prefix("# TYPE ")) {
            assert!(seen.insert(line.to_owned()), "{line} twice");
        }
        assert!(seen.len() > 50, "only {} numbers", seen.len());
    }
}
