//! The server under test: it runs within this process, on a clock that the test moves, on a database whose rows the test
//! reads by SQL.

use std::ffi::OsString;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::thread::{self, JoinHandle};

use sojourn::clock::Clock;
use sojourn::config::{self, Command};
use sojourn::server::{self, Options, ServerError};
use sqlx::{Connection as _, PgConnection, SqliteConnection};
use tempfile::TempDir;
use tokio::sync::oneshot;

use super::postgres::PostgresServer;
use super::support::resp::{Connection, Frame};
use super::support::server::wait_until;

/// Whether it lies in the session table, its database number, key, type, value and end.
pub type Row = (bool, i64, Vec<u8>, String, Vec<u8>, Option<i64>);

/// Where the rows are.
pub enum Database {
    Sqlite { file: PathBuf, _folder: TempDir },
    Postgres { url: String, _server: PostgresServer },
}

const SQLITE_ROWS: &str = "
    select true, 0, cast('sess:' || sid as blob), 'string', cast(sess as blob),
           case when expire < '9999-12-31' then unixepoch(expire) * 1000 + cast(substr(expire, 21, 3) as integer) end
      from session
     union all
    select false, database, key, type, value, unixepoch(expires_at) * 1000 + cast(substr(expires_at, 21, 3) as integer)
      from sojourn_keys";

const POSTGRES_ROWS: &str = "
    select true, 0::int8, convert_to('sess:' || sid, 'UTF8'), 'string', convert_to(sess::text, 'UTF8'),
           case when expire < '9999-12-31' then (extract(epoch from expire) * 1000)::int8 end
      from session
     union all
    select false, database::int8, key, type, value, (extract(epoch from expires_at) * 1000)::int8
      from sojourn_keys";

impl Database {
    pub fn sqlite() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        Self::Sqlite { file: folder.path().join("sojourn.db"), _folder: folder }
    }

    pub fn postgres() -> Self {
        // Nobody crashes here, and the disk is not what is tried.
        let server = PostgresServer::start(&["fsync=off"]);
        Self::Postgres { url: server.url(&server.create_database()), _server: server }
    }

    fn url(&self) -> String {
        match self {
            Self::Sqlite { file, .. } => format!("sqlite://{}", file.display()),
            Self::Postgres { url, .. } => url.clone(),
        }
    }

    /// All rows, sorted; a key that lies in both tables is there twice.
    pub fn rows(&self) -> Vec<Row> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        let mut rows: Vec<Row> = runtime
            .block_on(async {
                match self {
                    Self::Sqlite { .. } => {
                        let mut connection = SqliteConnection::connect(&self.url()).await?;
                        sqlx::query_as(SQLITE_ROWS).fetch_all(&mut connection).await
                    }
                    Self::Postgres { url, .. } => {
                        let mut connection = PgConnection::connect(url).await?;
                        sqlx::query_as(POSTGRES_ROWS).fetch_all(&mut connection).await
                    }
                }
            })
            .expect("rows");
        rows.sort();
        rows
    }
}

/// A running server.
pub struct Server {
    address: SocketAddr,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<Result<(), ServerError>>>,
}

impl Server {
    pub fn start(database: &Database, clock: &Clock) -> Self {
        Self::start_with(database, clock, Options::default())
    }

    /// With something that is not as it is in service.
    pub fn start_with(database: &Database, clock: &Clock, options: Options) -> Self {
        let url = database.url();
        let flags = ["--port", "0", "--metrics-addr", "off", "--database-timezone", "UTC", "--prune-interval", "100ms"];
        let arguments = ["sojourn", "--database-url", &url].into_iter().chain(flags).map(OsString::from);
        let Ok(Command::Serve(loaded)) = config::load(arguments, &[], |path| std::fs::read_to_string(path)) else {
            panic!("these are good settings");
        };
        let (listening, listens) = oneshot::channel();
        let (stop, stopped) = oneshot::channel();
        let options = Options { clock: clock.clone(), listening: Some(listening), ..options };
        let thread = thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
            // A rig that is gone is a stop, too.
            runtime.block_on(server::run(*loaded, options, async { drop(stopped.await) }))
        });
        let address = listens.blocking_recv().expect("an address");
        let server = Self { address, stop: Some(stop), thread: Some(thread) };
        wait_until("the server to be ready", || {
            let pong = server.connect().call(&["PING"]);
            pong.is_ok_and(|reply| matches!(reply, Frame::Line(b'+', _)))
        });
        server
    }

    pub fn connect(&self) -> Connection {
        Connection::open(self.address).expect("a connection")
    }

    /// Ends it as an operator does: everything is committed.
    pub fn stop(mut self) {
        self.end().expect("a clean end");
    }

    fn end(&mut self) -> Result<(), ServerError> {
        drop(self.stop.take());
        self.thread.take().map_or(Ok(()), |thread| thread.join().expect("no panic"))
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // A case that failed says more than how its server ended.
        let _ended = self.end();
    }
}
