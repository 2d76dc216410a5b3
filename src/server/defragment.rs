//! The task that closes the holes which values leave in the allocator's pages, and tells the keyspace what the allocator holds
//! besides keys and values, so that `maxmemory` limits what the process takes and not only what it makes use of.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::watch;

use crate::app::App;
use crate::keyspace::defragment::Pass;
use crate::telemetry::heap::Heap;

/// How often the allocator is asked how it stands.
const LOOK: Duration = Duration::from_millis(100);

/// How long a pass works at a time, which no client notices, and how long it rests in between: a quarter of a processor while
/// there is something to do.
const STEP: Duration = Duration::from_millis(1);
const REST: Duration = Duration::from_millis(3);

/// The share of a processor that a pass takes, in per cent, as INFO says it.
pub const RUNNING_PERCENT: u64 = 25;

/// Holes are worth a pass from this share on of what stands beside them, and from so many bytes: some are always there, where
/// the last page of each size is not full and where threads keep a few places for themselves.
const HOLES_SHARE: usize = 16;
const HOLES_BYTES_MIN: usize = 4 * 1024 * 1024;

/// A pass that closes less than this share of the holes was in vain: they are among what does not move.
const GAIN_SHARE: usize = 8;

/// How long it rests after a pass that was in vain; twice as long after each further one, up to the longest.
const VAIN_PAUSE: Duration = Duration::from_secs(2);
const VAIN_PAUSE_MAX: Duration = Duration::from_secs(120);

/// Defragments until the server stops.
pub(super) async fn defragment(app: Arc<App>, mut stopping: watch::Receiver<bool>) {
    let at_start = Heap::now().overhead();
    let note = |heap: &Heap| app.keyspace.memory_limit.note_allocator(heap.overhead().saturating_sub(at_start));
    let (mut rests_until, mut vain_pause) = (Instant::now(), VAIN_PAUSE);
    loop {
        tokio::select! {
            () = tokio::time::sleep(LOOK) => {}
            _ = stopping.wait_for(|stopping| *stopping) => return,
        }
        let before = Heap::now();
        let is_resting = Instant::now() < rests_until;
        if is_resting || !is_worth_a_pass(&before) || !app.settings.read().activedefrag {
            note(&before);
            continue;
        }
        app.metrics.defragment_running.set(RUNNING_PERCENT);
        pass(&app, &stopping).await;
        app.metrics.defragment_running.set(0);
        let after = Heap::now();
        note(&after);
        if after.holes() > before.holes() - before.holes() / GAIN_SHARE {
            rests_until = Instant::now() + vain_pause;
            vain_pause = (2 * vain_pause).min(VAIN_PAUSE_MAX);
        } else {
            vain_pause = VAIN_PAUSE;
        }
    }
}

fn is_worth_a_pass(heap: &Heap) -> bool {
    heap.holes() > HOLES_BYTES_MIN.max(heap.allocated / HOLES_SHARE)
}

async fn pass(app: &App, stopping: &watch::Receiver<bool>) {
    let mut pass = Pass::default();
    while pass.step(&app.keyspace, STEP) && !*stopping.borrow() {
        tokio::time::sleep(REST).await;
    }
}
