//! How soon a server that starts with many sessions answers, and how soon it knows them all.

use std::time::Duration;

use super::{Section, ms};
use crate::scale::load::{End, fill, key, plain};
use crate::scale::report::Part;
use crate::scale::servers::{Server, Stage};
use crate::stage::Result;
use crate::stage::charts::{Line, lines, number_text};
use crate::stage::wanted::Wanted;
use crate::support::resp::Frame;

/// The section.
pub const SECTION: Section =
    Section { name: "start", about: "the first GET, and all keys known, after a start", measure };

const FIRST_GET_MS_MAX: f64 = 1_000.0;
const POSTGRES: &str = "Sojourn on PostgreSQL";
const SQLITE: &str = "Sojourn on SQLite";
const AOF: &str = "redis, AOF";
const PREAMBLE: &str = "redis, AOF with RDB preamble";

/// What one start took, in milliseconds.
#[derive(Clone, Copy, Debug)]
struct Took {
    first_get: f64,
    all_known: f64,
}

fn measure(stage: &Stage<'_>) -> Result<Part> {
    let mut part = Part::new(
        "The rows are written by SQL, the AOF by SETs. The time runs from the start of the process to the first answer to a GET \
         of a session from the middle, and to the first DBSIZE that counts them all. The files are in the system's cache.",
    );
    let mut counts = vec![stage.options.sessions / 10, stage.options.sessions, stage.options.large];
    counts.dedup();
    let mut found: Vec<(u32, &str, Took)> = Vec::new();
    for count in counts {
        found.push((count, POSTGRES, on_postgres(stage, count)?));
        found.push((count, SQLITE, on_sqlite(stage, count)?));
        let [aof, preamble] = of_redis(stage, count)?;
        found.extend([(count, AOF, aof), (count, PREAMBLE, preamble)]);
    }
    let row = |(count, name, took): &(u32, &str, Took)| {
        vec![
            number_text(f64::from(*count)),
            (*name).to_owned(),
            number_text(took.first_get),
            number_text(took.all_known),
        ]
    };
    let head = ["sessions", "", "first GET, ms", "all keys known, ms"];
    part.table("Starts", &head, found.iter().map(row).collect());
    for (count, name, took) in found.iter().filter(|(count, ..)| *count >= stage.options.sessions) {
        if let POSTGRES | SQLITE = *name {
            let sessions = number_text(f64::from(*count));
            let redis =
                found.iter().find(|(other, name, _)| other == count && *name == AOF).map(|(.., took)| took.all_known);
            part.want(
                format!("{name}, {sessions} sessions: first GET, ms"),
                took.first_get,
                Wanted::AtMost(FIRST_GET_MS_MAX),
            );
            part.want(
                format!("{name}, {sessions} sessions: all keys known, over redis's AOF"),
                took.all_known / redis.unwrap_or(f64::NAN),
                Wanted::AtMost(1.0),
            );
        }
    }
    let line = |(colour, name): (usize, &str)| {
        let of_it = found.iter().filter(|(_, other, _)| *other == name);
        let points = of_it.map(|(count, _, took)| (f64::from(*count), took.all_known / 1_000.0)).collect();
        Line { name: name.to_owned(), colour, points }
    };
    let drawn = [(0, POSTGRES), (1, SQLITE), (3, AOF), (4, PREAMBLE)].map(line);
    part.charts.push((
        "start",
        "Start: until all keys are known",
        lines("Start: until all keys are known", "seconds over sessions", &drawn),
    ));
    Ok(part)
}

fn on_postgres(stage: &Stage<'_>, count: u32) -> Result<Took> {
    let database = stage.postgres.create_database();
    let url = stage.postgres.url(&database);
    // It makes its tables by itself.
    Server::sojourn(&url, &[])?.ready()?.stop()?;
    let insert = format!(
        "insert into session select lpad(n::text, 32, '0'), '{}', now() at time zone 'UTC' + interval '1 day' \
         from generate_series(0, {count} - 1) n",
        plain(0)
    );
    stage.postgres.sql(&database, &insert);
    stage.postgres.sql(&database, "vacuum analyze session");
    let took = watch(Server::sojourn(&url, &[])?, count);
    stage.postgres.sql("postgres", &format!("drop database {database} with (force)"));
    took
}

fn on_sqlite(stage: &Stage<'_>, count: u32) -> Result<Took> {
    let file = format!("start-{count}.db");
    let url = stage.sqlite(&file);
    Server::sojourn(&url, &[])?.ready()?.stop()?;
    let insert = format!(
        "insert into session with recursive numbers(n) as (select 0 union all select n + 1 from numbers where n < {count} - 1) \
         select printf('%032d', n), '{}', strftime('%Y-%m-%d %H:%M:%f', 'now', '+1 day') from numbers",
        plain(0)
    );
    sqlite(&url, &insert)?;
    let took = watch(Server::sojourn(&url, &[])?, count);
    for end in ["", "-wal", "-shm"] {
        // What SQLite has removed by itself is not there.
        let _ = std::fs::remove_file(stage.data.join(format!("{file}{end}")));
    }
    took
}

fn sqlite(url: &str, sql: &str) -> Result<()> {
    use sqlx::{AssertSqlSafe, ConnectOptions, Connection as _, Executor};
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let options: sqlx::sqlite::SqliteConnectOptions = url.parse()?;
        let mut connection = options.connect().await?;
        connection.execute(AssertSqlSafe(sql.to_owned())).await?;
        // All rows are in the log until then; dropped, it would bring them to the file beside the server that is to be measured.
        connection.close().await?;
        Ok(())
    })
}

/// By the commands of its AOF, and by the snapshot that its AOF begins with.
fn of_redis(stage: &Stage<'_>, count: u32) -> Result<[Took; 2]> {
    let folder = stage.data.join(format!("start-redis-{count}"));
    let start = |preamble: &str| {
        let aof = ["--appendonly", "yes", "--appendfsync", "no", "--aof-use-rdb-preamble"];
        Server::redis(&folder, &[&aof[..], &[preamble]].concat())
    };
    let first = start("no")?.ready()?;
    fill(first.address(), 0..count, End::Tomorrow, None, plain)?;
    first.stop()?;
    let (aof, second) = watched(start("yes")?, count)?;
    let _asked = second.connect()?.call(&["BGREWRITEAOF"])?;
    while second.info("aof_rewrite_in_progress")? != Some(0.0) || second.info("aof_rewrite_scheduled")? != Some(0.0) {
        std::thread::sleep(Duration::from_millis(20));
    }
    second.stop()?;
    let preamble = watch(start("yes")?, count)?;
    std::fs::remove_dir_all(&folder)?;
    Ok([aof, preamble])
}

fn watch(server: Server, count: u32) -> Result<Took> {
    let (took, server) = watched(server, count)?;
    server.stop()?;
    Ok(took)
}

fn watched(mut server: Server, count: u32) -> Result<(Took, Server)> {
    let first_get = server.until(&["GET", &key(count / 2)], |frame| frame.bytes().is_some())?;
    let all_known = server.until(&["DBSIZE"], |frame: &Frame| frame.integer() == Some(i64::from(count)))?;
    Ok((Took { first_get: ms(first_get), all_known: ms(all_known) }, server))
}
