//! Checkpoints beside the writer. What is committed stands in the log first, and goes to the file in a checkpoint. SQLite would
//! make one in the commit that fills a thousand pages, and whoever waits for that commit or for the next ones would wait for
//! writes all over the file, and for their flush (<https://www.sqlite.org/wal.html>, "Avoiding Excessively Large WAL Files").

use std::fs::File;
use std::mem::ManuallyDrop;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{ConnectOptions as _, Connection as _, SqliteConnection};
use tokio::sync::{Mutex, mpsc};
use tokio::task::JoinHandle;

use crate::database::{BatchWork, Committed};

/// A checkpoint begins after so many changes, each of which is a page or a few. What it writes is flushed at once, and whoever
/// commits meanwhile waits behind that: beside a flood of new keys, SETs took 3.9 ms (p99) with 25, 6.9 with 100, and twice as
/// long again with 1 000; with 10 it was 5.0, since each flush takes a while by itself.
const CHANGES: usize = 25;

/// From so many pages on the log is to begin anew, which it does only when all of it is in the file: 32 MiB by default.
pub(super) const LOG_PAGES: i64 = 8_000;

/// The commits wait while no more pages than these are brought to the file, a few milliseconds.
const LAST_PAGES: i64 = 400;

/// So often the rest is brought to the file that has come meanwhile, before a later checkpoint is to try again: somebody reads
/// what stands in the log, or more comes than can be brought away.
const ROUNDS_MAX: usize = 8;

/// From here on the writer makes checkpoints as well, whatever keeps this task from it.
pub(super) const LOG_PAGES_MAX: i64 = 4 * LOG_PAGES;

/// Makes checkpoints while it lives.
pub(super) struct Checkpointer {
    /// Since a checkpoint was asked for last.
    changes: usize,
    due: mpsc::Sender<()>,
    task: JoinHandle<()>,
}

impl Checkpointer {
    /// Begins, with a connection of its own as soon as it needs one. Who commits holds `commits`.
    pub(super) fn start(options: SqliteConnectOptions, disk: Arc<Disk>, commits: Arc<Mutex<()>>) -> Self {
        let (due, asked) = mpsc::channel(1);
        Self { changes: 0, due, task: tokio::spawn(checkpoint_when_due(options, disk, commits, asked)) }
    }

    /// This was committed.
    pub(super) fn note(&mut self, work: &BatchWork, committed: &Committed) {
        let changes = match work {
            BatchWork::Changes(changes) => changes.len(),
            BatchWork::Prune { .. } => usize::try_from(committed.pruned).unwrap_or(CHANGES),
            // Nobody has counted what there was.
            BatchWork::Clear { .. } => CHANGES,
        };
        // Each batch changes the row of the owner, too.
        self.changes = self.changes.saturating_add(changes + 1);
        if self.changes >= CHANGES {
            self.changes = 0;
            // Full: the next one has not begun, and takes all.
            let _ = self.due.try_send(());
        }
    }

    /// Ends, and closes its connection. Dropped, it may outlive the writer's, which could not clear the log away then.
    pub(super) async fn stop(self) {
        drop(self.due);
        // One that panicked has ended, too.
        let _ended = self.task.await;
    }
}

/// The file beside SQLite, for what SQLite does not do by itself: it flushes the file only in a checkpoint that leaves nothing
/// in the log, thousands of pages at once.
///
/// It is never closed. To close a file would give up the locks that the process has on it, which are those of SQLite as well: the
/// next program that looked into the database would take it for unused, and delete the log
/// (<https://www.sqlite.org/howtocorrupt.html>, "Posix advisory locks canceled by a separate thread doing close()").
pub(super) struct Disk {
    path: PathBuf,
    file: OnceLock<ManuallyDrop<File>>,
}

impl Disk {
    /// Of this file, which is opened once it is needed.
    pub(super) fn of(path: &Path) -> Self {
        Self { path: path.to_owned(), file: OnceLock::new() }
    }

    /// Flushes what was written to it.
    fn flush(&self) -> std::io::Result<()> {
        let file = match self.file.get() {
            Some(file) => file,
            None => {
                let file = ManuallyDrop::new(File::open(&self.path)?);
                self.file.get_or_init(|| file)
            }
        };
        file.sync_data()
    }
}

async fn checkpoint_when_due(
    options: SqliteConnectOptions,
    disk: Arc<Disk>,
    commits: Arc<Mutex<()>>,
    mut asked: mpsc::Receiver<()>,
) {
    let mut open = None;
    while asked.recv().await.is_some() {
        // One that fails has done no harm: the next one goes on where it was, or else the writer.
        open = checkpoint(open.take(), &options, &disk, &commits).await.ok();
    }
    if let Some(connection) = open {
        // The writer clears up, or the next start.
        let _closed = connection.close().await;
    }
}

/// Brings to the file what stands in the log, and lets the log begin anew if it is long.
async fn checkpoint(
    open: Option<SqliteConnection>,
    options: &SqliteConnectOptions,
    disk: &Arc<Disk>,
    commits: &Mutex<()>,
) -> Result<SqliteConnection, sqlx::Error> {
    let mut connection = match open {
        Some(connection) => connection,
        None => options.connect().await?,
    };
    for _ in 0..ROUNDS_MAX {
        let (pages, left) = pass(&mut connection).await?;
        let disk = Arc::clone(disk);
        // What this leaves undone, the last pass does.
        let _flushed = tokio::task::spawn_blocking(move || disk.flush()).await;
        if pages < LOG_PAGES {
            break;
        }
        if left <= LAST_PAGES {
            let _no_commit = commits.lock().await;
            pass(&mut connection).await?;
            break;
        }
    }
    Ok(connection)
}

/// One that waits for nobody and that nobody waits for. Answers how many pages the log has, and how many of them are not in
/// the file: those that came meanwhile.
async fn pass(connection: &mut SqliteConnection) -> Result<(i64, i64), sqlx::Error> {
    let (_busy, pages, done): (i64, i64, i64) =
        sqlx::query_as("pragma wal_checkpoint(passive)").fetch_one(connection).await?;
    Ok((pages, pages - done))
}
