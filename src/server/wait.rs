//! How long a connection has been waited for, where a setting bounds that.

use std::time::{Duration, Instant};

/// How long something has lasted, counted from when that was first asked.
#[derive(Debug, Default)]
pub(super) struct Wait(Option<Instant>);

impl Wait {
    /// When it will have lasted for `limit`; without a limit never, and it is forgotten when it began.
    pub fn end(&mut self, limit: Option<Duration>) -> Option<Instant> {
        match limit {
            Some(limit) => Some(*self.0.get_or_insert_with(Instant::now) + limit),
            None => {
                self.0 = None;
                None
            }
        }
    }
}

/// How long a connection is busy after its last event: what it keeps for the next one costs less than to make it anew.
const BUSY_FOR: Duration = Duration::from_secs(1);

/// Ready once a connection that is to give something back has been idle; never otherwise.
pub(super) async fn rest(keeps_much: bool) {
    if keeps_much {
        tokio::time::sleep(BUSY_FOR).await;
    } else {
        std::future::pending().await
    }
}

/// Ready at this moment; never without one.
pub(super) async fn until(end: Option<Instant>) {
    match end {
        Some(end) => tokio::time::sleep_until(end.into()).await,
        None => std::future::pending().await,
    }
}
