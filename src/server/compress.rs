//! The task that compresses values in memory, a little at a time: it must never take more than a small share of a processor.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::spawn_blocking;

use crate::app::App;
use crate::config::EvictionPolicy;
use crate::database::write_through::Status;
use crate::keyspace::dictionary::TRAINING_BYTES;
use crate::keyspace::sweep::{Step, Sweep};

/// How long it works at a time: no client notices that a processor was busy for so long.
const STEP: Duration = Duration::from_millis(1);

/// How long it rests in between, so that it takes a tenth of a processor while there is something to do: some 50 000 values a
/// second.
const REST: Duration = Duration::from_millis(9);

/// How long it rests between two passes, and so how long a value is left alone at least after it was written: a session that
/// is in use is written again before that.
pub(super) const PASS_PAUSE: Duration = Duration::from_secs(10);

/// Near `maxmemory` values leave for a training before it begins, a little at a time, and so slowly that what they free has gone
/// back to the system. It is as much as the training takes, or this share of a small limit: it goes on for a moment only.
const ROOM_STEP_BYTES: usize = 512 * 1024;
const ROOM_STEP: Duration = Duration::from_millis(200);
const ROOM_SHARE_MAX: usize = 16;

/// Compresses until the server stops.
pub(super) async fn compress(
    app: Arc<App>,
    mut sweep: Sweep,
    pass_pause: Duration,
    mut stopping: watch::Receiver<bool>,
) {
    let mut pause = pass_pause;
    loop {
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            _ = stopping.wait_for(|stopping| *stopping) => return,
        }
        if app.write_through.status() == Status::Loading {
            continue;
        }
        pause = match sweep.step(&app.keyspace, STEP) {
            Step::Unfinished => REST,
            Step::Finished => pass_pause,
            Step::Train(training) => {
                tokio::select! {
                    () = make_room_to_train(&app) => {}
                    _ = stopping.wait_for(|stopping| *stopping) => return,
                }
                // One that panicked has trained nothing.
                let trained = spawn_blocking(move || training.run()).await.ok().flatten();
                app.keyspace.packing.note_training(0);
                sweep.adopt(&app.keyspace, trained);
                if sweep.is_under_way() { REST } else { pass_pause }
            }
        };
    }
}

/// Near `maxmemory` values leave for the training before it begins, by and by. Where none may leave, writes would be refused for
/// it instead.
async fn make_room_to_train(app: &App) {
    let limit = &app.keyspace.memory_limit;
    if app.keyspace.is_pressed() && limit.policy() != EvictionPolicy::NoEviction {
        for step in 1..=TRAINING_BYTES.min(limit.bytes() / ROOM_SHARE_MAX) / ROOM_STEP_BYTES {
            app.keyspace.packing.note_training(step * ROOM_STEP_BYTES);
            tokio::time::sleep(ROOM_STEP).await;
        }
    }
}
