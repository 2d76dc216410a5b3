//! The storage side of the server: a thread that owns the database, loads what commands ask for and commits, and meanwhile
//! reads all keys. Commands are answered as soon as the database is owned.

use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use tokio::sync::{Notify, mpsc, oneshot};
use tracing::{debug, error, info, warn};

use super::survey::{self, Survey};
use super::{Loads, ServerError, supervisor};
use crate::app::App;
use crate::config::Choice;
use crate::database::write_through::Status;
use crate::database::writer::{Writer, WriterEnd, WriterSettings};
use crate::database::{Database, DatabaseError, Ownership};

/// How often a database that is away or owned by another server is asked again.
const ASK_AGAIN: Duration = Duration::from_millis(500);

/// How often the log says how many keys are known, while they are read.
const PROGRESS_PAUSE: Duration = Duration::from_secs(2);

/// How the storage ended.
pub type End = Result<WriterEnd, DatabaseError>;

/// The thread that owns the database.
#[derive(Debug)]
pub struct Storage {
    thread: Option<JoinHandle<()>>,
    ended: oneshot::Receiver<End>,
    unreadable: Arc<Notify>,
}

impl Storage {
    /// Starts the thread; the server answers LOADING until it owns the database.
    ///
    /// # Errors
    /// When the thread or its runtime cannot be made.
    pub fn start(
        app: &Arc<App>,
        database: Arc<dyn Database>,
        loads: Loads,
        surveys: mpsc::Receiver<Survey>,
    ) -> std::io::Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let (tell, ended) = oneshot::channel();
        let unreadable = Arc::new(Notify::new());
        let (app, tell_unreadable) = (Arc::clone(app), Arc::clone(&unreadable));
        let thread = std::thread::Builder::new().name("storage".to_owned()).spawn(move || {
            let end = runtime.block_on(own(&app, &database, loads, surveys, tell_unreadable));
            // Nobody listens any more when the stop took too long.
            let _ = tell.send(end);
            runtime.shutdown_background();
        })?;
        Ok(Self { thread: Some(thread), ended, unreadable })
    }

    async fn ended(&mut self) -> End {
        (&mut self.ended)
            .await
            .unwrap_or_else(|_| Err(DatabaseError::Unusable("the storage thread panicked".to_owned())))
    }

    /// Resolves when the server cannot go on: with how the storage ended by itself, or with `None` where it still commits what
    /// clients are told until the server has stopped, since only the keys turned out to be unreadable. Its end says why then.
    pub async fn failed(&mut self) -> Option<End> {
        let unreadable = Arc::clone(&self.unreadable);
        tokio::select! {
            end = self.ended() => Some(end),
            () = unreadable.notified() => None,
        }
    }

    /// Commits everything, releases the database and ends.
    ///
    /// # Errors
    /// When it takes longer than `limit`, or the database is away.
    pub async fn stop(mut self, app: &App, limit: Duration) -> Result<(), ServerError> {
        app.write_through.stop();
        match tokio::time::timeout(limit, self.ended()).await {
            Ok(end) => {
                if self.thread.take().is_some_and(|thread| thread.join().is_err()) {
                    error!("the storage thread panicked");
                }
                judge(end)
            }
            Err(_) => Err(ServerError::Stop("the database did not commit within shutdown-timeout".to_owned())),
        }
    }
}

/// What an end means for the process.
///
/// # Errors
/// All but an end that was asked for, with everything committed.
pub fn judge(end: End) -> Result<(), ServerError> {
    match end {
        Ok(WriterEnd::Stopped) => Ok(()),
        Ok(WriterEnd::Fenced(owner)) => Err(ServerError::Fenced(owner)),
        Ok(WriterEnd::StoppedInOutage(units)) => Err(ServerError::Stop(format!(
            "the database is away: {units} writes that nobody was told of as committed are not applied"
        ))),
        Err(error) => Err(ServerError::Database(error)),
    }
}

/// Owns the database, and commits until the end.
async fn own(
    app: &Arc<App>,
    database: &Arc<dyn Database>,
    loads: Loads,
    surveys: mpsc::Receiver<Survey>,
    unreadable: Arc<Notify>,
) -> End {
    tokio::spawn(survey::run(Arc::clone(app), Arc::clone(database), surveys));
    let Some(ownership) = acquire(app, &**database).await? else {
        return Ok(WriterEnd::Stopped);
    };
    let keyspace = Arc::clone(&app.keyspace);
    tokio::spawn(Arc::clone(&keyspace).run_loader(Arc::clone(database), loads));
    let settings = writer_settings(app);
    let writer = Writer::new(
        Arc::clone(&app.write_through),
        keyspace,
        Arc::clone(database),
        app.clock.clone(),
        settings,
        ownership,
    );
    // As Redis, which counts the start as a save: what was read is what is stored.
    app.write_through.note_save(app.clock.now_ms() / 1000);
    app.write_through.set_status(Status::Up);
    *app.database.write() = database.description();
    report(app);
    let reading = tokio::spawn(read_all(Arc::clone(app), Arc::clone(database), unreadable));
    let end = writer.run().await;
    let read = if reading.is_finished() { reading.await.unwrap_or(Ok(())) } else { Ok(()) };
    database.release().await;
    read.and(Ok(end))
}

/// Waits for the database as long as it is away or owned by somebody else; `None` when the server stops meanwhile.
async fn acquire(app: &App, database: &dyn Database) -> Result<Option<(i64, i64)>, DatabaseError> {
    let mut said = String::new();
    while !app.write_through.is_stopping() {
        let acquired = database.acquire(None).await;
        app.write_through.note_other_owner(matches!(acquired, Ok(Ownership::HeldBy { .. })));
        let wait = match acquired {
            Ok(Ownership::Owned { epoch, last_batch }) => return Ok(Some((epoch, last_batch))),
            Ok(Ownership::HeldBy { owner }) => format!("the database is owned by {owner}"),
            Err(error @ DatabaseError::Unusable(_)) => return Err(error),
            Err(error) => error.to_string(),
        };
        if said != wait {
            warn!(reason = wait, "waiting for the database; clients get LOADING");
            said = wait;
        }
        tokio::time::sleep(ASK_AGAIN).await;
    }
    Ok(None)
}

/// Reads all keys, and then the values that were used last.
async fn read_all(app: Arc<App>, database: Arc<dyn Database>, unreadable: Arc<Notify>) -> Result<(), DatabaseError> {
    read_keys(Arc::clone(&app), Arc::clone(&database)).await.inspect_err(|_| unreadable.notify_one())?;
    warm_up(&app, &*database).await;
    Ok(())
}

/// Reads all keys, as often as it takes: the writer sits out outages, and ends the process if another server has owned the
/// database meanwhile. A table that cannot be read is an error: the server stops as if it were asked to.
async fn read_keys(app: Arc<App>, database: Arc<dyn Database>) -> Result<(), DatabaseError> {
    let begun = Instant::now();
    let progress = tokio::spawn(tell_progress(Arc::clone(&app), begun));
    let read = loop {
        match app.keyspace.read_keys(&*database).await {
            Ok(sessions) => {
                if let Some(sessions) = sessions {
                    report_keys(&app, sessions, begun.elapsed());
                }
                break Ok(());
            }
            Err(error @ DatabaseError::Unusable(_)) => break Err(error),
            Err(error) => warn!(%error, "the keys could not be read to their end: they are read anew"),
        }
        tokio::time::sleep(ASK_AGAIN).await;
        wait_until_up(&app).await;
    };
    progress.abort();
    read
}

/// Fetches the values that were used last. It starts anew after an outage, and finds there what it has fetched already.
async fn warm_up(app: &App, database: &dyn Database) {
    let (begun, before) = (Instant::now(), app.metrics.warmed_values.get());
    loop {
        match app.keyspace.warm_up(database).await {
            Ok(()) => break,
            Err(DatabaseError::Outage { message, .. }) => debug!(message, "warming waits for the database"),
            Err(error) => {
                return warn!(%error, "the values used last could not be fetched: each is when it is asked for");
            }
        }
        tokio::time::sleep(ASK_AGAIN).await;
        wait_until_up(app).await;
    }
    let warmed_values = app.metrics.warmed_values.get().saturating_sub(before);
    let warm_ms = u64::try_from(begun.elapsed().as_millis()).unwrap_or(u64::MAX);
    info!(warmed_values, warm_ms, "the values used last are in memory");
}

async fn wait_until_up(app: &App) {
    let mut settlements = app.write_through.settlements();
    while app.write_through.status() != Status::Up && !app.write_through.is_stopping() {
        // The sender lives as long as the app.
        let _ = settlements.changed().await;
    }
}

/// Says now and then how many keys are known.
async fn tell_progress(app: Arc<App>, begun: Instant) {
    let mut ticks = tokio::time::interval_at((begun + PROGRESS_PAUSE).into(), PROGRESS_PAUSE);
    loop {
        ticks.tick().await;
        info!(
            keys = app.keyspace.counts.all_keys(),
            seconds = begun.elapsed().as_secs(),
            "reading the keys of the database"
        );
    }
}

fn report_keys(app: &App, sessions: usize, took: Duration) {
    let load_ms = u64::try_from(took.as_millis()).unwrap_or(u64::MAX);
    app.metrics.keys_read_ms.set(load_ms);
    info!(sessions, keys = app.keyspace.counts.all_keys(), load_ms, "all keys are known");
}

fn writer_settings(app: &App) -> WriterSettings {
    WriterSettings { write_timeout: app.write_timeout(), prune: app.prune.subscribe() }
}

/// The line that operators look for.
fn report(app: &App) {
    let description = app.database.read().clone();
    for warning in &description.warnings {
        warn!("{warning}");
    }
    let settings = app.settings.read();
    let addresses: Vec<String> = settings.bind.iter().map(|address| format!("{address}:{}", app.port)).collect();
    info!(
        address = addresses.join(","),
        tls_port = Some(settings.tls.port).filter(|port| *port != 0),
        database = description.place,
        database_encrypted = description.is_encrypted,
        durability = settings.durability.name(),
        touch_interval_ms = u64::try_from(settings.touch_interval.as_millis()).unwrap_or(u64::MAX),
        "ready to accept connections"
    );
    supervisor::ready();
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use async_trait::async_trait;
    use parking_lot::{Mutex, RwLock};
    use tokio::sync::watch;

    use super::*;
    use crate::app::{Clients, Limits, PubSub, Scripts, Seats, SlowLog, Users, prune_of};
    use crate::clock::{Clock, Expiry};
    use crate::config::{Loaded, Settings, Sources};
    use crate::database::memory::Memory;
    use crate::database::write_through::WriteThrough;
    use crate::database::{
        Batch, Change, Committed, DatabaseSettings, Description, Home, RecordId, SessionTables, StoredRecord, Visit,
    };
    use crate::keyspace::hot::Access;
    use crate::keyspace::{Keyspace, Lock};
    use crate::telemetry::metrics::Metrics;
    use crate::telemetry::storage::StorageFigures;

    /// A database whose keys cannot be read.
    struct Unreadable(Memory);

    #[async_trait]
    impl Database for Unreadable {
        async fn acquire(&self, held: Option<i64>) -> Result<Ownership, DatabaseError> {
            self.0.acquire(held).await
        }

        async fn commit(&self, batch: &Batch) -> Result<Committed, DatabaseError> {
            self.0.commit(batch).await
        }

        async fn locked(&self, changes: &[(RecordId, Change)]) -> Result<Vec<usize>, DatabaseError> {
            self.0.locked(changes).await
        }

        async fn scan(&self, _: Home, _: i64, _: &mut Visit<'_>) -> Result<(), DatabaseError> {
            Err(DatabaseError::Unusable("an expiry is none".to_owned()))
        }

        async fn load(&self, ids: &[RecordId]) -> Result<Vec<Option<StoredRecord>>, DatabaseError> {
            self.0.load(ids).await
        }

        async fn survey(&self, now_ms: i64) -> Result<StorageFigures, DatabaseError> {
            self.0.survey(now_ms).await
        }

        async fn release(&self) {
            self.0.release().await;
        }

        fn description(&self) -> Description {
            self.0.description()
        }
    }

    /// What a server runs on that answers at once, with what loads its keys.
    fn everysec() -> (Arc<App>, Loads) {
        let metrics = Arc::new(Metrics::new(&[]));
        let write_through = Arc::new(WriteThrough::new(true, Arc::clone(&metrics)));
        let (tables, clock) = (SessionTables::default(), Clock::default());
        let (keyspace, loads) =
            Keyspace::new(tables, Duration::ZERO, clock.clone(), Arc::clone(&write_through), Arc::clone(&metrics));
        let settings = Settings::default();
        let (explicit, beyond_file) = (BTreeSet::new(), BTreeSet::new());
        let loaded = Loaded { settings: settings.clone(), warnings: Vec::new(), explicit, beyond_file, file: None };
        let app = App {
            limits: Limits::new(&settings),
            slow_log: SlowLog::new(&settings),
            users: Users::new(None),
            prune: watch::Sender::new(prune_of(&settings)),
            settings: RwLock::new(settings),
            sources: Mutex::new(Sources::new(&loaded)),
            tls: None,
            clock,
            keyspace,
            write_through,
            database: RwLock::default(),
            clients: Clients::default(),
            pubsub: Arc::new(PubSub::new(Arc::clone(&metrics))),
            monitors: Arc::default(),
            scripts: Arc::new(Scripts::new(1, Duration::ZERO)),
            seats: Seats::default(),
            metrics,
            run_id: String::new(),
            port: 0,
            started: Instant::now(),
            logging: None,
        };
        (Arc::new(app), loads)
    }

    #[tokio::test]
    async fn what_is_acknowledged_after_the_keys_proved_unreadable_is_committed() {
        let (app, loads) = everysec();
        let memory = Memory::open(&DatabaseSettings {
            url: "memory://".to_owned(),
            session_tables: SessionTables::default(),
            create_tables: true,
            timezone: None,
            write_timeout: app.write_timeout(),
            identity: "test:1".to_owned(),
        });
        let twin = memory.twin("test:2");
        let (_surveys, asked) = mpsc::channel(1);
        let mut storage = Storage::start(&app, Arc::new(Unreadable(memory)), loads, asked).unwrap();
        let patience = Duration::from_secs(30);
        let failed = tokio::time::timeout(patience, storage.failed()).await.expect("a failure");
        assert!(failed.is_none(), "it commits until the server has stopped: {failed:?}");
        let mut locked = app.keyspace.lock(&Lock::Keys(&[(0, b"k")], Access::Write), 0, app.clock.now_ms());
        locked.put(b"k", b"v", Expiry::NEVER).unwrap();
        drop(locked.finish());
        assert!(!app.write_through.refuses_writes() && !app.write_through.holds_replies(), "nobody waits for it");
        let stopped = storage.stop(&app, patience).await;
        assert!(matches!(stopped, Err(ServerError::Database(DatabaseError::Unusable(_)))), "{stopped:?}");
        assert_eq!(twin.stored(b"k").map(|(value, _)| value.to_vec()), Some(b"v".to_vec()));
    }
}
