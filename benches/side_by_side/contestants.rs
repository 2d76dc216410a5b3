//! Who is measured: servers that this run starts, all with their data in one folder, each filled with the same sessions.

pub mod echo;
pub mod store;

use std::net::SocketAddr;
use std::path::Path;

use self::echo::Echo;
use self::store::Store;
use crate::postgres::PostgresServer;
use crate::stage::servers::{REDIS, SOJOURN};
use crate::stage::{Result, client, session};
use crate::support::redis::Redis;
use crate::support::resp::encode;
use crate::support::sojourn::Sojourn;

/// Those who can take part.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// Sojourn, durable, on PostgreSQL.
    SojournPostgres,
    /// Sojourn, durable, on SQLite.
    SojournSqlite,
    /// Sojourn with `durability = everysec`, on PostgreSQL.
    SojournEverysec,
    /// redis-server without AOF.
    RedisMemory,
    /// redis-server with AOF, flushed every second.
    RedisEverysec,
    /// redis-server with AOF, flushed before each reply.
    RedisAlways,
    /// connect-pg-simple's SQL.
    PgSimple,
    /// The echo.
    Echo,
}

impl Kind {
    /// All, in the order of the tables.
    pub const ALL: [Self; 8] = [
        Self::SojournPostgres,
        Self::SojournSqlite,
        Self::SojournEverysec,
        Self::RedisAlways,
        Self::RedisEverysec,
        Self::RedisMemory,
        Self::PgSimple,
        Self::Echo,
    ];

    /// Its name on the command line.
    pub const fn name(self) -> &'static str {
        match self {
            Self::SojournPostgres => "sojourn-postgres",
            Self::SojournSqlite => "sojourn-sqlite",
            Self::SojournEverysec => "sojourn-everysec",
            Self::RedisMemory => "redis-memory",
            Self::RedisEverysec => "redis-aof-everysec",
            Self::RedisAlways => "redis-aof-always",
            Self::PgSimple => "connect-pg-simple",
            Self::Echo => "echo",
        }
    }

    /// Its name in the tables.
    pub const fn title(self) -> &'static str {
        match self {
            Self::SojournPostgres => "Sojourn on PostgreSQL",
            Self::SojournSqlite => "Sojourn on SQLite",
            Self::SojournEverysec => "Sojourn `everysec` on PostgreSQL",
            Self::RedisMemory => "redis without AOF",
            Self::RedisEverysec => "redis AOF `everysec`",
            Self::RedisAlways => "redis AOF `always`",
            Self::PgSimple => "connect-pg-simple's SQL",
            Self::Echo => "the echo",
        }
    }

    /// Who has this name.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.name() == name)
    }

    /// Whether it writes to PostgreSQL.
    pub const fn is_on_postgres(self) -> bool {
        matches!(self, Self::SojournPostgres | Self::SojournEverysec | Self::PgSimple)
    }
}

/// A contestant that runs.
#[derive(Debug)]
pub struct Contestant {
    /// Who it is.
    pub kind: Kind,
    /// Its database in PostgreSQL.
    pub database: Option<String>,
    /// How it is reached.
    pub server: Server,
    /// How often a row of its table was written to make the table one that has been in use.
    pub aged: u64,
}

/// How often a table is aged, and what share of it each time: afterwards every page has some room, as in a table whose rows
/// are updated and vacuumed all day. In one that was only filled the first update of every row has to find another page.
pub const AGED_TIMES: u32 = 4;
/// See [`AGED_TIMES`].
pub const AGED_SHARE: f64 = 0.2;

/// How a contestant is reached.
#[derive(Debug)]
pub enum Server {
    /// By the Redis protocol.
    Sojourn(Sojourn),
    /// By the Redis protocol.
    Redis(Redis),
    /// By the Redis protocol.
    Echo(Echo),
    /// By SQL, in this process.
    Store(Store),
}

impl Contestant {
    /// Starts it afresh, with `keys` sessions.
    ///
    /// # Errors
    /// When it does not take the sessions; a server that does not start panics with its log.
    pub fn start(kind: Kind, postgres: &PostgresServer, folder: &Path, keys: u32) -> Result<Self> {
        let database = kind.is_on_postgres().then(|| postgres.create_database());
        let url = database.as_deref().map(|database| postgres.url(database)).unwrap_or_default();
        let redis = |settings: &[&str]| Server::Redis(Redis::start_in(folder, &[REDIS, settings].concat()));
        let sojourn = |url: &str, durability: &str| {
            Server::Sojourn(Sojourn::start(url, &[SOJOURN, &["--durability", durability]].concat()))
        };
        let server = match kind {
            Kind::SojournPostgres => sojourn(&url, "commit"),
            Kind::SojournEverysec => sojourn(&url, "everysec"),
            Kind::SojournSqlite => sojourn(&format!("sqlite://{}", folder.join("sojourn.db").display()), "commit"),
            Kind::RedisMemory => redis(&["--appendonly", "no"]),
            Kind::RedisEverysec => redis(&["--appendonly", "yes", "--appendfsync", "everysec"]),
            Kind::RedisAlways => redis(&["--appendonly", "yes", "--appendfsync", "always"]),
            Kind::PgSimple => Server::Store(Store::start(&url, keys)?),
            Kind::Echo => Server::Echo(Echo::start()?),
        };
        let mut contestant = Self { kind, database, server, aged: 0 };
        contestant.fill(keys)?;
        contestant.aged = contestant.age(postgres)?;
        Ok(contestant)
    }

    /// Writes rows of its table in PostgreSQL anew, as they are; answers how many.
    fn age(&self, postgres: &PostgresServer) -> Result<u64> {
        let Some(database) = &self.database else { return Ok(0) };
        let update = format!(
            "with aged as (update session set sess = sess where random() < {AGED_SHARE} returning 1) select count(*) from aged"
        );
        let mut aged = 0;
        for _ in 0..AGED_TIMES {
            aged += postgres.sql(database, &update).parse::<u64>()?;
            postgres.sql(database, "vacuum session");
        }
        Ok(aged)
    }

    /// Where it listens; `None` for one that speaks SQL.
    pub fn address(&self) -> Option<SocketAddr> {
        match &self.server {
            Server::Sojourn(server) => Some(server.address()),
            Server::Redis(server) => Some(server.address()),
            Server::Echo(echo) => Some(echo.address()),
            Server::Store(_) => None,
        }
    }

    /// Waits until everything that it has acknowledged is on its disk, touches included.
    ///
    /// # Errors
    /// When it does not answer.
    pub fn settle(&self) -> Result<()> {
        match &self.server {
            Server::Sojourn(server) => client::save(server.address()),
            Server::Store(store) => store.flush_statistics(),
            Server::Redis(_) | Server::Echo(_) => Ok(()),
        }
    }

    /// A number of Sojourn's INFO; `None` from anybody else.
    ///
    /// # Errors
    /// When it does not answer.
    pub fn info(&self, name: &str) -> Result<Option<u64>> {
        let Server::Sojourn(server) = &self.server else { return Ok(None) };
        client::info(server.address(), name)
    }

    fn fill(&self, keys: u32) -> Result<()> {
        let Some(address) = self.address() else { return Ok(()) };
        Ok(client::fill(address, 0..keys, None, set_request)
            .map_err(|error| format!("{}: {error}", self.kind.name()))?)
    }
}

fn set_request(key: u32) -> Vec<u8> {
    let (key, value) = (format!("{}{}", session::PREFIX, session::sid(key)), session::value(u64::from(key)));
    encode(&["SET", &key, &value, "EX", &session::TTL_SECONDS.to_string()])
}
