//! `cargo bench --bench scale`: what a million sessions and more cost, beside redis-server. See `-- --help`.

#![expect(clippy::expect_used, clippy::unwrap_used, reason = "a run whose servers do not start must end")]
#![expect(
    dead_code,
    unused_imports,
    reason = "cargo sets cfg(test) here too, but only tests/side_by_side.rs has the tests; it finds what is unused"
)]

#[path = "../../tests/support/postgres.rs"]
mod postgres;
#[path = "mod.rs"]
mod scale;
#[path = "../stage/mod.rs"]
mod stage;
#[path = "../../tests/support/mod.rs"]
mod support;

use std::process::ExitCode;

fn main() -> ExitCode {
    match scale::run(std::env::args_os()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("scale: {error}");
            ExitCode::FAILURE
        }
    }
}
