//! What is found out now and then for the metrics, and when somebody wants to know: how many keys live in memory and how long, and
//! what the database says of its tables and files. The latter runs beside the loader, on connections that read; the writer never
//! waits for it.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::{mpsc, oneshot, watch};
use tracing::{debug, error};

use crate::app::App;
use crate::database::write_through::Status;
use crate::database::{Database, DatabaseError};
use crate::telemetry::storage::StorageFigures;

/// How often the database is asked: a few milliseconds of one reader.
const SURVEY_TICK: Duration = Duration::from_secs(30);

/// How often it is tried until it answers for the first time.
const FIRST_SURVEY_TICK: Duration = Duration::from_millis(500);

/// How often the keys are counted at most.
const CENSUS_TICK: Duration = Duration::from_secs(1);

/// The walk over all keys takes at most one of so many parts of a core's time: for five million keys it comes every few minutes.
const CENSUS_SHARE: u32 = 200;

/// How many may wait for an answer: as many as may ask at a time.
pub const SURVEYS_WAITING_MAX: usize = 32;

/// Who wants to know.
pub type Survey = oneshot::Sender<Result<StorageFigures, DatabaseError>>;

/// Asks until nobody can ask any more.
pub async fn run(app: Arc<App>, database: Arc<dyn Database>, mut asked: mpsc::Receiver<Survey>) {
    let mut pause = FIRST_SURVEY_TICK;
    loop {
        let answer = tokio::select! {
            () = tokio::time::sleep(pause) => None,
            asked = asked.recv() => match asked {
                None => return,
                asked => asked,
            },
        };
        let found = survey(&app, &*database).await;
        if found.is_ok() {
            pause = SURVEY_TICK;
        }
        if let Some(answer) = answer {
            // Whoever asked may be gone.
            let _ = answer.send(found);
        }
    }
}

/// Counts the keys until the server stops.
pub async fn count_keys(app: Arc<App>, mut stopping: watch::Receiver<bool>) {
    let mut pause = CENSUS_TICK;
    loop {
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            _ = stopping.wait_for(|stopping| *stopping) => return,
        }
        let (begun, counting) = (Instant::now(), Arc::clone(&app));
        // It takes a core for as long as there are keys.
        let counted = tokio::task::spawn_blocking(move || counting.metrics.set_census(counting.keyspace.census()));
        if let Err(error) = counted.await {
            error!(%error, "the keys could not be counted");
        }
        pause = CENSUS_TICK.max(begun.elapsed() * CENSUS_SHARE);
    }
}

async fn survey(app: &App, database: &dyn Database) -> Result<StorageFigures, DatabaseError> {
    if app.write_through.status() != Status::Up {
        return Err(DatabaseError::Outage { message: "the database is away".to_owned(), in_doubt: false });
    }
    let now_ms = app.clock.now_ms();
    let found = database.survey(now_ms).await;
    match &found {
        Ok(figures) => {
            app.metrics.set_storage(figures.clone());
            app.metrics.tables_read_s.set(u64::try_from(now_ms / 1000).unwrap_or(0));
        }
        // Statistics are no reason to warn anybody: what ails the database shows elsewhere.
        Err(error) => debug!(%error, "the figures of the tables could not be read"),
    }
    found
}
