//! What is asked by HTTP: the metrics, whether the server is alive and ready, and what operators ask of sessions. Every wait has an
//! end and every buffer a size, since whoever reaches the port need not be a friend. No key and no value ever leaves here.

mod access;
mod endpoints;
mod health;
mod sessions;

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use socket2::SockRef;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, watch};
use tokio_io_timeout::TimeoutStream;
use tracing::{debug, warn};

use super::survey::Survey;
use crate::app::App;
use crate::config::Loaded;
use crate::tls::Tls;

/// Connections at a time; more wait in the kernel. Prometheus needs one, probes and people a few.
const CONNECTIONS_MAX: usize = 32;

/// How long a connection may take for the head of its next request; Prometheus opens a new one if it asks less often.
const REQUEST_LIMIT: Duration = Duration::from_secs(10);

/// How long a client may take nothing of what is sent to it.
const WRITE_LIMIT: Duration = Duration::from_secs(10);

/// How long a connection may last: whoever reads a byte now and then must not keep its place for ever.
const CONNECTION_LIMIT: Duration = Duration::from_secs(300);

/// How long a TLS handshake may take.
const HANDSHAKE_LIMIT: Duration = Duration::from_secs(10);

/// The most bytes of a request's head; more is answered with 431.
const HEAD_BYTES_MAX: usize = 16 * 1024;

/// What the kernel keeps at most of a page that nobody reads.
const SEND_BUFFER_BYTES: usize = 256 * 1024;

/// The pause after the process ran out of file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// The address cannot be listened on.
#[derive(Debug, thiserror::Error)]
#[error("metrics-addr: cannot serve metrics on {address}: {reason}")]
pub struct HttpError {
    address: SocketAddr,
    reason: io::Error,
}

/// What requests are answered from.
#[derive(Debug)]
pub struct Site {
    app: Arc<App>,
    stopping: watch::Receiver<bool>,
    surveys: mpsc::Sender<Survey>,
    /// One walk over all keys at a time: it takes a core for up to a second.
    walks: Semaphore,
}

impl Site {
    /// With what it asks: the app, whether the server stops, and what the database says of its tables.
    #[must_use]
    pub fn new(app: Arc<App>, stopping: watch::Receiver<bool>, surveys: mpsc::Sender<Survey>) -> Self {
        Self { app, stopping, surveys, walks: Semaphore::new(1) }
    }
}

/// Listens on an address.
///
/// # Errors
/// When it cannot be had.
pub fn listen(address: SocketAddr) -> Result<TcpListener, HttpError> {
    let listen = || {
        let listener = std::net::TcpListener::bind(address)?;
        listener.set_nonblocking(true)?;
        TcpListener::from_std(listener)
    };
    listen().map_err(|reason| HttpError { address, reason })
}

/// Listens where `metrics-addr` says, if anywhere: a default address that is taken costs the metrics, one that was chosen the start.
///
/// # Errors
/// When nobody can listen there, though somebody chose it.
pub fn listen_as_set(loaded: &Loaded) -> Result<Option<TcpListener>, HttpError> {
    let Some(address) = loaded.settings.metrics_addr else { return Ok(None) };
    match listen(address) {
        Ok(listener) => Ok(Some(listener)),
        Err(error) if loaded.explicit.contains("metrics-addr") => Err(error),
        Err(error) => {
            warn!(%error, "no metrics are served");
            Ok(None)
        }
    }
}

/// Answers, by TLS if that is wanted, until the runtime ends: also while the server stops, so that probes are told.
pub async fn serve(listener: TcpListener, site: Arc<Site>, tls: Option<Arc<Tls>>) {
    let places = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    // Nobody closes it.
    while let Ok(place) = Arc::clone(&places).acquire_owned().await {
        match listener.accept().await {
            Ok((stream, _)) => drop(tokio::spawn(serve_one(stream, Arc::clone(&site), tls.clone(), place))),
            Err(error) => {
                warn!(%error, "a connection to metrics-addr could not be accepted");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

async fn serve_one(stream: TcpStream, site: Arc<Site>, tls: Option<Arc<Tls>>, _place: OwnedSemaphorePermit) {
    let served = async {
        SockRef::from(&stream).set_send_buffer_size(SEND_BUFFER_BYTES)?;
        match tls {
            None => answer(stream, site).await,
            Some(tls) => answer(tokio::time::timeout(HANDSHAKE_LIMIT, tls.accept(stream)).await??, site).await,
        }
    };
    match tokio::time::timeout(CONNECTION_LIMIT, served).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => debug!(%error, "a connection to metrics-addr broke"),
        Err(_) => debug!("a connection to metrics-addr lasted too long"),
    }
}

async fn answer(stream: impl AsyncRead + AsyncWrite + Unpin, site: Arc<Site>) -> io::Result<()> {
    let mut stream = TimeoutStream::new(stream);
    stream.set_write_timeout(Some(WRITE_LIMIT));
    let stream = TokioIo::new(Box::pin(stream));
    let service = service_fn(|request| {
        let site = Arc::clone(&site);
        async move { Ok::<_, Infallible>(endpoints::answer(site, request).await) }
    });
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new()).header_read_timeout(REQUEST_LIMIT).max_buf_size(HEAD_BYTES_MAX);
    http.serve_connection(stream, service).await.map_err(io::Error::other)
}
