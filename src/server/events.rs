//! The task that tells subscribers of what has happened to keys, as soon as it is committed. There is only one, so that all of
//! them are told in the same order; it never waits for a subscriber.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;

use crate::app::App;
use crate::keyspace::events::Notice;

/// How long nobody looks again while some wait for their commit: each look goes through them, and under load there is always
/// something new.
const PAUSE: Duration = Duration::from_millis(1);

/// Tells until the server stops.
pub(super) async fn deliver(app: Arc<App>, mut stopping: watch::Receiver<bool>) {
    let events = &app.keyspace.events;
    let mut settlements = app.write_through.settlements();
    loop {
        // Marked as seen before the tickets are looked at: what is settled afterwards wakes us.
        settlements.borrow_and_update();
        for notice in events.take_settled() {
            match notice {
                Notice::Event { event, name } => app.publish_event(event, &name),
                Notice::Message { channel, payload } => {
                    app.publish(&channel, &payload);
                    events.note_message_told();
                }
            }
        }
        if events.any_waits() {
            tokio::time::sleep(PAUSE).await;
        }
        tokio::select! {
            () = events.arrived() => {}
            // Where nothing waits for a commit, no commit costs a wake-up.
            _ = settlements.changed(), if events.any_waits() => {}
            _ = stopping.wait_for(|stopping| *stopping) => return,
        }
    }
}
