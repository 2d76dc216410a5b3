//! What operators ask of sessions: how many there are and how long they live, and that those be deleted whose life has ended. Live
//! keys are counted in memory, which holds them all; rows that have ended are in the database only, and counted there up to a limit.

use std::sync::Arc;
use std::time::Duration;

use hyper::StatusCode;
use serde_json::{Map, Value, json};
use tokio::sync::oneshot;

use super::Site;
use super::endpoints::{Page, failed, json_page};
use crate::database::write_through::Status;
use crate::telemetry::sessions::{Census, Lifetimes, TableCensus, lifetime_words};
use crate::telemetry::storage::{CountedUpTo, StorageFigures};

/// How long a request waits for the writer to delete what has ended: millions of rows take longer, and go on being deleted.
const CLEAN_UP_LIMIT: Duration = Duration::from_secs(30);

/// `GET /api/session-stats`.
pub(super) async fn statistics(site: &Site) -> Page {
    if site.app.write_through.status() == Status::Loading || !site.app.keyspace.knows_all() {
        return failed(StatusCode::SERVICE_UNAVAILABLE, "loading: not all keys are known yet");
    }
    let Ok(_walk) = site.walks.acquire().await else {
        return failed(StatusCode::SERVICE_UNAVAILABLE, "stopping");
    };
    let keyspace = Arc::clone(&site.app.keyspace);
    match tokio::task::spawn_blocking(move || keyspace.census()).await {
        Ok(census) => json_page(StatusCode::OK, &described(&census, survey(site).await.as_ref())),
        Err(_) => failed(StatusCode::INTERNAL_SERVER_ERROR, "the keys could not be counted; the log says why"),
    }
}

/// What the database says of its tables now; `None` while it is away.
async fn survey(site: &Site) -> Option<StorageFigures> {
    let (answer, answered) = oneshot::channel();
    site.surveys.send(answer).await.ok()?;
    answered.await.ok()?.ok()
}

/// `POST /api/session-cleanup`.
pub(super) async fn clean_up(site: &Site) -> Page {
    if site.app.write_through.status() != Status::Up {
        return failed(StatusCode::SERVICE_UNAVAILABLE, "the database is not there: nothing can be deleted");
    }
    let pruned = site.app.write_through.prune();
    match tokio::time::timeout(CLEAN_UP_LIMIT, pruned).await {
        Ok(Some(deleted)) => json_page(StatusCode::OK, &json!({ "deleted": deleted })),
        Ok(None) => {
            failed(StatusCode::SERVICE_UNAVAILABLE, "the database went away or refused; more may be deleted later")
        }
        Err(_) => failed(StatusCode::GATEWAY_TIMEOUT, "it takes long and goes on: ask sojourn_pruned_records_total"),
    }
}

fn described(census: &Census, storage: Option<&StorageFigures>) -> Value {
    let active: u64 = census.tables.iter().map(TableCensus::keys).sum();
    let expired = storage.map(StorageFigures::expired);
    let lifetimes = census.tables.iter().fold(Lifetimes::default(), |sum, table| {
        std::array::from_fn(|position| sum[position] + table.lifetimes[position])
    });
    json!({
        "total": active + expired.map_or(0, |expired| expired.count),
        "active": active,
        "expired": expired.map(|expired| expired.count),
        "expired_may_be_more": expired.is_some_and(|expired| expired.more),
        "lifetimes": by_words(lifetimes),
        "prefixes": census.tables.iter().map(|table| of_table(table, storage)).collect::<Vec<_>>(),
        "databases": databases(census),
    })
}

fn of_table(table: &TableCensus, storage: Option<&StorageFigures>) -> Value {
    let figures = storage.and_then(|storage| storage.tables.iter().find(|figures| figures.table == table.table));
    let expired: Option<CountedUpTo> = figures.map(|figures| figures.expired);
    json!({
        "prefix": table.prefix,
        "table": table.table,
        "active": table.keys(),
        "expired": expired.map(|expired| expired.count),
        "lifetimes": by_words(table.lifetimes),
    })
}

fn by_words(lifetimes: Lifetimes) -> Value {
    Value::Object(lifetime_words().map(str::to_owned).zip(lifetimes.map(Value::from)).collect())
}

/// The databases that have keys.
fn databases(census: &Census) -> Value {
    let with_keys = census.databases.iter().enumerate().filter(|(_, database)| database.keys > 0);
    let described = with_keys.map(|(number, database)| {
        (number.to_string(), json!({ "active": database.keys, "with_expiry": database.expiring }))
    });
    Value::Object(described.collect::<Map<_, _>>())
}
