//! Whether the server is alive, and whether it is ready. An outage of the database makes it unready, never dead: it serves hot
//! sessions meanwhile, and whoever restarted it would take even those away.

use std::time::Instant;

use hyper::StatusCode;
use serde_json::{Value, json};

use super::Site;
use super::endpoints::{Page, json_page};
use crate::database::write_through::Status;

/// `/healthz`: that it answers is the answer.
pub(super) fn alive(site: &Site) -> Page {
    let (app, uptime_s) = (&site.app, site.app.started.elapsed().as_secs());
    let version = env!("CARGO_PKG_VERSION");
    let database = app.write_through.status().name();
    json_page(
        StatusCode::OK,
        &json!({ "alive": true, "database": database, "uptime_seconds": uptime_s, "version": version }),
    )
}

/// `/readyz`: 200, or 503 with the reason.
pub(super) fn ready(site: &Site) -> Page {
    match why_not_ready(site) {
        None => json_page(StatusCode::OK, &json!({ "ready": true })),
        Some(reason) => json_page(StatusCode::SERVICE_UNAVAILABLE, &reason),
    }
}

/// Why requests should go elsewhere; `None` if they need not.
pub(super) fn why_not_ready(site: &Site) -> Option<Value> {
    let write_through = &site.app.write_through;
    let because = |reason: &str| Some(json!({ "ready": false, "reason": reason }));
    if *site.stopping.borrow() {
        return because("stopping");
    }
    match write_through.status() {
        Status::Loading if write_through.waits_for_owner() => {
            because("not the owner: another server owns the database, and this one waits until it is gone")
        }
        Status::Loading => because("loading: the database does not answer yet"),
        Status::Lost => because("not the owner: another server owns the database"),
        Status::Up if !write_through.surely_owns(Instant::now()) => {
            because("not surely the owner: the database has not confirmed it for too long")
        }
        Status::Up => None,
        Status::Down => {
            let seconds = write_through.down_for().unwrap_or_default().as_secs();
            let sentence = "the database is away: writes and cold reads are refused, hot sessions are served";
            Some(json!({ "ready": false, "reason": sentence, "seconds": seconds }))
        }
    }
}
