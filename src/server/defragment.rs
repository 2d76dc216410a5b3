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

/// How long a pass works at a time, which no client notices.
const STEP: Duration = Duration::from_millis(1);

/// How long it rests in between, and between two passes, while there is room below `maxmemory`: it takes a tenth of a processor.
const REST: Duration = Duration::from_millis(9);
const PAUSE: Duration = Duration::from_secs(10);

/// The same near `maxmemory`, where each hole costs a value: half of a processor, and no pause.
const REST_PRESSED: Duration = Duration::from_millis(1);

/// Holes are worth a pass from this share on of what stands beside them.
const HOLES_SHARE: usize = 16;

/// The same near `maxmemory`.
const HOLES_SHARE_PRESSED: usize = 32;

/// As many count there at least: when values begin to leave, their holes come before any are closed. With half as many, the process
/// had 1.07 times what it may for a while.
const HOLES_SHARE_COUNTED: usize = 16;

/// Where there are fewer bytes of them, however little stands beside, they are the process's own: the last page of each size is not
/// full, and threads keep a few places for themselves.
const OWN_BYTES: usize = 4 * 1024 * 1024;

/// A pass that closes less than this share of the holes was in vain, if no more pages than this share of all came or went meanwhile,
/// and no more than this share of the values left and made new ones: they are among what does not move.
const GAIN_SHARE: usize = 8;
const CHANGED_SHARE: usize = 64;

/// How long it rests after a pass that was in vain; twice as long after each further one, up to the longest.
const VAIN_PAUSE: Duration = Duration::from_secs(2);
const VAIN_PAUSE_MAX: Duration = Duration::from_secs(120);

/// Defragments until the server stops.
pub(super) async fn defragment(app: Arc<App>, mut stopping: watch::Receiver<bool>) {
    let (mut rests_until, mut vain_pause) = (Instant::now(), VAIN_PAUSE);
    loop {
        tokio::select! {
            () = tokio::time::sleep(LOOK) => {}
            _ = stopping.wait_for(|stopping| *stopping) => return,
        }
        let before = look(&app);
        let is_resting = Instant::now() < rests_until;
        if is_resting || !is_worth_a_pass(&app, &before) || !app.settings.read().activedefrag {
            continue;
        }
        let (evicted, hot) = (&app.metrics.evicted_values, app.keyspace.memory_use().hot_values);
        let evicted_before = evicted.get();
        let after = pass(&app, &stopping).await;
        rests_until = Instant::now() + if app.keyspace.is_pressed() { Duration::ZERO } else { PAUSE };
        let is_closed = after.holes() <= before.holes() - before.holes() / GAIN_SHARE;
        // CONFIG RESETSTAT may set the counter back meanwhile.
        let is_changed = after.active.abs_diff(before.active) > before.active / CHANGED_SHARE
            || evicted.get().abs_diff(evicted_before) > (hot / CHANGED_SHARE) as u64;
        if is_closed || is_changed {
            vain_pause = VAIN_PAUSE;
        } else {
            rests_until = rests_until.max(Instant::now() + vain_pause);
            vain_pause = (2 * vain_pause).min(VAIN_PAUSE_MAX);
        }
    }
}

fn is_worth_a_pass(app: &App, heap: &Heap) -> bool {
    let share = if app.keyspace.is_pressed() { HOLES_SHARE_PRESSED } else { HOLES_SHARE };
    heap.holes() > OWN_BYTES.max(heap.allocated / share)
}

/// How the allocator stands. Notes what of that counts: holes and its own books, but not free pages, which come and go.
fn look(app: &App) -> Heap {
    let heap = Heap::now();
    let counted_least = if app.keyspace.is_pressed() { heap.allocated / HOLES_SHARE_COUNTED } else { 0 };
    let counted = heap.holes().max(counted_least) + heap.metadata;
    app.keyspace.memory_limit.note_allocator(counted.saturating_sub(OWN_BYTES));
    heap
}

/// Answers how the allocator stands in the end.
async fn pass(app: &App, stopping: &watch::Receiver<bool>) -> Heap {
    let (mut pass, mut looked) = (Pass::default(), Instant::now());
    while pass.step(&app.keyspace, STEP) && !*stopping.borrow() {
        if looked.elapsed() >= LOOK {
            look(app);
            looked = Instant::now();
        }
        let rest = if app.keyspace.is_pressed() { REST_PRESSED } else { REST };
        app.metrics.defragment_running.set(percent(rest));
        tokio::time::sleep(rest).await;
    }
    app.metrics.defragment_running.set(0);
    // What was left behind last is free by then.
    drop(pass);
    look(app)
}

/// The share of a processor that it takes with such a rest, in per cent.
fn percent(rest: Duration) -> u64 {
    let (worked, all) = (STEP.as_micros(), (STEP + rest).as_micros());
    u64::try_from(100 * worked / all).unwrap_or(100)
}
