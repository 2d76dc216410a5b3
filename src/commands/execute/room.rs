//! The gate of memory: at `maxmemory` values leave before a command that may need memory runs, and where no value can, it is
//! refused in Redis's words. Reads and deletes are never refused.

use crate::app::{App, Client};
use crate::commands::error::CommandError;
use crate::commands::table::{self, Flag, Handler, Row};
use crate::keyspace::eviction::Room;
use crate::protocol::Request;

/// What a command is told for which there is no memory.
pub(super) const NO_ROOM: &str = "OOM command not allowed when used memory > 'maxmemory'.";

/// Makes room for a command that may need memory; not to be called under a lock of keys.
///
/// # Errors
/// [`NO_ROOM`].
pub(super) fn admit(app: &App, client: &Client, row: &Row, request: &Request) -> Result<(), CommandError> {
    let is_queued = client.transaction.is_some() && !row.has(Flag::Unqueued);
    let may_need_room =
        is_queued || row.has(Flag::DenyOom) || matches!(row.handler, Handler::Exec | Handler::Script(_));
    if may_need_room && app.keyspace.make_room() == Room::None && (is_queued || needs_room(app, client, row, request)) {
        return Err(CommandError::other(NO_ROOM));
    }
    Ok(())
}

/// Whether a command is refused as a whole. A script that does not say what it needs is refused when it calls such a one.
fn needs_room(app: &App, client: &Client, row: &Row, request: &Request) -> bool {
    match row.handler {
        Handler::Exec => client.transaction.as_ref().is_some_and(|transaction| {
            let rows = transaction.queue.iter().filter_map(|request| Some((table::resolve(request).ok()?, request)));
            rows.into_iter().any(|(row, request)| needs_room(app, client, row, request))
        }),
        Handler::Script(find) => find(app, request).is_ok_and(|script| script.needs_room),
        Handler::Keys(_)
        | Handler::Client(_)
        | Handler::Server(_)
        | Handler::Waiting(..)
        | Handler::Container(_)
        | Handler::ContainerOrAlone(..) => row.has(Flag::DenyOom),
    }
}
