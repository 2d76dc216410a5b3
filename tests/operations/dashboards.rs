//! The dashboards and the alerts, asked of a real Prometheus that scrapes real servers: every query is understood and finds
//! something, every metric that is named is one that is served, and each alert comes when it should.

use std::collections::BTreeSet;
use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::process::Command;

use serde_json::Value;

use super::postgres::PostgresServer;
use super::prometheus::Prometheus;
use super::repository;
use super::support::server::{Server, free_port, wait_until};

/// All dashboards, by their files' names.
pub fn dashboards() -> Vec<(String, Value)> {
    let files = fs::read_dir(repository("dashboards")).expect("the folder").map(|entry| entry.expect("a file").path());
    let is_dashboard = |path: &PathBuf| path.extension().is_some_and(|extension| extension == "json");
    let mut found: Vec<_> = files.filter(is_dashboard).map(read).collect();
    found.sort_by(|one, other| one.0.cmp(&other.0));
    found
}

fn read(path: PathBuf) -> (String, Value) {
    let text = fs::read_to_string(&path).expect("its text");
    let dashboard = serde_json::from_str(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    (path.file_name().expect("a name").to_string_lossy().into_owned(), dashboard)
}

/// The items of a list.
pub fn list(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

/// Each query with the panel that it is of, as Grafana asks it of all servers.
fn queries() -> Vec<(String, String)> {
    let mut queries = Vec::new();
    for (name, dashboard) in dashboards() {
        for panel in list(&dashboard["panels"]) {
            for target in list(&panel["targets"]) {
                let query = target["expr"].as_str().expect("a query");
                let query = query.replace("$__rate_interval", "1m").replace("$instance", ".*");
                queries.push((format!("{name}: {}", panel["title"]), query));
            }
        }
    }
    queries
}

/// The metrics that a text names, without what a histogram adds.
fn metrics(text: &str) -> BTreeSet<String> {
    let words = text.split(|letter: char| !(letter.is_ascii_alphanumeric() || letter == '_'));
    // The table is a label's value.
    let names = words.filter(|word| word.starts_with("sojourn_") && !["sojourn_keys_", "sojourn_owner"].contains(word));
    names.map(|name| name.trim_end_matches("_bucket").to_owned()).collect()
}

/// A session's life, a miss, an error.
fn use_it(server: &Server) {
    let mut connection = server.connect();
    for number in 0..50 {
        let key = format!("sess:{number}");
        connection.call(&["SET", &key, "{\"cookie\":{}}", "EX", "600"]).expect("a reply");
        connection.call(&["GET", &key]).expect("a reply");
        connection.call(&["EXPIRE", &key, "900"]).expect("a reply");
    }
    connection.call(&["GET", "sess:nobody"]).expect("a reply");
    connection.call(&["DEL", "sess:0"]).expect("a reply");
    connection.call(&["HGET", "sess:1", "field"]).expect("an error");
}

#[test]
fn every_query_is_understood_and_finds_something() {
    let postgres = PostgresServer::start(&[]);
    let database = postgres.create_database();
    let folder = tempfile::tempdir().expect("a folder");
    let urls = [postgres.url(&database), format!("sqlite://{}", folder.path().join("s.db").display())];
    let addresses = [(); 2].map(|()| SocketAddr::from((Ipv4Addr::LOCALHOST, free_port())));
    let servers: Vec<_> = urls
        .iter()
        .zip(addresses)
        .map(|(url, address)| Server::start(url, &["--metrics-addr", &address.to_string(), "--prune-interval", "1s"]))
        .collect();
    let prometheus = Prometheus::start(&addresses);
    wait_until("both servers to be scraped", || {
        servers.iter().for_each(use_it);
        prometheus.query("sum(up) == 2").is_ok_and(|found| !found.is_empty())
    });
    let mut left = queries();
    assert!(left.len() > 50, "only {} queries", left.len());
    let mut problem = String::new();
    wait_until("every query to find something", || {
        servers.iter().for_each(use_it);
        left.retain(|(panel, query)| match prometheus.query(query) {
            Ok(found) => found.is_empty(),
            Err(error) => {
                problem = format!("{panel}: {query}: {error}{}", prometheus.log());
                false
            }
        });
        assert_eq!(problem, "");
        // Shown if it waits in vain.
        eprintln!("found nothing yet: {left:?}");
        left.is_empty()
    });
    let found = prometheus.query("group by (__name__) ({job=\"sojourn\"})").expect("all names");
    let served: BTreeSet<_> = found.iter().flat_map(|line| metrics(line)).collect();
    let alerts = fs::read_to_string(repository("dashboards/alerts.yml")).expect("the alerts");
    let named = queries().iter().flat_map(|(_, query)| metrics(query)).chain(metrics(&alerts)).collect::<BTreeSet<_>>();
    let unknown: Vec<_> = named.difference(&served).collect();
    assert!(unknown.is_empty() && named.len() > 40, "{unknown:?} of {named:?}");
    // What is about to fire stands among them, too.
    assert_eq!(prometheus.query("ALERTS"), Ok(Vec::new()), "a server that is well is left alone");
}

#[test]
fn dashboards_have_what_provisioning_needs() {
    let mut identities = BTreeSet::new();
    let names: Vec<_> = dashboards().into_iter().map(|(name, _)| name).collect();
    assert_eq!(names, ["durability.json", "overview.json", "sessions.json"]);
    for (name, dashboard) in dashboards() {
        assert!(identities.insert(dashboard["uid"].as_str().expect("a uid").to_owned()), "{name}");
        assert!(dashboard["title"].as_str().is_some_and(|title| title.starts_with("Sojourn: ")), "{name}");
        let (mut taken, mut titles) = (BTreeSet::new(), BTreeSet::new());
        for panel in list(&dashboard["panels"]) {
            assert_eq!(panel["datasource"]["uid"], "prometheus", "{name}: that of config/compose/grafana");
            assert!(titles.insert(panel["title"].as_str().expect("a title")), "{name}: {} twice", panel["title"]);
            assert!(panel["description"].as_str().is_some_and(|text| !text.is_empty()), "{name}: {}", panel["title"]);
            let [x, y, width, height] =
                ["x", "y", "w", "h"].map(|side| panel["gridPos"][side].as_u64().expect("a number"));
            assert!(x + width <= 24, "{name}: {} is too wide", panel["title"]);
            let squares = (x..x + width).flat_map(|x| (y..y + height).map(move |y| (x, y)));
            assert!(
                squares.into_iter().all(|square| taken.insert(square)),
                "{name}: {} covers another",
                panel["title"]
            );
        }
    }
    let datasource = fs::read_to_string(repository("config/compose/grafana/datasources.yml")).expect("the data source");
    assert!(datasource.contains("uid: prometheus\n"));
}

#[test]
fn alerts_come_when_they_should() {
    let promtool = |words: &[&str], file: &str| {
        let output = Command::new("promtool").args(words).arg(repository(file)).output().expect("promtool runs");
        assert!(
            output.status.success(),
            "{}",
            String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr)
        );
    };
    promtool(&["check", "rules"], "dashboards/alerts.yml");
    promtool(&["test", "rules"], "dashboards/alerts.test.yml");
    promtool(&["check", "config", "--syntax-only"], "config/compose/prometheus.yml");
    let alerts = fs::read_to_string(repository("dashboards/alerts.yml")).expect("the alerts");
    let tests = fs::read_to_string(repository("dashboards/alerts.test.yml")).expect("their tests");
    let names: Vec<_> = alerts.lines().filter_map(|line| line.trim().strip_prefix("- alert: ")).collect();
    assert!(names.len() >= 5, "{names:?}");
    for name in names {
        // That it stays away when all is well, and that it comes.
        assert!(tests.contains(&format!("{{ alertname: {name}, eval_time: 20m, exp_alerts: [] }}")), "{name}");
        assert!(tests.contains(&format!("- alertname: {name}\n")), "{name}");
    }
}
