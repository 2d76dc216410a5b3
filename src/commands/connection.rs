//! PING, ECHO, QUIT, RESET, SELECT, AUTH and HELLO: what a client says of itself and its connection. A password goes to
//! `app::login` and nowhere else.

use bytes::Bytes;
use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;

use super::args::{self, Options};
use super::error::CommandError;
use super::table::{CommandResult, Flag, Group, Handler, KeyPositions, Loads, Row};
use super::{acl, client, transaction};
use crate::app::users::{Context, Reason};
use crate::app::{App, Client, User};
use crate::protocol::{Protocol, Reply, Request};

/// The Redis whose commands and texts are spoken; clients parse it to know what they may send.
pub const REDIS_VERSION: &str = "7.0.15";

/// PING, ECHO, QUIT, RESET, SELECT, AUTH and HELLO.
pub const ROWS: &[Row] = &[
    Row {
        name: "ping",
        syntax: "[message]",
        summary: "Ping the server",
        since: "1.0.0",
        group: Group::Connection,
        arity: -1,
        flags: &[Flag::Fast, Flag::WhileListening],
        keys: KeyPositions::None,
        loads: Loads::Never,
        handler: Handler::Client(ping),
    },
    Row {
        name: "echo",
        syntax: "message",
        summary: "Echo the given string",
        since: "1.0.0",
        group: Group::Connection,
        arity: 2,
        flags: &[Flag::Loading, Flag::Fast],
        keys: KeyPositions::None,
        loads: Loads::Never,
        handler: Handler::Client(echo),
    },
    Row {
        name: "quit",
        syntax: "",
        summary: "Close the connection",
        since: "1.0.0",
        group: Group::Connection,
        arity: -1,
        flags: &[Flag::NoScript, Flag::Loading, Flag::Fast, Flag::NoAuth, Flag::Unqueued, Flag::WhileListening],
        keys: KeyPositions::None,
        loads: Loads::Never,
        handler: Handler::Client(quit),
    },
    Row {
        name: "reset",
        syntax: "",
        summary: "Reset the connection",
        since: "6.2.0",
        group: Group::Connection,
        arity: 1,
        flags: &[Flag::NoScript, Flag::Loading, Flag::Fast, Flag::NoAuth, Flag::Unqueued, Flag::WhileListening],
        keys: KeyPositions::None,
        loads: Loads::Never,
        handler: Handler::Client(reset),
    },
    Row {
        name: "select",
        syntax: "index",
        summary: "Change the selected database for the current connection",
        since: "1.0.0",
        group: Group::Connection,
        arity: 2,
        flags: &[Flag::Loading, Flag::Fast],
        keys: KeyPositions::None,
        loads: Loads::Never,
        handler: Handler::Client(select),
    },
    Row {
        name: "auth",
        syntax: "[username] password",
        summary: "Authenticate to the server",
        since: "1.0.0",
        group: Group::Connection,
        arity: -2,
        flags: &[Flag::NoScript, Flag::Loading, Flag::Fast, Flag::NoAuth, Flag::Secret],
        keys: KeyPositions::None,
        loads: Loads::Never,
        handler: Handler::Waiting(auth, auth_in_exec),
    },
    Row {
        name: "hello",
        syntax: "[protover [AUTH username password] [SETNAME clientname]]",
        summary: "Handshake with Redis",
        since: "6.0.0",
        group: Group::Connection,
        arity: -1,
        flags: &[Flag::NoScript, Flag::Loading, Flag::Fast, Flag::NoAuth, Flag::SecretOptions],
        keys: KeyPositions::None,
        loads: Loads::Never,
        handler: Handler::Waiting(hello, hello_in_exec),
    },
];

const WRONG_PASSWORD: &str = "WRONGPASS invalid username-password pair or user is disabled.";
const NO_PASSWORD_SET: &str = "ERR AUTH <password> called without any password configured for the default user. Are you \
                               sure your configuration is correct?";
const SLOWED_IN_EXEC: &str = "ERR too many wrong passwords on this connection: AUTH is refused inside a transaction";
const HELLO_BEFORE_AUTH: &str = "NOAUTH HELLO must be called with the client already authenticated, otherwise the HELLO \
                                 AUTH <user> <pass> option can be used to authenticate the client and select the RESP \
                                 protocol version at the same time";

fn ping(_: &App, client: &mut Client, request: &Request) -> CommandResult {
    match request.as_slice() {
        // As a message, which is all that a client of RESP2 expects while it listens.
        [_, rest @ ..] if rest.len() < 2 && client.listens() && client.protocol == Protocol::Resp2 => {
            let message = rest.first().cloned().unwrap_or_default();
            Ok(Reply::Array(vec![Reply::text("pong"), Reply::Bulk(message)]))
        }
        [_] => Ok(Reply::Simple("PONG")),
        [_, message] => Ok(Reply::Bulk(message.clone())),
        [..] => Err(CommandError::WrongArity { command: "ping".to_owned() }),
    }
}

fn echo(_: &App, _: &mut Client, request: &Request) -> CommandResult {
    Ok(Reply::Bulk(request[1].clone()))
}

fn quit(_: &App, client: &mut Client, _: &Request) -> CommandResult {
    client.stop_monitoring();
    client.close_after_reply = true;
    Ok(Reply::OK)
}

fn reset(app: &App, client: &mut Client, _: &Request) -> CommandResult {
    transaction::abandon(client);
    client.leave_all();
    client.stop_monitoring();
    client.log_out(&app.users);
    speak(client, Protocol::Resp2);
    choose(client, 0);
    client.info.shown.lock().name.clear();
    Ok(Reply::Simple("RESET"))
}

fn select(app: &App, client: &mut Client, request: &Request) -> CommandResult {
    choose(client, selected(app, request)?);
    Ok(Reply::OK)
}

/// The database that a SELECT selects; an EXEC asks before it locks the keys behind it.
///
/// # Errors
/// No number, or none of a database.
pub(super) fn selected(app: &App, request: &Request) -> Result<u8, CommandError> {
    let index = i32::try_from(args::integer(&request[1])?)
        .map_err(|_| CommandError::other("ERR value is out of range, value must between -2147483648 and 2147483647"))?;
    let database = u8::try_from(index).ok().filter(|database| *database < app.settings.read().databases);
    database.ok_or_else(|| CommandError::other("ERR DB index is out of range"))
}

/// Selects a database.
pub(super) fn choose(client: &mut Client, database: u8) {
    client.database = database;
    client.info.shown.lock().database = database;
}

fn speak(client: &mut Client, protocol: Protocol) {
    client.protocol = protocol;
    client.info.shown.lock().protocol = match protocol {
        Protocol::Resp2 => 2,
        Protocol::Resp3 => 3,
    };
}

/// A user's name and password, as a client gave them.
type Credentials<'a> = (&'a [u8], &'a [u8]);

fn auth<'a>(app: &'a App, client: &'a mut Client, request: &'a Request) -> BoxFuture<'a, CommandResult> {
    async move {
        let credentials = parse_auth(app, request)?;
        slow_down(client).await;
        log_in(app, client, request, Context::TopLevel, credentials)?;
        Ok(Reply::OK)
    }
    .boxed()
}

fn auth_in_exec(app: &App, client: &mut Client, request: &Request) -> CommandResult {
    let credentials = parse_auth(app, request)?;
    refuse_when_slowed(client)?;
    log_in(app, client, request, Context::Multi, credentials)?;
    Ok(Reply::OK)
}

fn parse_auth<'a>(app: &App, request: &'a Request) -> Result<Credentials<'a>, CommandError> {
    match request.as_slice() {
        [_, _] if app.users.default_user().user.without_password => Err(CommandError::other(NO_PASSWORD_SET)),
        [_, password] => Ok((User::DEFAULT, password)),
        [_, user, password] => Ok((user, password)),
        [..] => Err(CommandError::Syntax),
    }
}

/// Whoever guesses passwords waits before each further one; only this connection does.
async fn slow_down(client: &Client) {
    let pause = client.login.pause();
    if !pause.is_zero() {
        tokio::time::sleep(pause).await;
    }
}

/// An EXEC cannot wait, and would take a million guesses at once.
fn refuse_when_slowed(client: &Client) -> Result<(), CommandError> {
    if client.login.pause().is_zero() { Ok(()) } else { Err(CommandError::other(SLOWED_IN_EXEC)) }
}

/// A failure leaves the client as it was: who is in stays in.
fn log_in(
    app: &App,
    client: &mut Client,
    request: &Request,
    context: Context,
    (user, password): Credentials<'_>,
) -> Result<(), CommandError> {
    if client.log_in(&app.users, user, password) {
        return Ok(());
    }
    app.metrics.auth_failures.increment();
    acl::note(app, client, Reason::Auth, context, request[0].clone(), Bytes::copy_from_slice(user));
    Err(CommandError::other(WRONG_PASSWORD))
}

/// What HELLO asks for.
#[derive(Default)]
struct Hello<'a> {
    protocol: Option<Protocol>,
    login: Option<Credentials<'a>>,
    name: Option<String>,
}

fn hello<'a>(app: &'a App, client: &'a mut Client, request: &'a Request) -> BoxFuture<'a, CommandResult> {
    async move {
        let asked = parse_hello(request)?;
        if asked.login.is_some() {
            slow_down(client).await;
        }
        greet(app, client, request, Context::TopLevel, asked)
    }
    .boxed()
}

fn hello_in_exec(app: &App, client: &mut Client, request: &Request) -> CommandResult {
    let asked = parse_hello(request)?;
    if asked.login.is_some() {
        refuse_when_slowed(client)?;
    }
    greet(app, client, request, Context::Multi, asked)
}

fn greet(app: &App, client: &mut Client, request: &Request, context: Context, asked: Hello<'_>) -> CommandResult {
    if let Some(credentials) = asked.login {
        log_in(app, client, request, context, credentials)?;
    }
    if !client.authenticated {
        return Err(CommandError::other(HELLO_BEFORE_AUTH));
    }
    if let Some(name) = asked.name {
        client.info.shown.lock().name = name;
    }
    if let Some(protocol) = asked.protocol {
        speak(client, protocol);
    }
    Ok(greeting(client))
}

fn parse_hello(request: &Request) -> Result<Hello<'_>, CommandError> {
    let mut asked = Hello { protocol: request.get(1).map(|word| protocol(word)).transpose()?, ..Hello::default() };
    let mut options = Options::from(request, 2);
    while let Some(option) = options.next() {
        let wrong = || {
            let option = String::from_utf8_lossy(option);
            CommandError::other(format!("ERR Syntax error in HELLO option '{option}'"))
        };
        if args::is(option, "AUTH") {
            let user = options.value().map_err(|_| wrong())?;
            asked.login = Some((user, options.value().map_err(|_| wrong())?));
        } else if args::is(option, "SETNAME") {
            asked.name = Some(client::name(options.value().map_err(|_| wrong())?)?);
        } else {
            return Err(wrong());
        }
    }
    Ok(asked)
}

fn protocol(word: &[u8]) -> Result<Protocol, CommandError> {
    match args::canonical_integer(word) {
        Some(2) => Ok(Protocol::Resp2),
        Some(3) => Ok(Protocol::Resp3),
        Some(_) => Err(CommandError::other("NOPROTO unsupported protocol version")),
        None => Err(CommandError::other("ERR Protocol version is not an integer or out of range")),
    }
}

fn greeting(client: &Client) -> Reply {
    let version = match client.protocol {
        Protocol::Resp2 => 2,
        Protocol::Resp3 => 3,
    };
    let id = i64::try_from(client.info.id).unwrap_or(i64::MAX);
    Reply::Map(vec![
        (Reply::text("server"), Reply::text("redis")),
        (Reply::text("version"), Reply::text(REDIS_VERSION)),
        (Reply::text("proto"), Reply::Integer(version)),
        (Reply::text("id"), Reply::Integer(id)),
        (Reply::text("mode"), Reply::text("standalone")),
        (Reply::text("role"), Reply::text("master")),
        (Reply::text("modules"), Reply::Array(Vec::new())),
    ])
}
