//! Connections: how each is opened, and what is SET on it. Nothing is left to a default of the server that durability
//! or a time depends on. All is SET after the start, since PgBouncer passes no other startup parameters on.

use std::str::FromStr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use sqlx::postgres::{PgConnectOptions, PgConnection, PgPool, PgPoolOptions};
use sqlx::{ConnectOptions, Row};

use super::errors::{classify, code, outage};
use crate::config::each_host;
use crate::database::{DatabaseError, DatabaseSettings};

/// Connections for cold reads: enough to hide one slow query, few enough for a server with many applications.
const READERS: u32 = 3;

/// How long a commit waits for a lock of somebody else, and every other write with it: enough for whoever is about to commit
/// a statement of his own. Then the units that need the lock are set aside.
const LOCK_WAIT: Duration = Duration::from_millis(20);

/// How long a reader is kept unused.
const READER_IDLE: Duration = Duration::from_secs(300);

/// Both kinds of connection find rows by key only. So the planner is never to read a whole table, which it does for a
/// table whose statistics still say that it is small; and plans are made once, not for every batch.
const PLANNING: [(&str, &str); 5] = [
    ("enable_seqscan", "off"),
    ("enable_hashjoin", "off"),
    ("enable_mergejoin", "off"),
    ("jit", "off"),
    ("plan_cache_mode", "force_generic_plan"),
];

/// The parameters of a URL that name files.
const TLS_FILES: [&str; 3] = ["sslrootcert", "sslcert", "sslkey"];

/// Opens connections to one database.
pub(super) struct Connector {
    /// One for each host of the URL.
    hosts: Vec<PgConnectOptions>,
    /// The host that is tried next, or that has the writer.
    next: AtomicUsize,
    timezone: Option<String>,
    timeout: Duration,
}

/// What the server says of itself.
pub(super) struct Server {
    pub version: String,
    /// By TLS, as the server itself sees it: behind PgBouncer, between those two.
    pub is_encrypted: bool,
    pub timezone: String,
    /// A warning, when nobody said which zone it is.
    pub timezone_guessed: Option<String>,
    pub schema: String,
    pub role: String,
    pub warnings: Vec<String>,
}

impl Connector {
    pub fn new(settings: &DatabaseSettings) -> Result<Self, DatabaseError> {
        check_files(&settings.url)?;
        let options = |url: String| {
            let options = PgConnectOptions::from_str(&url)
                .map_err(|error| DatabaseError::Unusable(format!("database-url: {error}; expected postgres://…")))?;
            // PgBouncer refuses `extra_float_digits` as a startup parameter; no float is ever read here.
            Ok(options.application_name("sojourn").extra_float_digits(None).disable_statement_logging())
        };
        let hosts = each_host(&settings.url).into_iter().map(options).collect::<Result<Vec<_>, _>>()?;
        let (timezone, timeout) = (settings.timezone.clone(), settings.write_timeout);
        Ok(Self { hosts, next: AtomicUsize::new(0), timezone, timeout })
    }

    fn host(&self, number: usize) -> &PgConnectOptions {
        &self.hosts[number % self.hosts.len()]
    }

    /// The place with the password masked. Made from the parts, since a URL can hide a password in its query.
    pub fn place(&self) -> String {
        let place = |options: &PgConnectOptions| match options.get_socket() {
            Some(socket) => socket.display().to_string(),
            None => format!("{}:{}", options.get_host(), options.get_port()),
        };
        let places: Vec<String> = self.hosts.iter().map(place).collect();
        let first = self.host(0);
        let user = first.get_username();
        format!("postgres://{user}:***@{}/{}", places.join(","), first.get_database().unwrap_or(user))
    }

    /// A connection for the writer, and what the server says of itself: of the host that had it last, else of the first one
    /// after it that is no standby. A host that does not answer in time ends the try: the caller's time may be over too, and
    /// the next try begins with the next host.
    pub async fn writer(&self) -> Result<(PgConnection, Server), DatabaseError> {
        let mut found = Err(outage("no host was tried", false));
        for _ in &self.hosts {
            let number = self.next.load(Ordering::Relaxed);
            // Whoever drops this future in the middle, or runs out of time, begins with the next host.
            self.next.store(number.wrapping_add(1) % self.hosts.len(), Ordering::Relaxed);
            found = tokio::time::timeout(self.timeout, self.writer_on(self.host(number)))
                .await
                .map_err(|_| outage("connecting took too long", false))?;
            if !matches!(found, Err(DatabaseError::Outage { .. })) {
                self.next.store(number, Ordering::Relaxed);
                break;
            }
        }
        found
    }

    async fn writer_on(&self, host: &PgConnectOptions) -> Result<(PgConnection, Server), DatabaseError> {
        let mut connection = host.connect().await.map_err(classify)?;
        let server = self.server(&mut connection).await?;
        self.set_up(&mut connection, &server.timezone).await?;
        Ok((connection, server))
    }

    async fn set_up(&self, connection: &mut PgConnection, timezone: &str) -> Result<(), DatabaseError> {
        let timeout_ms = self.timeout.as_millis().max(2);
        let of_writer = [
            ("TimeZone", timezone.to_owned()),
            ("synchronous_commit", "on".to_owned()),
            ("statement_timeout", timeout_ms.to_string()),
            ("lock_timeout", LOCK_WAIT.as_millis().min(timeout_ms / 2).to_string()),
        ];
        set(connection, &of_writer).await.map_err(|error| match code(&error).as_deref() {
            Some("22023") => DatabaseError::Unusable(format!(
                "database-timezone: PostgreSQL knows no time zone {timezone:?}; expected one like UTC or Europe/Berlin"
            )),
            Some(_) | None => classify(error),
        })?;
        set(connection, &PLANNING).await.map_err(classify)
    }

    /// A pool of readers, which connects when first used.
    pub fn readers(&self, timezone: &str) -> PgPool {
        let settings = [
            ("TimeZone", timezone.to_owned()),
            ("statement_timeout", self.timeout.as_millis().max(2).to_string()),
            ("default_transaction_read_only", "on".to_owned()),
        ];
        PgPoolOptions::new()
            .max_connections(READERS)
            .acquire_timeout(self.timeout)
            .idle_timeout(READER_IDLE)
            // A ping would cost every read a round trip; `read` tries again instead.
            .test_before_acquire(false)
            .after_connect(move |connection, _| {
                let settings = settings.clone();
                Box::pin(async move {
                    set(connection, &settings).await?;
                    set(connection, &PLANNING).await
                })
            })
            .connect_lazy_with(self.host(self.next.load(Ordering::Relaxed)).clone())
    }

    async fn server(&self, connection: &mut PgConnection) -> Result<Server, DatabaseError> {
        let row = sqlx::query(
            "select current_setting('server_version'),
                    current_setting('server_encoding'),
                    current_setting('fsync'),
                    current_setting('full_page_writes'),
                    current_setting('log_timezone'),
                    current_schema()::text,
                    current_user::text,
                    pg_is_in_recovery(),
                    coalesce((select ssl from pg_stat_ssl where pid = pg_backend_pid()), false)",
        )
        .fetch_one(&mut *connection)
        .await
        .map_err(classify)?;
        let text = |index: usize| row.try_get::<String, _>(index).map_err(classify);
        if row.try_get(7).map_err(classify)? {
            return Err(outage("this PostgreSQL is a standby, which takes no writes", false));
        }
        let encoding = text(1)?;
        if encoding != "UTF8" {
            return Err(DatabaseError::Unusable(format!(
                "the database's encoding is {encoding}; expected UTF8 (create database … encoding 'UTF8')"
            )));
        }
        let schema: Option<String> = row.try_get(5).map_err(classify)?;
        let schema = schema.ok_or_else(|| {
            DatabaseError::Unusable(
                "the role may use no schema of its search_path: grant usage on schema public to it, say".to_owned(),
            )
        })?;
        let warnings = durability_warnings(&text(2)?, &text(3)?);
        let log_timezone = text(4)?;
        let known = self.zone(connection).await?;
        let timezone_guessed = known.is_none().then(|| {
            format!(
                "the time zone of the session tables is guessed to be {log_timezone}, PostgreSQL's log_timezone; \
                 say it with database-timezone or `alter role … set timezone = …`"
            )
        });
        let timezone = known.unwrap_or(log_timezone);
        let is_encrypted = row.try_get(8).map_err(classify)?;
        Ok(Server { version: text(0)?, is_encrypted, timezone, timezone_guessed, schema, role: text(6)?, warnings })
    }

    /// The zone that other programs' connections have: sqlx asks for UTC in its startup packet, so the usual places
    /// (`show timezone`, `pg_settings.reset_val`) would only say UTC.
    async fn zone(&self, connection: &mut PgConnection) -> Result<Option<String>, DatabaseError> {
        if let Some(timezone) = &self.timezone {
            return Ok(Some(timezone.clone()));
        }
        sqlx::query_scalar(
            "select substr(setting, strpos(setting, '=') + 1)
               from pg_db_role_setting, unnest(setconfig) as setting
              where lower(setting) like 'timezone=%'
                and setrole in (0, (select oid from pg_roles where rolname = session_user))
                and setdatabase in (0, (select oid from pg_database where datname = current_database()))
              order by setrole <> 0 desc, setdatabase <> 0 desc
              limit 1",
        )
        .fetch_optional(connection)
        .await
        .map_err(classify)
    }
}

/// Whether the files can be read that the URL names for TLS: sqlx would say that one cannot, but not which. An encoded path
/// is left to sqlx.
fn check_files(url: &str) -> Result<(), DatabaseError> {
    let query = url.split_once('?').map_or("", |(_, query)| query);
    let named = query.split('&').filter_map(|pair| pair.split_once('='));
    for (name, path) in named.filter(|(name, path)| TLS_FILES.contains(name) && !path.contains('%')) {
        std::fs::File::open(path)
            .map_err(|error| DatabaseError::Unusable(format!("database-url: {name}: cannot read {path}: {error}")))?;
    }
    Ok(())
}

fn durability_warnings(fsync: &str, full_page_writes: &str) -> Vec<String> {
    let mut warnings = Vec::new();
    if fsync == "off" {
        warnings.push("PostgreSQL runs with fsync = off: a crash of its machine loses or corrupts sessions".to_owned());
    }
    if full_page_writes == "off" {
        warnings.push(
            "PostgreSQL runs with full_page_writes = off: a crash of its machine may corrupt its tables".to_owned(),
        );
    }
    warnings
}

/// Several settings in one round trip.
async fn set<S: AsRef<str>>(connection: &mut PgConnection, settings: &[(&str, S)]) -> Result<(), sqlx::Error> {
    let names: Vec<&str> = settings.iter().map(|(name, _)| *name).collect();
    let values: Vec<&str> = settings.iter().map(|(_, value)| value.as_ref()).collect();
    sqlx::query("select set_config(name, value, false) from unnest($1::text[], $2::text[]) as setting(name, value)")
        .bind(names)
        .bind(values)
        .persistent(false)
        .execute(connection)
        .await
        .map(|_| ())
}

/// Makes a reader one that reads whole tables, for as long as they are large, and waits for the lock of one only so long: PostgreSQL
/// does not notice that whoever waited has gone, and keeps a connection for each.
pub(super) async fn set_up_scan(connection: &mut PgConnection, lock_wait: Duration) -> Result<(), sqlx::Error> {
    let lock_timeout = lock_wait.as_millis().max(1).to_string();
    let of_scan = [("statement_timeout", "0"), ("lock_timeout", &lock_timeout), ("enable_seqscan", "on")];
    set(connection, &of_scan).await
}

/// How long one statement of this connection may take from now on.
pub(super) async fn set_statement_timeout(connection: &mut PgConnection, timeout: Duration) -> Result<(), sqlx::Error> {
    set(connection, &[("statement_timeout", timeout.as_millis().max(2).to_string())]).await
}
