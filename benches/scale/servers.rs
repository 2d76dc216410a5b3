//! The servers of the sections: started on a folder that outlives them, measured from outside by what the kernel says.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::process::{Child, Command};
use std::time::{Duration, Instant};

use super::options::Options;
use crate::postgres::PostgresServer;
use crate::stage::servers::{REDIS, SOJOURN};
use crate::stage::{Result, client, process};
use crate::support::resp::{Connection, Frame};
use crate::support::server::free_port;
use crate::support::{redis, sojourn};

/// How long a server may take to its first answer, 5 000 000 sessions included.
const START_MAX: Duration = Duration::from_secs(180);
const POLL: Duration = Duration::from_millis(1);
/// What servers free goes back to the system by and by: jemalloc, which both have, takes its time of ten seconds.
const AT_REST_WITHIN: Duration = Duration::from_secs(45);
const AT_REST_EVERY: Duration = Duration::from_secs(3);
/// Memory that falls by less meanwhile is at rest.
const AT_REST_SHARE: f64 = 0.995;

/// What the sections stand on.
#[derive(Clone, Copy)]
pub struct Stage<'a> {
    /// PostgreSQL.
    pub postgres: &'a PostgresServer,
    /// Where servers keep their data.
    pub data: &'a Path,
    /// What was asked for.
    pub options: &'a Options,
}

impl Stage<'_> {
    /// The URL of a database in this file.
    pub fn sqlite(&self, file: &str) -> String {
        format!("sqlite://{}", self.data.join(file).display())
    }

    /// The bytes that a server has in memory once it gives nothing more back; in a smoke run at once.
    ///
    /// # Errors
    /// When it has ended.
    pub fn bytes_at_rest(&self, server: &Server) -> Result<f64> {
        let (begun, mut last) = (Instant::now(), server.resident_bytes()?);
        while !self.options.scope.is_smoke() && begun.elapsed() < AT_REST_WITHIN {
            std::thread::sleep(AT_REST_EVERY);
            let now = server.resident_bytes()?;
            // Nothing falls before jemalloc's clock has moved.
            if begun.elapsed() > 2 * AT_REST_EVERY && now > last * AT_REST_SHARE {
                return Ok(now);
            }
            last = now;
        }
        Ok(last)
    }
}

/// A running server; killed when dropped.
#[derive(Debug)]
pub struct Server {
    /// Whether it is Sojourn, which has a database that may lag behind.
    pub is_sojourn: bool,
    child: Child,
    address: SocketAddr,
    begun: Instant,
}

impl Server {
    /// Sojourn on a database, with further arguments; it may not serve yet.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn sojourn(url: &str, arguments: &[&str]) -> Result<Self> {
        Self::spawn(true, |port| sojourn::command(port, url, &[SOJOURN, arguments].concat()))
    }

    /// redis-server with its files in this folder.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn redis(folder: &Path, arguments: &[&str]) -> Result<Self> {
        fs::create_dir_all(folder)?;
        Self::spawn(false, |port| redis::command(port, folder, &[REDIS, arguments].concat()))
    }

    fn spawn(is_sojourn: bool, make: impl Fn(u16) -> Command) -> Result<Self> {
        let port = free_port();
        let mut command = make(port);
        let begun = Instant::now();
        let child = command.spawn()?;
        Ok(Self { is_sojourn, child, address: SocketAddr::from((Ipv4Addr::LOCALHOST, port)), begun })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Calls this again and again until the answer is what is looked for; says how long after the start that was.
    ///
    /// # Errors
    /// When it takes too long, or the server has ended.
    pub fn until(&mut self, words: &[&str], mut is: impl FnMut(&Frame) -> bool) -> Result<Duration> {
        let mut connection = None;
        while self.begun.elapsed() < START_MAX {
            if let Some(ended) = self.child.try_wait()? {
                return Err(format!("the server ended with {ended}").into());
            }
            let open = connection.take().map_or_else(|| Connection::open(self.address), Ok);
            if let Ok(mut open) = open
                && let Ok(frame) = open.call(words)
            {
                if is(&frame) {
                    return Ok(self.begun.elapsed());
                }
                connection = Some(open);
            }
            std::thread::sleep(POLL);
        }
        Err(format!("no answer to {words:?} as expected within {START_MAX:?}").into())
    }

    /// Waits until it serves.
    ///
    /// # Errors
    /// As [`Self::until`].
    pub fn ready(mut self) -> Result<Self> {
        self.until(&["DBSIZE"], |frame| frame.integer().is_some())?;
        Ok(self)
    }

    /// A new connection.
    ///
    /// # Errors
    /// When it does not take one.
    pub fn connect(&self) -> Result<Connection> {
        Ok(Connection::open(self.address)?)
    }

    /// A number of INFO, if it has it.
    ///
    /// # Errors
    /// When it does not answer.
    pub fn info(&self, name: &str) -> Result<Option<f64>> {
        client::info(self.address, name)
    }

    /// Changes a setting.
    ///
    /// # Errors
    /// When it does not take it.
    pub fn set(&self, name: &str, value: &str) -> Result<()> {
        client::expect_ok(name, &self.connect()?.call(&["CONFIG", "SET", name, value])?)
    }

    /// The bytes that it has in memory.
    ///
    /// # Errors
    /// When it has ended.
    pub fn resident_bytes(&self) -> Result<f64> {
        process::resident_bytes(self.child.id())
    }

    /// The most bytes that it has in memory while something is done, beyond those before.
    ///
    /// # Errors
    /// When it has ended, or what is done fails.
    pub fn peak_bytes(&self, act: impl FnOnce() -> Result<()>) -> Result<f64> {
        process::peak_bytes(self.child.id(), act)
    }

    /// The processor time that it has taken, in seconds.
    ///
    /// # Errors
    /// When it has ended.
    pub fn cpu_seconds(&self) -> Result<f64> {
        Ok(process::processor_time(self.child.id())?.as_secs_f64())
    }

    /// Waits until all that was acknowledged is in its database, if it is one that has any.
    ///
    /// # Errors
    /// When that fails.
    pub fn settle(&self) -> Result<()> {
        if self.is_sojourn { client::save(self.address) } else { Ok(()) }
    }

    /// SIGTERM, and its end.
    ///
    /// # Errors
    /// When it cannot be asked.
    pub fn stop(mut self) -> Result<()> {
        Command::new("kill").args(["-TERM", &self.child.id().to_string()]).status()?;
        self.child.wait()?;
        Ok(())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Either fails only if it has ended by itself.
        let _ended = self.child.kill();
        let _ended = self.child.wait();
    }
}
