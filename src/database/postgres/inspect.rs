//! Looking at a PostgreSQL for `sojourn check`: all that a start would find, in a transaction that can write nothing. It never
//! takes the lock of ownership, not even for a moment: a server that runs or starts must not notice.

use sqlx::postgres::PgConnection;
use sqlx::{AssertSqlSafe, Connection};

use super::connect::{Connector, Server};
use super::errors::{classify, code};
use super::{owner, schema};
use crate::config::each_host;
use crate::database::finding::{Finding, Inspection};
use crate::database::{DatabaseError, DatabaseSettings};

/// What is looked at first.
const DATABASE: &str = "database";

/// The oldest version that is tried in the tests, as `server_version_num` has it.
const VERSION_MIN: i32 = 130_000;

/// All that can be found without writing.
pub(in crate::database) async fn inspect(settings: &DatabaseSettings) -> Inspection {
    let unreachable = |error: DatabaseError| Inspection::ended_by(Finding::fault(DATABASE, advice(&error)));
    let connector = match schema::check_names(&settings.session_tables).and_then(|()| Connector::new(settings)) {
        Ok(connector) => connector,
        Err(error) => return unreachable(error),
    };
    let (mut connection, mut server) = match connector.writer().await {
        Ok(writer) => writer,
        Err(error) => return unreachable(error),
    };
    let mut findings = vec![Finding::good(DATABASE, format!("PostgreSQL {} at {}", server.version, connector.place()))];
    let looked = look(&mut connection, settings, &mut server, &mut findings).await;
    let owner = looked.unwrap_or_else(|error| {
        findings.push(Finding::fault(DATABASE, advice(&error)));
        None
    });
    // The connection is of no use to anybody afterwards, however it ends.
    let _closed = connection.close().await;
    Inspection { findings, owner }
}

/// Looks at one thing after the other; answers who owns the database.
async fn look(
    connection: &mut PgConnection,
    settings: &DatabaseSettings,
    server: &mut Server,
    findings: &mut Vec<Finding>,
) -> Result<Option<String>, DatabaseError> {
    sqlx::query("set default_transaction_read_only = on").execute(&mut *connection).await.map_err(classify)?;
    findings.extend(version(connection).await?);
    findings.push(encryption(settings, server.is_encrypted));
    findings
        .extend(std::mem::take(&mut server.warnings).into_iter().map(|warning| Finding::warning(DATABASE, warning)));
    let mut needs_zone = false;
    for table in settings.session_tables.tables() {
        let (found, has_zone) = session_table(connection, settings, server, &schema::quote(&table.table)).await?;
        findings.extend(found);
        needs_zone |= !has_zone;
    }
    findings.push(zone(server, needs_zone));
    for name in schema::own_tables() {
        findings.push(own_table(connection, settings, server, name).await?);
    }
    let holder = owner::holder(connection).await?;
    findings.push(Finding::good(
        "owner",
        match &holder {
            Some(owner) => format!("{owner} owns the database and serves"),
            None => "no server owns the database now".to_owned(),
        },
    ));
    Ok(holder)
}

async fn version(connection: &mut PgConnection) -> Result<Option<Finding>, DatabaseError> {
    let number: i32 = sqlx::query_scalar("select current_setting('server_version_num')::integer")
        .fetch_one(connection)
        .await
        .map_err(classify)?;
    let sentence = "this PostgreSQL is older than 13, with which Sojourn is not tried; update it";
    Ok((number < VERSION_MIN).then(|| Finding::fault(DATABASE, sentence)))
}

/// On the same machine nobody is between.
fn encryption(settings: &DatabaseSettings, is_encrypted: bool) -> Finding {
    if is_encrypted {
        return Finding::good(DATABASE, "the connection is encrypted");
    }
    let is_here =
        |url: &String| ["@localhost", "@127.", "@[::1]", "host=/", ":///", "@/"].iter().any(|part| url.contains(part));
    if each_host(&settings.url).iter().all(is_here) {
        return Finding::good(DATABASE, "the connection is not encrypted, and stays on this machine");
    }
    let sentence = "the connection is not encrypted: add ?sslmode=verify-full&sslrootcert=FILE to database-url";
    Finding::warning(DATABASE, sentence)
}

/// A session table, and whether its times have a zone of their own.
async fn session_table(
    connection: &mut PgConnection,
    settings: &DatabaseSettings,
    server: &mut Server,
    quoted: &str,
) -> Result<(Vec<Finding>, bool), DatabaseError> {
    let subject = format!("table {quoted}");
    match schema::exists(connection, quoted, server).await {
        Ok(true) => {}
        Ok(false) => return Ok((vec![missing(connection, settings, server, quoted).await?], false)),
        Err(DatabaseError::Unusable(sentence)) => return Ok((vec![Finding::fault(subject, sentence)], false)),
        Err(error) => return Err(error),
    }
    let mut findings = Vec::new();
    let has_zone = match schema::check_session_table(connection, quoted, server).await {
        Ok(has_zone) => {
            findings.push(Finding::good(&subject, "its columns and its key are as connect-pg-simple's"));
            has_zone
        }
        Err(DatabaseError::Unusable(sentence)) => {
            findings.push(Finding::fault(&subject, sentence));
            false
        }
        Err(error) => return Err(error),
    };
    findings
        .extend(std::mem::take(&mut server.warnings).into_iter().map(|warning| Finding::warning(&subject, warning)));
    findings.push(privileges(connection, server, quoted).await?);
    findings.extend(strangers(connection, &subject, quoted).await?);
    Ok((findings, has_zone))
}

async fn own_table(
    connection: &mut PgConnection,
    settings: &DatabaseSettings,
    server: &Server,
    name: &str,
) -> Result<Finding, DatabaseError> {
    if schema::exists(connection, name, server).await? {
        privileges(connection, server, name).await
    } else {
        missing(connection, settings, server, name).await
    }
}

async fn privileges(connection: &mut PgConnection, server: &Server, quoted: &str) -> Result<Finding, DatabaseError> {
    let subject = format!("table {quoted}");
    match schema::check_privileges(connection, quoted, server).await {
        Ok(()) => Ok(Finding::good(subject, "the role may read and write it")),
        Err(DatabaseError::Unusable(sentence)) => Ok(Finding::fault(subject, sentence)),
        Err(error) => Err(error),
    }
}

/// A table that is not there: whether a start would make it.
async fn missing(
    connection: &mut PgConnection,
    settings: &DatabaseSettings,
    server: &Server,
    quoted: &str,
) -> Result<Finding, DatabaseError> {
    let subject = format!("table {quoted}");
    if !settings.create_tables {
        let sentence = "it does not exist and create-tables is off; run what `sojourn schema` prints";
        return Ok(Finding::fault(subject, sentence));
    }
    let schema = schema::schema_of(quoted, server);
    let may_create = sqlx::query_scalar::<_, bool>("select has_schema_privilege($1, 'create')")
        .bind(schema.trim_matches('"'))
        .fetch_one(connection)
        .await;
    match may_create {
        Ok(true) => Ok(Finding::good(subject, "it does not exist yet; the start makes it")),
        Ok(false) => Ok(Finding::fault(
            subject,
            format!(
                "it does not exist and cannot be made: grant create on schema {schema} to {}; or run what `sojourn schema` prints",
                schema::quote(&server.role)
            ),
        )),
        Err(error) if code(&error).as_deref() == Some("3F000") => {
            Ok(Finding::fault(subject, format!("the schema {schema} does not exist: create schema {schema}")))
        }
        Err(error) => Err(classify(error)),
    }
}

/// What somebody else has put on the table, which takes part in each commit.
async fn strangers(connection: &mut PgConnection, subject: &str, quoted: &str) -> Result<Vec<Finding>, DatabaseError> {
    let (triggers, has_policies): (Vec<String>, bool) = sqlx::query_as(AssertSqlSafe(
        "select array(select tgname::text from pg_trigger
                       where tgrelid = c.oid and not tgisinternal and tgenabled <> 'D' order by tgname),
                relrowsecurity
           from pg_class as c where c.oid = to_regclass($1)"
            .to_owned(),
    ))
    .bind(quoted)
    .fetch_one(connection)
    .await
    .map_err(classify)?;
    let mut findings = Vec::new();
    if !triggers.is_empty() {
        let sentence = format!(
            "triggers run in every commit: {}; a slow one slows all writes, and a row that one refuses is a write that fails",
            triggers.join(", ")
        );
        findings.push(Finding::warning(subject, sentence));
    }
    if has_policies {
        let sentence = "row level security is on: a row that a policy hides is a session that does not exist";
        findings.push(Finding::warning(subject, sentence));
    }
    Ok(findings)
}

fn zone(server: &Server, needs_zone: bool) -> Finding {
    const SUBJECT: &str = "time zone";
    match &server.timezone_guessed {
        Some(sentence) if needs_zone => Finding::warning(SUBJECT, sentence.clone()),
        Some(_) | None if !needs_zone => Finding::good(SUBJECT, "the tables' times have one of their own"),
        Some(_) | None => Finding::good(SUBJECT, format!("expire is written in {}", server.timezone)),
    }
}

/// What an error asks for.
fn advice(error: &DatabaseError) -> String {
    match error {
        DatabaseError::Outage { message, .. } => {
            format!("cannot be reached: {message}; is it running, and do host and port of database-url fit?")
        }
        DatabaseError::Refused(_)
        | DatabaseError::Conflict(_)
        | DatabaseError::Locked(_)
        | DatabaseError::Fenced { .. }
        | DatabaseError::Unusable(_) => error.to_string(),
    }
}
