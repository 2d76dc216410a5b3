//! The server: opens the database, serves connections, and ends in order, never before all that was acknowledged is committed.

pub mod accept;
mod compress;
mod connections;
mod defragment;
mod events;
pub mod inherited;
mod input;
pub mod http;
pub mod listen;
mod open_files;
mod output;
pub mod reload;
pub mod serve;
pub mod start;
pub mod stream;
mod supervisor;
mod survey;
mod wait;

use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::{Mutex, RwLock};
use tokio::net::TcpListener;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinSet;
use tracing::{info, warn};

use crate::app::{App, Clients, Limits, PubSub, Scripts, Seats, SlowLog, Users, prune_of};
use crate::clock::Clock;
use crate::commands::{acl, table};
use crate::config::{Choice, Durability, EventClass, Loaded, Settings, Sources};
use crate::database::write_through::{Status, WriteThrough};
use crate::database::{self, Database, DatabaseError, DatabaseSettings};
use crate::keyspace::Keyspace;
use crate::keyspace::sweep::Sweep;
use crate::telemetry::Logging;
use crate::telemetry::latency::Event;
use crate::telemetry::metrics::Metrics;
use crate::telemetry::process;
use crate::tls::{Tls, TlsError};
use accept::Workers;
use inherited::Inherited;
use listen::Listener;
use reload::Reload;
use supervisor::{StatusLine, Watchdog};

/// How often the shards are asked whether a key has ended: one look at a number each, microseconds in all.
const EXPIRE_TICK: Duration = Duration::from_millis(100);

/// The same where somebody is to be told of each key as it ends.
const EXPIRE_TICK_TOLD: Duration = Duration::from_millis(10);

/// How long the expiry works without a pause, which nobody who waits for the processor notices, and how long it pauses.
const EXPIRE_SLICE: Duration = Duration::from_micros(250);
const EXPIRE_PAUSE: Duration = Duration::from_millis(1);

/// How often the memory is compared with its limit beside the commands that do.
const MEMORY_TICK: Duration = Duration::from_millis(100);

/// So many times in a row half a millisecond is spent on letting values leave before somebody else has a turn.
const SLICES_MAX: usize = 200;

/// How often the files of TLS are looked at: a few pages that the kernel has in memory.
const CERTIFICATES_TICK: Duration = Duration::from_secs(2);

/// How often the numbers are brought up to date that are measured.
const MEASURE_TICK: Duration = Duration::from_secs(1);

/// Why the server ended, other than by being asked to.
#[derive(Debug, thiserror::Error)]
pub enum ServerError {
    /// A setting of TLS, or what stands in the file that it names.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// An address cannot be listened on.
    #[error("{0}")]
    Bind(String),
    /// The database cannot be used.
    #[error(transparent)]
    Database(#[from] DatabaseError),
    /// The aclfile cannot be used.
    #[error("aclfile: {0}")]
    Acl(String),
    /// Another server took the database over.
    #[error("another server owns the database now: {0}")]
    Fenced(String),
    /// The stop took longer than `shutdown-timeout`, or the database was away.
    #[error("{0}")]
    Stop(String),
    /// A thread or a runtime could not be made.
    #[error("the operating system refused a thread: {0}")]
    Io(#[from] std::io::Error),
}

/// What a caller may hand in besides the settings.
#[derive(Debug, Default)]
pub struct Options {
    /// The time of day.
    pub clock: Clock,
    /// The log, whose level can change.
    pub logging: Option<Logging>,
    /// The sockets to listen on instead of binding any; none for binding.
    pub inherited: Vec<Inherited>,
    /// How the settings are read again; `None` where they are not.
    pub reload: Option<Reload>,
    /// Told where the server listens.
    pub listening: Option<oneshot::Sender<SocketAddr>>,
    /// What compresses values in memory, and its pause between two passes.
    pub sweep: Option<(Sweep, Duration)>,
}

/// Serves until `shutdown` resolves, then answers what was received, commits everything and releases the database.
///
/// # Errors
/// [`ServerError`] says which part of the start, the service or the stop failed.
pub async fn run(loaded: Loaded, options: Options, shutdown: impl Future<Output = ()>) -> Result<(), ServerError> {
    let mut settings = loaded.settings.clone();
    open_files::make_room(&mut settings);
    let (tls, listeners) = listen::open(&mut settings, options.inherited).await?;
    let address = listeners[0].socket.local_addr()?;
    let run_id = run_id();
    // Host and process may come again, in a container that is started anew; the run does not.
    let identity = format!("{} (run {})", process::identity(), &run_id[..8]);
    let database_settings = DatabaseSettings::from_settings(&settings, identity).map_err(DatabaseError::Unusable)?;
    let database = database::open(&database_settings)?;
    let metrics = Arc::new(metrics_of(&settings, &*database));
    let everysec = settings.durability == Durability::EverySec;
    let write_through = Arc::new(WriteThrough::new(everysec, Arc::clone(&metrics)));
    let (keyspace, loads) = Keyspace::new(
        database_settings.session_tables,
        settings.touch_interval,
        options.clock.clone(),
        Arc::clone(&write_through),
        Arc::clone(&metrics),
    );
    keyspace.follow(&settings);
    let pubsub = Arc::new(PubSub::new(Arc::clone(&metrics)));
    let busy_reply_threshold = Duration::from_millis(settings.busy_reply_threshold_ms.into());
    let site = http::listen_as_set(&loaded).map_err(|error| ServerError::Bind(error.to_string()))?;
    let scripts = Arc::new(Scripts::new(long_scripts_max(), busy_reply_threshold));
    let app = Arc::new(App {
        scripts,
        limits: Limits::new(&settings),
        monitors: Arc::default(),
        slow_log: SlowLog::new(&settings),
        users: Users::new(settings.password()),
        prune: watch::Sender::new(prune_of(&settings)),
        settings: RwLock::new(settings),
        sources: Mutex::new(Sources::new(&loaded)),
        tls,
        clock: options.clock,
        keyspace,
        write_through,
        database: RwLock::new(database.description()),
        metrics,
        clients: Clients::default(),
        pubsub,
        seats: Seats::default(),
        run_id,
        port: address.port(),
        started: Instant::now(),
        logging: options.logging,
    });
    acl::load_at_start(&app.users, &app.settings.read()).map_err(ServerError::Acl)?;
    if let Some(listening) = options.listening {
        // A caller that does not wait for the address is fine.
        let _ = listening.send(address);
    }
    let sweep = options.sweep.unwrap_or_else(|| (Sweep::default(), compress::PASS_PAUSE));
    let serving = Serving { app, site, database, loads, listeners, reload: options.reload, sweep };
    serve_until(serving, shutdown).await
}

/// The numbers, all at nothing, and what runs.
fn metrics_of(settings: &Settings, database: &dyn Database) -> Metrics {
    let metrics = Metrics::new(table::names());
    metrics.follow(settings);
    let build = [env!("CARGO_PKG_VERSION"), database.description().kind, settings.durability.name()];
    // Nobody else sets it.
    let _ = metrics.build.set(build);
    metrics
}

/// How many of so many clients the limit of open files allows, once it was raised as far as it can be.
#[must_use]
pub fn clients_allowed(clients_max: u32) -> u32 {
    open_files::allow(clients_max)
}

type Loads = mpsc::Receiver<crate::keyspace::load::LoadRequest>;

/// Everything that the service runs on.
struct Serving {
    app: Arc<App>,
    site: Option<TcpListener>,
    database: Arc<dyn Database>,
    loads: Loads,
    listeners: Vec<Listener>,
    reload: Option<Reload>,
    sweep: (Sweep, Duration),
}

async fn serve_until(serving: Serving, shutdown: impl Future<Output = ()>) -> Result<(), ServerError> {
    let Serving { app, site, database, loads, listeners, reload, sweep: (sweep, pass_pause) } = serving;
    let (stop, stopping) = watch::channel(false);
    let workers = Arc::new(Workers::start(&app, &stopping)?);
    let mut tasks = JoinSet::new();
    for listener in listeners {
        tasks.spawn(accept::accept(listener, Arc::clone(&app), Arc::clone(&workers), stopping.clone()));
    }
    tasks.spawn(expire(Arc::clone(&app), Ticks::every(EXPIRE_TICK, &stopping)));
    tasks.spawn(keep_within_memory(Arc::clone(&app), Ticks::every(MEMORY_TICK, &stopping)));
    tasks.spawn(events::deliver(Arc::clone(&app), stopping.clone()));
    tasks.spawn(compress::compress(Arc::clone(&app), sweep, pass_pause, stopping.clone()));
    tasks.spawn(defragment::defragment(Arc::clone(&app), stopping.clone()));
    if let Some(tls) = &app.tls {
        tasks.spawn(follow_certificates(Arc::clone(tls), Ticks::every(CERTIFICATES_TICK, &stopping)));
    }
    if let Some(reload) = reload {
        tasks.spawn(reload::follow(Arc::clone(&app), reload, stopping.clone()));
    }
    tasks.spawn(measure(Arc::clone(&app), Ticks::every(MEASURE_TICK, &stopping)));
    tasks.spawn(survey::count_keys(Arc::clone(&app), stopping.clone()));
    let (surveys, asked) = mpsc::channel(survey::SURVEYS_WAITING_MAX);
    if let Some(listener) = site {
        let tls = app.tls.clone().filter(|_| app.settings.read().tls.metrics);
        let site = http::Site::new(Arc::clone(&app), stopping.clone(), surveys.clone());
        tokio::spawn(http::serve(listener, Arc::new(site), tls));
    }
    let mut storage = start::Storage::start(&app, database, loads, asked)?;
    let early = tokio::select! {
        () = shutdown => None,
        failed = storage.failed() => failed,
    };
    info!("stopping: what was received is answered, then everything is committed");
    supervisor::stopping();
    let begun = Instant::now();
    let stop_limit = app.settings.read().shutdown_timeout;
    let _ = stop.send(true);
    app.scripts.stop_all();
    end_tasks(tasks, stop_limit / 4).await;
    let workers_limit = (stop_limit / 2).saturating_sub(begun.elapsed());
    if let Ok(workers) = Arc::try_unwrap(workers)
        && !within(workers_limit, move || workers.join()).await
    {
        warn!("some connections did not end in time");
    }
    let result = match early {
        Some(end) => start::judge(end),
        None => storage.stop(&app, stop_limit.saturating_sub(begun.elapsed())).await,
    };
    if result.is_ok() {
        info!(
            milliseconds = u64::try_from(begun.elapsed().as_millis()).unwrap_or(u64::MAX),
            "stopped; everything is committed"
        );
    }
    result
}

/// Waits for tasks that have been told to end. A file that one of them reads may stand on a disk that hangs: what is acknowledged
/// is committed all the same.
async fn end_tasks(mut tasks: JoinSet<()>, limit: Duration) {
    let ended = async { while tasks.join_next().await.is_some() {} };
    if tokio::time::timeout(limit, ended).await.is_err() {
        warn!("some tasks did not end in time, as where a disk hangs that they read from");
        tasks.shutdown().await;
    }
}

/// How many scripts may run for long at a time: one a core, so that those that serve connections get their share beside them,
/// and two at least, so that one that never ends does not stop the others.
fn long_scripts_max() -> usize {
    std::thread::available_parallelism().map_or(2, std::num::NonZero::get).max(2)
}

/// Runs something that blocks, for at most `limit`.
async fn within(limit: Duration, work: impl FnOnce() + Send + 'static) -> bool {
    tokio::time::timeout(limit, tokio::task::spawn_blocking(work)).await.is_ok_and(|joined| joined.is_ok())
}

/// A beat, until the server stops.
struct Ticks {
    interval: tokio::time::Interval,
    stopping: watch::Receiver<bool>,
}

impl Ticks {
    fn every(period: Duration, stopping: &watch::Receiver<bool>) -> Self {
        let mut interval = tokio::time::interval(period);
        interval.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Skip);
        Self { interval, stopping: stopping.clone() }
    }

    /// Changes how often it comes.
    fn follow(&mut self, period: Duration) {
        if self.interval.period() != period {
            *self = Self::every(period, &self.stopping);
        }
    }

    /// Waits for the next one; `false` when the server stops.
    async fn next(&mut self) -> bool {
        tokio::select! {
            _ = self.interval.tick() => true,
            _ = self.stopping.wait_for(|stopping| *stopping) => false,
        }
    }
}

/// Lets expired entries leave memory, and forgets the watches of clients that are gone.
async fn expire(app: Arc<App>, mut ticks: Ticks) {
    let mut watchdog = Watchdog::new();
    while ticks.next().await {
        if app.write_through.status() != Status::Loading {
            expire_all(&app, &ticks, &mut watchdog).await;
            app.keyspace.watches.sweep();
        }
        watchdog.sign();
        let is_told = app.keyspace.events.classes().wants(EventClass::Expired);
        ticks.follow(if is_told { EXPIRE_TICK_TOLD } else { EXPIRE_TICK });
    }
}

/// Lets all go that has ended, slice by slice, so that those who serve have the processors in between. Millions take longer than
/// the service manager waits for a sign, and each slice has shown that the keys can be reached.
async fn expire_all(app: &App, ticks: &Ticks, watchdog: &mut Watchdog) {
    let mut from = Some(0);
    while let Some(shard) = from.filter(|_| !*ticks.stopping.borrow()) {
        let begun = Instant::now();
        from = app.keyspace.expire_slice(shard, EXPIRE_SLICE);
        app.metrics.latency.note(Event::ExpireCycle, begun.elapsed(), &app.clock);
        watchdog.sign();
        if from.is_some() {
            tokio::time::sleep(EXPIRE_PAUSE).await;
        }
    }
}

/// Keeps the memory within its limit where no command does.
async fn keep_within_memory(app: Arc<App>, mut ticks: Ticks) {
    loop {
        tokio::select! {
            goes_on = ticks.next() => if !goes_on { return },
            () = app.keyspace.memory_is_short() => {}
        }
        let mut slices = 0..SLICES_MAX;
        while slices.next().is_some() && app.keyspace.tend_memory() {
            tokio::task::yield_now().await;
        }
    }
}

/// Takes new certificates soon after they are put in place; a restart would cost every client its connection.
async fn follow_certificates(tls: Arc<Tls>, mut ticks: Ticks) {
    while ticks.next().await {
        let tls = Arc::clone(&tls);
        // Files may stand on a disk that is slow or gone.
        match tokio::task::spawn_blocking(move || tls.refresh()).await {
            Ok(Ok(false)) => {}
            Ok(Ok(true)) => info!("the files of TLS have changed; connections from now on get what stands in them"),
            Ok(Err(error)) => {
                warn!(%error, "the files of TLS have changed and are no good; what was good stays in force")
            }
            Err(error) => warn!(%error, "the files of TLS could not be looked at"),
        }
    }
}

/// Measures what is not counted: rates, which want to be looked at often, and what nobody may ask for.
async fn measure(app: Arc<App>, mut ticks: Ticks) {
    let mut status_line = StatusLine::default();
    while ticks.next().await {
        status_line.follow(app.write_through.status());
        app.refresh_metrics();
    }
}

/// 40 hexadecimal digits, as Redis has them.
fn run_id() -> String {
    let random = ahash::RandomState::new();
    let words: Vec<String> = (0..3).map(|word: u8| format!("{:016x}", random.hash_one(word))).collect();
    words.concat()[..40].to_owned()
}
