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
    deleted: u64,
    /// Whether a prune has begun since: one that began before may not have seen what ended meanwhile.
    begun: bool,
}

impl WriteThrough {
    /// Deletes the records whose life has ended. Answers how many were deleted; `None` if the database refused or went away.
    pub async fn prune(&self) -> Option<u64> {
        let (done, deleted) = oneshot::channel();
        self.prunes.0.lock().push(Asked { done, deleted: 0, begun: false });
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

    /// What it deleted; `None` if it failed. Whoever asked is told once nothing was left, or that it failed.
    pub(crate) fn note_pruned(&self, deleted: Option<u64>) {
        let mut waiting = self.prunes.0.lock();
        for mut asked in std::mem::take(&mut *waiting) {
            match deleted {
                _ if !asked.begun => waiting.push(asked),
                None => drop(asked),
                Some(0) => {
                    // Whoever asked may be gone.
                    let _ = asked.done.send(asked.deleted);
                }
                Some(more) => {
                    asked.deleted += more;
                    waiting.push(asked);
                }
            }
        }
    }
}
