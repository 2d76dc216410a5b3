//! Prometheus: an HTTP listener, and the catalogue's values copied to it every second. The recorder belongs to the
//! exporter and is not the process's global one, so that a test can run several servers.

use std::net::SocketAddr;

use metrics::{Label, with_local_recorder};
use metrics_exporter_prometheus::{BuildError, Matcher, PrometheusBuilder, PrometheusRecorder};

use super::instrument::Histogram;
use super::metrics::{CHANGES_PER_BATCH, COMMIT, Described, Kind, Metrics, Reading, described};

/// The metrics cannot be served.
#[derive(Debug, thiserror::Error)]
#[error("metrics-addr: cannot serve metrics on {address}: {reason}")]
pub struct ExporterError {
    address: SocketAddr,
    reason: String,
}

/// What serves the metrics, until the runtime ends.
pub struct Exporter {
    recorder: PrometheusRecorder,
}

impl Exporter {
    /// Listens on the address; the listener is a task of the current runtime.
    ///
    /// # Errors
    /// When the address cannot be had; nothing is left running then.
    pub fn start(address: SocketAddr, metrics: &Metrics) -> Result<Self, ExporterError> {
        let failed = |reason: String| ExporterError { address, reason };
        // Asked first, since the builder starts a task before it listens.
        drop(std::net::TcpListener::bind(address).map_err(|error| failed(error.to_string()))?);
        let builder = with_buckets(metrics).map_err(|error| failed(error.to_string()))?;
        let (recorder, listener) =
            builder.with_http_listener(address).build().map_err(|error| failed(error.to_string()))?;
        tokio::spawn(async move {
            if let Err(error) = listener.await {
                tracing::warn!(?error, "the metrics are no longer served");
            }
        });
        Ok(Self::of(recorder, metrics))
    }

    fn of(recorder: PrometheusRecorder, metrics: &Metrics) -> Self {
        with_local_recorder(&recorder, || {
            described().for_each(describe);
            for (number, histogram) in histograms(metrics) {
                histogram.export_to(metrics::histogram!(number.name));
            }
        });
        let exporter = Self { recorder };
        exporter.publish(metrics);
        exporter
    }

    /// Copies all values to where the listener reads them. To be called every second.
    pub fn publish(&self, metrics: &Metrics) {
        with_local_recorder(&self.recorder, || metrics.readings().into_iter().for_each(publish));
    }
}

impl std::fmt::Debug for Exporter {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("Exporter")
    }
}

fn with_buckets(metrics: &Metrics) -> Result<PrometheusBuilder, BuildError> {
    histograms(metrics).into_iter().try_fold(PrometheusBuilder::new(), |builder, (number, histogram)| {
        builder.set_buckets_for_metric(Matcher::Full(number.name.to_owned()), &histogram.exported_bounds())
    })
}

fn histograms(metrics: &Metrics) -> [(&'static Described, &Histogram); 2] {
    [(&COMMIT, &metrics.commit_us), (&CHANGES_PER_BATCH, &metrics.changes_per_batch)]
}

fn describe(number: &Described) {
    match number.kind {
        Kind::Counter => metrics::describe_counter!(number.name, number.unit, number.help),
        Kind::Gauge => metrics::describe_gauge!(number.name, number.unit, number.help),
        Kind::Histogram => metrics::describe_histogram!(number.name, number.unit, number.help),
    }
}

fn publish(reading: Reading<'_>) {
    let labels: Vec<Label> =
        reading.label.map(|(name, value)| Label::new(name, value.to_owned())).into_iter().collect();
    match reading.kind {
        Kind::Counter => metrics::counter!(reading.name, labels).absolute(reading.value),
        #[expect(clippy::cast_precision_loss, reason = "2^53 of anything we measure is beyond any machine")]
        Kind::Gauge => metrics::gauge!(reading.name, labels).set(reading.value as f64),
        // Each measurement was handed over when it was made.
        Kind::Histogram => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    fn free_address() -> SocketAddr {
        std::net::TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).expect("a free port")
    }

    async fn scrape(address: SocketAddr) -> String {
        let mut stream = tokio::net::TcpStream::connect(address).await.expect("the listener");
        stream.write_all(b"GET /metrics HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").await.expect("a request");
        let mut page = String::new();
        stream.read_to_string(&mut page).await.expect("a page");
        page
    }

    #[tokio::test]
    async fn prometheus_sees_the_numbers_of_info() {
        let metrics = Metrics::new(&["get".to_owned()]);
        let address = free_address();
        let exporter = Exporter::start(address, &metrics).expect("an exporter");
        metrics.connections_received.add(3);
        metrics.commands[0].calls.increment();
        metrics.commit_us.observe(1500);
        metrics.count_error("ERR x");
        exporter.publish(&metrics);
        let page = scrape(address).await;
        for line in [
            "# HELP sojourn_connections_received_total Connections that were accepted",
            "sojourn_connections_received_total 3",
            "sojourn_command_calls_total{command=\"get\"} 1",
            "sojourn_errors_total{code=\"ERR\"} 1",
            "sojourn_keys{database=\"15\"} 0",
            "sojourn_commit_seconds_bucket{le=\"0.002\"} 1",
            "sojourn_commit_seconds_sum 0.0015",
        ] {
            assert!(page.contains(line), "{line} is not in {page}");
        }
    }

    #[tokio::test]
    async fn a_taken_address_is_an_error_that_names_the_setting() {
        let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = taken.local_addr().expect("its address");
        let error = Exporter::start(address, &Metrics::new(&[])).expect_err("the address is taken");
        assert!(error.to_string().starts_with("metrics-addr: "), "{error}");
    }
}
