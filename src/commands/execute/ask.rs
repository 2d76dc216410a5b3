//! What must be known before a request runs: while not all keys are known, whether its keys exist. So no handler ever takes a
//! key that has not been read yet for one that does not exist. Once all are known it costs a look at a flag.

use super::{KeyOf, Step, keys_of};
use crate::app::{App, Client};
use crate::commands::table::{KeyPositions, Row};
use crate::protocol::Request;

/// What a request must wait for before it is executed, if anything. EXEC looks at its own keys.
#[inline]
pub(super) fn first(app: &App, client: &Client, row: &Row, request: &Request) -> Option<Step> {
    if app.keyspace.knows_all() {
        return None;
    }
    let is_whole = matches!(row.keys, KeyPositions::Shards | KeyPositions::All);
    of_keys(app, is_whole, &keys_of(row, request, client.database))
}

/// The same of some keys, or of all there are.
pub(super) fn of_keys(app: &App, is_whole: bool, keys: &[KeyOf<'_>]) -> Option<Step> {
    if app.keyspace.knows_all() {
        return None;
    }
    if is_whole {
        return Some(Step::AwaitKeys);
    }
    let unknown = app.keyspace.unknown(keys);
    (!unknown.is_empty()).then_some(Step::Load(unknown))
}
