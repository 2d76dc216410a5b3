//! Where a benchmark stands: a folder on a real disk, PostgreSQL in it, and what a reader must know of the machine.

use tempfile::TempDir;

use super::Result;
use super::machine::{FileSystem, Machine, open_to_postgres};
use super::scope::Scope;
use super::servers::POSTGRES;
use crate::postgres::PostgresServer;

/// What all servers of a run share; it is gone with the run.
pub struct Ground {
    /// PostgreSQL; it ends before its folder goes.
    pub postgres: PostgresServer,
    /// Where the servers keep their data.
    pub data: TempDir,
    /// The machine.
    pub machine: Machine,
}

impl Ground {
    /// Makes the folder and starts PostgreSQL.
    ///
    /// # Errors
    /// When the data would not stand on a disk, or cannot be written.
    pub fn open(scope: &Scope) -> Result<Self> {
        std::fs::create_dir_all(&scope.data)?;
        let file_system = FileSystem::of(&scope.data)?;
        if file_system.is_memory() && !scope.is_smoke() {
            let (folder, kind) = (scope.data.display(), file_system.kind);
            return Err(format!("{folder} is on {kind}, which is no disk: choose another by --data").into());
        }
        let data = tempfile::Builder::new().prefix("data-").tempdir_in(&scope.data)?;
        open_to_postgres(data.path())?;
        let postgres = PostgresServer::start_in(data.path(), POSTGRES);
        let machine = Machine::describe(data.path(), &file_system, &postgres)?;
        Ok(Self { postgres, data, machine })
    }
}
