//! An outage: the writer waits for the database, tells those who have waited long enough, and settles the batch in doubt
//! by the number of the last one that was committed.

use std::time::{Duration, Instant};

use tokio::time::timeout;
use tracing::{error, info, warn};

use super::{Ended, OWNED_FOR, Writer, WriterEnd};
use crate::database::unit::{Outcome, Unit};
use crate::database::write_through::Status;
use crate::database::{DatabaseError, Ownership};

/// The first and the longest pause between two tries to reach a database that is away.
const RETRY: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(1));

/// The least that a try to connect, to lock and to look at the tables is given where nobody waits to be told, however short
/// `write-timeout` is.
const RECONNECT_TIMEOUT: Duration = Duration::from_secs(5);

impl Writer {
    /// Waits for the database to come back. Answers whether the batch in doubt turned out to be committed; if not, the
    /// units that are left must be sent again: none, if they have waited for `write-timeout`.
    pub(super) async fn sit_out(
        &mut self,
        message: &str,
        in_doubt: bool,
        number: i64,
        units: &mut Vec<Unit>,
        begun: Instant,
    ) -> Result<bool, Ended> {
        let outage = Instant::now();
        warn!(error = message, "the database is away: writes and cold reads are refused until it is back");
        self.through.metrics.outages.increment();
        self.through.set_status(Status::Down);
        let mut told = false;
        let mut said = String::new();
        let mut pause = RETRY.0;
        loop {
            if !told && self.is_late(begun) {
                told = true;
                self.tell_outage(in_doubt, units);
            }
            match self.reconnect(told, &mut said).await? {
                Some(last_batch) => {
                    self.last_batch = self.last_batch.max(last_batch);
                    let committed = in_doubt && last_batch >= number;
                    if !committed {
                        if self.is_late(begun) {
                            // Also where each connection succeeds and each commit fails, as on a full disk.
                            self.tell_outage(false, units);
                        }
                        tokio::time::sleep(RETRY.0).await;
                    }
                    self.through.set_status(Status::Up);
                    info!(seconds = outage.elapsed().as_secs_f64(), "the database is back");
                    return Ok(committed);
                }
                None if self.through.is_stopping() => {
                    return Err(Ended(WriterEnd::StoppedInOutage(self.through.backlog())));
                }
                None => {}
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(RETRY.1);
        }
    }

    /// Whether those who wait for a commit that begun then have waited long enough.
    fn is_late(&self, begun: Instant) -> bool {
        !self.through.is_everysec() && begun.elapsed() >= self.settings.write_timeout
    }

    /// One try to own the database again; `None` when it is still away. Before those who wait are told, it is given up in
    /// time to tell them; under `everysec` nobody waits. What makes the database unusable is said once, not at each try.
    async fn reconnect(&mut self, told: bool, said: &mut String) -> Result<Option<i64>, Ended> {
        let write_timeout = self.settings.write_timeout;
        let nobody_waits = told || self.through.is_everysec();
        let limit = if nobody_waits { write_timeout.max(RECONNECT_TIMEOUT) } else { write_timeout };
        let asked = Instant::now();
        match timeout(limit, self.database.acquire(Some(self.epoch))).await {
            Ok(Ok(Ownership::Owned { epoch, last_batch })) => {
                self.epoch = epoch;
                self.through.set_epoch(epoch);
                self.through.note_owned_until(asked + OWNED_FOR);
                Ok(Some(last_batch))
            }
            Ok(Ok(Ownership::HeldBy { owner }) | Err(DatabaseError::Fenced { owner })) => {
                Err(Ended(WriterEnd::Fenced(owner)))
            }
            Ok(Err(DatabaseError::Unusable(message))) => {
                if *said != message {
                    error!(error = message, "the database cannot be used as it is");
                    *said = message;
                }
                Ok(None)
            }
            Ok(Err(_)) | Err(_) => Ok(None),
        }
    }

    /// Answers those who have waited long enough: what was never sent is taken back; what is in doubt says so.
    fn tell_outage(&mut self, in_doubt: bool, units: &mut Vec<Unit>) {
        if in_doubt {
            for unit in units.iter() {
                unit.ticket.settle(Outcome::Unknown);
            }
            self.through.note_in_doubt(units);
        }
        let (doubtful, sent) = if in_doubt { (units.clone(), Vec::new()) } else { (Vec::new(), std::mem::take(units)) };
        self.fail(&doubtful, sent, &mut |_| true);
    }
}
