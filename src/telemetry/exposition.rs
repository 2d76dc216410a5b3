//! Prometheus's text format, version 0.0.4, made of the catalogue when somebody asks: so a scrape and INFO show the same
//! counters at the same moment. Lines of help and type, and what must be escaped, are the exporter's; its recorder is not
//! used, since its counters hold whole numbers, which no time in seconds is, and its histograms are not INFO's.

use std::fmt::Write as _;

use metrics_exporter_prometheus::formatting::{sanitize_label_value, write_help_line, write_type_line};

use super::catalogue::{Distribution, Family, Sample, Value};
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
            Value::Number(value) => write_line(page, described.name, "", &labels, value),
            Value::Distribution(distribution) => write_distribution(page, described.name, &labels, distribution),
        }
    }
}

/// `name="value"` for each label, with a comma between.
fn labels(names: &[&str], sample: &Sample<'_>) -> String {
    let pairs = names.iter().zip(&sample.labels);
    pairs.map(|(name, value)| format!("{name}=\"{}\"", sanitize_label_value(value))).collect::<Vec<_>>().join(",")
}

fn write_distribution(page: &mut String, name: &str, labels: &str, distribution: &Distribution) {
    let comma = if labels.is_empty() { "" } else { "," };
    for (bound, count) in &distribution.up_to {
        write_line(page, name, "_bucket", &format!("{labels}{comma}le=\"{bound}\""), count);
    }
    write_line(page, name, "_bucket", &format!("{labels}{comma}le=\"+Inf\""), distribution.count);
    write_line(page, name, "_sum", labels, distribution.sum);
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
    use super::*;
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
