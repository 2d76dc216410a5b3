//! ACL LOG: what was denied to whom.

use bytes::Bytes;

use super::super::table::CommandResult;
use super::super::{args, client};
use super::wrong_number_of_arguments;
use crate::app::users::{Context, Denial, Reason};
use crate::app::{App, Client};
use crate::protocol::{Reply, Request};

/// How many denials are shown where nobody says, as in Redis.
const SHOWN_DEFAULT: usize = 10;

/// Notes what was denied to a client: `object` is the command, the key, or the command with the wrong password.
pub fn note(app: &App, client: &Client, reason: Reason, context: Context, object: Bytes, username: Bytes) {
    let length_max = app.settings.read().acllog_max_len;
    let client = client::description(&client.info);
    let denial = Denial { count: 1, reason, context, object, username, at_ms: app.clock.now_ms(), client };
    app.metrics.count_denial(reason);
    app.users.denials.lock().add(denial, length_max);
}

/// ACL LOG.
pub(super) fn log(app: &App, _: &mut Client, request: &Request) -> CommandResult {
    let shown_max = match &request[2..] {
        [] => SHOWN_DEFAULT,
        [word] if args::is(word, "RESET") => {
            app.users.denials.lock().clear();
            return Ok(Reply::OK);
        }
        [word] => usize::try_from(args::integer(word)?.max(0)).unwrap_or(usize::MAX),
        [..] => return Err(wrong_number_of_arguments(request)),
    };
    let now_ms = app.clock.now_ms();
    let denials = app.users.denials.lock();
    Ok(Reply::Array(denials.iter().take(shown_max).map(|denial| describe(denial, now_ms)).collect()))
}

fn describe(denial: &Denial, now_ms: i64) -> Reply {
    let reason = denial.reason.name();
    let context = match denial.context {
        Context::TopLevel => "toplevel",
        Context::Multi => "multi",
        Context::Script => "lua",
    };
    let age_ms = u32::try_from((now_ms - denial.at_ms).max(0)).unwrap_or(u32::MAX);
    Reply::Map(vec![
        (Reply::text("count"), Reply::Integer(i64::try_from(denial.count).unwrap_or(i64::MAX))),
        (Reply::text("reason"), Reply::text(reason)),
        (Reply::text("context"), Reply::text(context)),
        (Reply::text("object"), Reply::Bulk(denial.object.clone())),
        (Reply::text("username"), Reply::Bulk(denial.username.clone())),
        (Reply::text("age-seconds"), Reply::Double(f64::from(age_ms) / 1000.0)),
        (Reply::text("client-info"), Reply::text(denial.client.clone())),
    ])
}
