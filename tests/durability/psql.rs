//! A psql that keeps a transaction open, as an operator does who goes for lunch.

use std::io::Write;
use std::process::{Child, Command, Stdio};

use super::postgres::PostgresServer;
use super::server::wait_until;

/// A psql with an open transaction; it ends without a commit when dropped.
pub struct Psql(Child);

impl Psql {
    /// Begins a transaction with this SQL, and waits until it is done.
    pub fn begin(postgres: &PostgresServer, database: &str, sql: &str) -> Self {
        let mut child = Command::new(postgres.program("psql"))
            .args(["-XAtq", "-v", "ON_ERROR_STOP=1", "-d", &postgres.url(database)])
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .spawn()
            .expect("psql");
        let name = format!("psql-{}", child.id());
        let orders = format!("set application_name = '{name}';\nbegin;\n{sql};\nselect 'done';\n");
        child.stdin.as_mut().expect("its input").write_all(orders.as_bytes()).expect("a psql that reads");
        let is_done = format!(
            "select count(*) from pg_stat_activity
              where application_name = '{name}' and state = 'idle in transaction' and query = 'select ''done'';'"
        );
        wait_until("psql", || postgres.sql("postgres", &is_done) == "1");
        Self(child)
    }

    /// Ends the transaction with what it did.
    pub fn commit(mut self) {
        self.0.stdin.as_mut().expect("its input").write_all(b"commit;\n").expect("a psql that reads");
        self.end();
    }

    /// Ends the transaction without a change.
    pub fn end(mut self) {
        drop(self.0.stdin.take());
        assert!(self.0.wait().expect("its end").success());
    }
}

impl Drop for Psql {
    fn drop(&mut self) {
        // Either fails only if it has ended.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
