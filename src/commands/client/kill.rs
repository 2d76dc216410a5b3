//! CLIENT KILL: ends connections. What they had asked for and was not answered yet stays unanswered, as in Redis.

use bytes::Bytes;

use super::super::args::{self, Options, is};
use super::super::error::CommandError;
use super::super::table::CommandResult;
use super::{Filter, address, parse_kind};
use crate::app::{App, Client, ClientInfo};
use crate::protocol::{Reply, Request};

/// Which connections end: those for which all that was said is so.
struct Chosen<'a> {
    id: Option<i64>,
    address: Option<&'a Bytes>,
    local_address: Option<&'a Bytes>,
    user_incarnation: Option<u64>,
    kind: Filter,
    spares_own: bool,
}

/// CLIENT KILL.
pub(super) fn kill(app: &App, client: &mut Client, request: &Request) -> CommandResult {
    if let [address] = &request[2..] {
        let chosen = Chosen { address: Some(address), spares_own: false, ..Chosen::all() };
        return match end(app, client, &chosen) {
            0 => Err(CommandError::other("ERR No such client")),
            _ => Ok(Reply::OK),
        };
    }
    let chosen = Chosen::parse(app, request)?;
    Ok(Reply::Integer(end(app, client, &chosen)))
}

impl<'a> Chosen<'a> {
    const fn all() -> Self {
        Self {
            id: None,
            address: None,
            local_address: None,
            user_incarnation: None,
            kind: Filter::All,
            spares_own: true,
        }
    }

    fn parse(app: &App, request: &'a Request) -> Result<Self, CommandError> {
        let mut chosen = Self::all();
        let mut options = Options::from(request, 2);
        while let Some(option) = options.next() {
            let value = options.value()?;
            match option {
                _ if is(option, "ID") => {
                    let id = args::canonical_integer(value).filter(|id| *id > 0);
                    let refusal = || CommandError::other("ERR client-id should be greater than 0");
                    chosen.id = Some(id.ok_or_else(refusal)?);
                }
                _ if is(option, "TYPE") => chosen.kind = parse_kind(value)?,
                _ if is(option, "ADDR") => chosen.address = Some(value),
                _ if is(option, "LADDR") => chosen.local_address = Some(value),
                _ if is(option, "USER") => {
                    let user = app.users.get(value).ok_or_else(|| {
                        CommandError::other(format!("ERR No such user '{}'", String::from_utf8_lossy(value)))
                    })?;
                    chosen.user_incarnation = Some(user.incarnation);
                }
                _ if is(option, "SKIPME") && is(value, "yes") => chosen.spares_own = true,
                _ if is(option, "SKIPME") && is(value, "no") => chosen.spares_own = false,
                _ => return Err(CommandError::Syntax),
            }
        }
        Ok(chosen)
    }

    fn includes(&self, info: &ClientInfo) -> bool {
        let is_at = |wanted: Option<&Bytes>, of| wanted.is_none_or(|wanted| *wanted == address(of).to_string());
        self.kind.shows(info)
            && self.id.is_none_or(|id| u64::try_from(id) == Ok(info.id))
            && is_at(self.address, info.address)
            && is_at(self.local_address, info.local_address)
            && self.user_incarnation.is_none_or(|user| info.acts_as(user))
    }
}

/// Ends them, and says how many; one's own connection ends after the reply.
fn end(app: &App, client: &mut Client, chosen: &Chosen<'_>) -> i64 {
    let mut ended = 0;
    for info in app.clients.list().iter().filter(|info| chosen.includes(info)) {
        if info.id != client.info.id {
            info.expel();
        } else if chosen.spares_own {
            continue;
        } else {
            client.close_after_reply = true;
        }
        ended += 1;
    }
    ended
}
