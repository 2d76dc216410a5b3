//! What those who run a server rely on: the service manager's sockets and messages, reload, the log, `sojourn check`, backups,
//! and the files that are shipped beside the program.

#![expect(clippy::expect_used, clippy::unwrap_used, reason = "a test that cannot go on must fail, in its helpers too")]

#[path = "../support/postgres.rs"]
mod postgres;

#[path = "../support/mod.rs"]
mod support;

mod agreement;
mod backups;
mod check;
mod dashboards;
mod http;
mod logs;
mod packaging;
mod panels;
mod prometheus;
mod reload;
mod sessions;
mod systemd;

use std::path::{Path, PathBuf};

/// A file or folder of the repository.
fn repository(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}
