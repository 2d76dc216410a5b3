//! `cargo bench --bench side_by_side`: Sojourn beside redis-server and connect-pg-simple's SQL on one machine and one
//! disk. See `-- --help`.

#![expect(clippy::expect_used, clippy::unwrap_used, reason = "a run whose servers do not start must end")]
#![expect(
    dead_code,
    unused_imports,
    reason = "cargo sets cfg(test) here too, but only tests/side_by_side.rs has the tests; it finds what is unused"
)]

#[path = "mod.rs"]
mod side_by_side;
#[path = "../../tests/support/postgres.rs"]
mod postgres;
#[path = "../../tests/support/mod.rs"]
mod support;
#[path = "../stage/mod.rs"]
mod stage;

use std::process::ExitCode;

fn main() -> ExitCode {
    match side_by_side::run(std::env::args_os()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("side_by_side: {error}");
            ExitCode::FAILURE
        }
    }
}
