//! Prometheus: a small HTTP server, by TLS if that is wanted, and the catalogue's values copied to it every second. The recorder belongs to the
//! exporter and is not the process's global one, so that a test can run several servers.

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::header::{CONTENT_TYPE, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::{TokioIo, TokioTimer};
use metrics::{Label, with_local_recorder};
use metrics_exporter_prometheus::{BuildError, Matcher, PrometheusBuilder, PrometheusHandle, PrometheusRecorder};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tracing::{debug, warn};

use super::instrument::Histogram;
use super::metrics::{CHANGES_PER_BATCH, COMMIT, Described, Kind, Metrics, Reading, described};
use crate::tls::Tls;

/// Connections at a time; more wait in the kernel. Prometheus needs one, and a person or two may look as well.
const CONNECTIONS_MAX: usize = 32;

/// How long a connection may take for the head of its next request; Prometheus opens a new one if it asks less often.
const REQUEST_LIMIT: Duration = Duration::from_secs(30);

/// The pause after the process ran out of file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

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
    pub fn start(address: SocketAddr, metrics: &Metrics, tls: Option<Arc<Tls>>) -> Result<Self, ExporterError> {
        let failed = |reason: String| ExporterError { address, reason };
        let listener = listen(address).map_err(|error| failed(error.to_string()))?;
        let recorder = with_buckets(metrics).map_err(|error| failed(error.to_string()))?.build_recorder();
        tokio::spawn(serve(listener, recorder.handle(), tls));
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
        // What histograms observed is gathered here, or it would pile up where nobody asks for it.
        self.recorder.handle().run_upkeep();
    }
}

impl std::fmt::Debug for Exporter {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("Exporter")
    }
}

fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let listener = std::net::TcpListener::bind(address)?;
    listener.set_nonblocking(true)?;
    TcpListener::from_std(listener)
}

async fn serve(listener: TcpListener, handle: PrometheusHandle, tls: Option<Arc<Tls>>) {
    let places = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    // Nobody closes it.
    while let Ok(place) = Arc::clone(&places).acquire_owned().await {
        match listener.accept().await {
            Ok((stream, _)) => drop(tokio::spawn(serve_one(stream, handle.clone(), tls.clone(), place))),
            Err(error) => {
                warn!(%error, "a connection for metrics could not be accepted");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

async fn serve_one(stream: TcpStream, handle: PrometheusHandle, tls: Option<Arc<Tls>>, _place: OwnedSemaphorePermit) {
    let served = async {
        match tls {
            None => answer(stream, handle).await,
            Some(tls) => answer(tls.accept(stream).await?, handle).await,
        }
    };
    if let Err(error) = served.await {
        debug!(%error, "a connection for metrics broke");
    }
}

async fn answer(stream: impl AsyncRead + AsyncWrite + Unpin, handle: PrometheusHandle) -> io::Result<()> {
    let service = service_fn(|request| std::future::ready(Ok::<_, Infallible>(page(&request, &handle))));
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new()).header_read_timeout(REQUEST_LIMIT);
    http.serve_connection(TokioIo::new(stream), service).await.map_err(io::Error::other)
}

/// The metrics at every path but `/health`, which probes ask for.
fn page(request: &Request<Incoming>, handle: &PrometheusHandle) -> Response<Full<Bytes>> {
    let text = if request.uri().path() == "/health" { "OK".to_owned() } else { handle.render() };
    let mut response = Response::new(Full::from(text));
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/plain"));
    response
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
        let exporter = Exporter::start(address, &metrics, None).expect("an exporter");
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
        let error = Exporter::start(address, &Metrics::new(&[]), None).expect_err("the address is taken");
        assert!(error.to_string().starts_with("metrics-addr: "), "{error}");
    }
}
