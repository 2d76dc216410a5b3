//! The check that makes a run worth something: as many rows changed in PostgreSQL as SETs were acknowledged, less those
//! that a later SET of the same key replaced within a batch, and those whose end followed as a touch.

use std::time::{Duration, Instant};

use super::contestants::Contestant;
use crate::postgres::PostgresServer;
use crate::stage::Result;

/// PostgreSQL tells its statistics at most once a second, and Sojourn's next commit may be two seconds away.
const STATISTICS_DELAY_MAX: Duration = Duration::from_secs(15);
const POLL: Duration = Duration::from_millis(50);

/// What was counted since a contestant's table was made, in which nothing but SETs happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Counted {
    /// SETs that the generator saw acknowledged.
    pub acked: u64,
    /// Units that the contestant says it committed; a SET is one.
    pub units: u64,
    /// Changes that another one of the same batch replaced.
    pub replaced: u64,
    /// Rows whose end it says it wrote for touches.
    pub touched: u64,
    /// Rows that PostgreSQL says were inserted, updated or deleted.
    pub rows: u64,
}

impl Counted {
    /// The sentence that makes the run void, if the numbers do not fit.
    pub fn fault(&self) -> Option<String> {
        let Self { acked, units, replaced, touched, rows } = *self;
        if units != acked {
            return Some(format!("{acked} SETs were acknowledged, but {units} units were committed"));
        }
        if rows + replaced != acked + touched {
            return Some(format!(
                "{rows} rows changed in PostgreSQL, but {acked} SETs were acknowledged, of which {replaced} were replaced, \
                 and {touched} ends were written later"
            ));
        }
        None
    }
}

/// Compares what was acknowledged with what changed; waits for PostgreSQL's statistics.
///
/// # Errors
/// The run is void.
pub fn check(contestant: &Contestant, postgres: &PostgresServer, acked: u64) -> Result<()> {
    let Some(database) = &contestant.database else { return Ok(()) };
    contestant.settle()?;
    let units = contestant.info("units_committed")?.unwrap_or(acked);
    let replaced = contestant.info("changes_replaced")?.unwrap_or_default();
    let touched = contestant.info("touch_rows_written")?.unwrap_or_default();
    let begun = Instant::now();
    loop {
        let rows = rows_changed(postgres, database)?.saturating_sub(contestant.aged);
        let Some(fault) = (Counted { acked, units, replaced, touched, rows }).fault() else { return Ok(()) };
        if begun.elapsed() > STATISTICS_DELAY_MAX {
            // PostgreSQL counts the rows of transactions, too, that were taken back.
            let failed = contestant.info("batches_failed")?.unwrap_or_default();
            return Err(format!("{}: the run is void: {fault}; {failed} batches failed", contestant.kind.name()).into());
        }
        std::thread::sleep(POLL);
    }
}

fn rows_changed(postgres: &PostgresServer, database: &str) -> Result<u64> {
    let sum = "select n_tup_ins + n_tup_upd + n_tup_del from pg_stat_user_tables where relname = 'session'";
    Ok(postgres.sql(database, sum).parse()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    const FITS: Counted = Counted { acked: 1_000, units: 1_000, replaced: 10, touched: 5, rows: 995 };

    #[test]
    fn a_run_counts_when_every_acknowledged_set_is_a_row_or_was_replaced() {
        assert_eq!(FITS.fault(), None);
    }

    #[test]
    fn a_run_is_void_when_a_row_is_missing_or_nobody_wrote_it() {
        for rows in [994, 996, 0] {
            assert!(Counted { rows, ..FITS }.fault().is_some_and(|fault| fault.contains("rows changed")), "{rows}");
        }
    }

    #[test]
    fn a_run_is_void_when_a_set_was_no_unit() {
        // A SET of the very same bytes is a touch, which is no unit.
        assert!(Counted { units: 999, rows: 994, ..FITS }.fault().is_some());
        assert!(Counted { units: 1_001, ..FITS }.fault().is_some());
    }
}
