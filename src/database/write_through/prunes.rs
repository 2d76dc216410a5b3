//! Who asks that expired records be deleted at once, and waits for it. The writer does it as it does at every `prune-interval`, and
//! goes on until nothing is left.

use parking_lot::Mutex;
use tokio::sync::oneshot;

use super::WriteThrough;

/// Who waits.
#[derive(Debug, Default)]
pub(super) struct Prunes(Mutex<Vec<Asked>>);

#[derive(Debug)]
struct Asked {
    done: oneshot::Sender<u64>,
    /// Whether a prune has begun since: one that began before may not have seen what ended meanwhile.
    begun: bool,
}

impl Prunes {
    /// Those who are gone make room, or whoever comes again and again would fill the list before the next sweep.
    fn add(&self, asked: Asked) {
        let mut waiting = self.0.lock();
        waiting.retain(|asked| !asked.done.is_closed());
        waiting.push(asked);
    }
}

impl WriteThrough {
    /// Deletes the records whose life has ended. Answers how many were deleted; `None` if the database refused or went away.
    pub async fn prune(&self) -> Option<u64> {
        let (done, deleted) = oneshot::channel();
        self.prunes.add(Asked { done, begun: false });
        self.wake.wake_now();
        deleted.await.ok()
    }

    /// Whether anybody waits for a prune.
    pub(crate) fn is_prune_asked(&self) -> bool {
        !self.prunes.0.lock().is_empty()
    }

    /// A prune begins.
    pub(crate) fn note_prune_begun(&self) {
        let mut waiting = self.prunes.0.lock();
        waiting.retain(|asked| !asked.done.is_closed());
        waiting.iter_mut().for_each(|asked| asked.begun = true);
    }

    /// It has ended: with nothing left, and so many deleted, or with `None` since it failed. Whoever asked before it began is told.
    pub(crate) fn note_prune_ended(&self, deleted: Option<u64>) {
        let mut waiting = self.prunes.0.lock();
        for asked in waiting.extract_if(.., |asked| asked.begun) {
            if let Some(deleted) = deleted {
                // Whoever asked may be gone.
                let _ = asked.done.send(deleted);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use futures_util::FutureExt as _;

    use super::*;
    use crate::telemetry::metrics::Metrics;

    #[test]
    fn who_asks_again_and_again_and_goes_leaves_nothing_behind() {
        let through = WriteThrough::new(false, Arc::new(Metrics::new(&[])));
        let mut stays = Box::pin(through.prune());
        assert!(stays.as_mut().now_or_never().is_none());
        for _ in 0..10 {
            assert!(through.prune().now_or_never().is_none());
        }
        assert!(through.prunes.0.lock().len() <= 2);
        through.note_prune_begun();
        assert!(Box::pin(through.prune()).now_or_never().is_none());
        through.note_prune_ended(Some(7));
        assert_eq!(stays.now_or_never(), Some(Some(7)));
    }
}
