//! A PostgreSQL that is killed under a server.

use super::postgres::PostgresServer;

/// The PostgreSQL, and the database in it.
pub struct Victim<'a> {
    pub postgres: &'a mut PostgresServer,
    pub database: String,
}

impl Victim<'_> {
    /// Kills it in the way of this number: all its processes, an immediate stop, or the writer's backend only, after which
    /// it starts again by itself. `meanwhile` passes before it is started again.
    pub fn crash(&mut self, number: u64, meanwhile: impl FnOnce()) {
        match number % 3 {
            0 => self.postgres.kill_9(),
            1 => self.postgres.kill_immediate(),
            _ => return self.postgres.kill_9_writer(&self.database),
        }
        meanwhile();
        self.postgres.restart();
    }
}
