//! A connection before its first byte: thousands that say nothing must cost next to nothing, so what serves one is only made
//! when it says something.

use std::future::poll_fn;

use tokio::sync::oneshot;

use super::closing::ended;
use super::{Signals, stop};
use crate::app::{App, Client};
use crate::server::stream::Stream;
use crate::server::wait::{Wait, until};

/// What is left of it when it ends.
pub(super) struct Silence {
    /// How long the client has lacked its password: what it sends does not lengthen its time.
    pub stranger: Wait,
    /// Tells that the connection is to end.
    pub expelled: Option<oneshot::Receiver<()>>,
}

impl Silence {
    /// Waits for the first byte, or for the end of what the client sends; `None` when the connection is to end before. One that
    /// has shaken hands may have sent it with them: the socket does not tell.
    pub async fn of(app: &App, client: &Client, stream: &Stream, signals: &Signals) -> Option<Self> {
        let mut silence = Self { stranger: Wait::default(), expelled: client.info.expelled() };
        let Stream::Plain(stream) = stream else { return Some(silence) };
        let idle = Wait::default().end(app.limits.idle_timeout());
        let stranger = silence.stranger.end(app.limits.auth_timeout().filter(|_| !client.authenticated));
        let mut stopping = signals.stopping.clone();
        tokio::select! {
            // Whatever broke is met when it is read from.
            _ = poll_fn(|context| stream.poll_read_ready(context)) => Some(silence),
            () = until([idle, stranger].into_iter().flatten().min()) => None,
            () = ended(&mut silence.expelled) => None,
            // What came meanwhile is still served.
            () = stop(&mut stopping) => Some(silence),
        }
    }
}
