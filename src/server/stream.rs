//! What a connection's bytes go through: the socket itself, or TLS over it. The way without TLS must cost one branch and
//! no more.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, Waker, ready};
use std::time::Duration;

use bytes::{Buf, BytesMut};
use futures_util::FutureExt;
use tokio::io::{AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpStream, tcp};
use tokio::task::unconstrained;
use tokio_rustls::server::TlsStream;

use super::input::read_more;

/// How long a peer may take to accept the last bytes of a connection.
pub const LAST_BYTES: Duration = Duration::from_secs(1);

/// A connection.
#[derive(Debug)]
pub enum Stream {
    /// As it comes over the wire.
    Plain(TcpStream),
    /// After its handshake.
    Tls(Box<TlsStream<TcpStream>>),
}

impl Stream {
    /// Its two directions, for one task.
    pub fn split(&mut self) -> (Reader<'_>, Writer<'_>) {
        match self {
            Self::Plain(stream) => {
                let (from, to) = stream.split();
                (Reader::Plain(from), Writer::Plain(to))
            }
            Self::Tls(stream) => {
                let (from, to) = tokio::io::split(&mut **stream);
                (Reader::Tls(from), Writer::Tls(TlsWriter { to, is_unsent: false }))
            }
        }
    }
}

/// The direction from the client.
pub enum Reader<'a> {
    /// The socket's.
    Plain(tcp::ReadHalf<'a>),
    /// What TLS makes of it.
    Tls(tokio::io::ReadHalf<&'a mut TlsStream<TcpStream>>),
}

impl Reader<'_> {
    /// Appends what comes next, once something does; answers how many bytes, 0 at the end.
    ///
    /// # Errors
    /// When the connection broke.
    pub async fn read(&mut self, input: &mut BytesMut) -> io::Result<usize> {
        match self {
            Self::Plain(from) => read_more(from, input).await,
            Self::Tls(from) => match read_more(from, input).await {
                // A peer that closes without a goodbye: a request says itself where it ends, so nothing can be cut off.
                Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(0),
                read => read,
            },
        }
    }

    /// Appends what has come already; answers whether that was anything.
    pub fn read_now(&mut self, input: &mut BytesMut) -> bool {
        matches!(unconstrained(self.read(input)).now_or_never(), Some(Ok(1..)))
    }
}

/// The direction to the client.
pub enum Writer<'a> {
    /// The socket's.
    Plain(tcp::WriteHalf<'a>),
    /// What TLS makes of it.
    Tls(TlsWriter<'a>),
}

/// TLS takes bytes before the socket does.
pub struct TlsWriter<'a> {
    to: tokio::io::WriteHalf<&'a mut TlsStream<TcpStream>>,
    is_unsent: bool,
}

impl Writer<'_> {
    /// Takes from `output` what can go at once; answers how many bytes.
    ///
    /// # Errors
    /// When the connection broke.
    pub fn send_now(&mut self, output: &mut impl Buf) -> io::Result<usize> {
        if !output.has_remaining() {
            return Ok(0);
        }
        let sent = match self {
            Self::Plain(to) => to.try_write(output.chunk()).inspect(|sent| output.advance(*sent)),
            // Nobody is woken: whatever does not go now is waited for by `send`.
            Self::Tls(to) => match to.poll_send(&mut Context::from_waker(Waker::noop()), output) {
                Poll::Ready(sent) => sent,
                Poll::Pending => Ok(0),
            },
        };
        match sent {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(0),
            sent => sent,
        }
    }

    /// Takes from `output` once something can go; answers how many bytes, which is 0 only when what [`Self::is_unsent`] has gone.
    ///
    /// # Errors
    /// When the connection broke.
    pub async fn send(&mut self, output: &mut impl Buf) -> io::Result<usize> {
        match self {
            Self::Plain(to) => to.write_buf(output).await,
            Self::Tls(to) => std::future::poll_fn(|context| to.poll_send(context, output)).await,
        }
    }

    /// Whether bytes were taken that the socket has not got yet.
    #[must_use]
    pub fn is_unsent(&self) -> bool {
        match self {
            Self::Plain(_) => false,
            Self::Tls(to) => to.is_unsent,
        }
    }

    /// Sends what is left and says goodbye, for at most [`LAST_BYTES`].
    ///
    /// # Errors
    /// When the connection broke, or the peer does not read.
    pub async fn shutdown(&mut self) -> io::Result<()> {
        match self {
            Self::Plain(to) => to.shutdown().await,
            Self::Tls(to) => tokio::time::timeout(LAST_BYTES, to.to.shutdown()).await?,
        }
    }
}

impl TlsWriter<'_> {
    /// As [`Writer::send`].
    fn poll_send(&mut self, context: &mut Context<'_>, output: &mut impl Buf) -> Poll<io::Result<usize>> {
        let mut sent = 0;
        if output.has_remaining() {
            sent = ready!(Pin::new(&mut self.to).poll_write(context, output.chunk()))?;
            output.advance(sent);
        }
        let flushed = Pin::new(&mut self.to).poll_flush(context)?;
        self.is_unsent = flushed.is_pending();
        if sent == 0 { flushed.map(|()| Ok(0)) } else { Poll::Ready(Ok(sent)) }
    }
}
