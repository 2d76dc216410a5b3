//! The pictures of the README: the main panels of the dashboards, drawn from what a real Prometheus saw of a real server under
//! load, an outage of its database included. `DRAW_PANELS=1 cargo test --test operations panels` takes two minutes and
//! draws them anew; without it the test only asks whether the pictures are of panels that there are.

use std::fmt::Write as _;
use std::fs;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;

use super::dashboards::{dashboards, list};
use super::postgres::PostgresServer;
use super::prometheus::Prometheus;
use super::repository;
use super::support::server::{Over, Server, free_port, wait_until};

/// Which panels are drawn: the dashboard's file and the panel's title.
const PANELS: [(&str, &str); 6] = [
    ("overview.json", "Commands by name"),
    ("overview.json", "Latency of handlers"),
    ("durability.json", "Commit latency"),
    ("durability.json", "When the database was away"),
    ("sessions.json", "What is left of their lives"),
    ("sessions.json", "Come and go"),
];
const PICTURE: &str = "dashboards/panels.svg";

/// The run: load, an outage in its midst, and load again.
const BEFORE_OUTAGE: Duration = Duration::from_secs(50);
const OUTAGE: Duration = Duration::from_secs(8);
const AFTER_OUTAGE: Duration = Duration::from_secs(50);

/// Sizes of the picture, in pixels.
const WIDTH: f64 = 420.0;
const HEIGHT: f64 = 190.0;
const MARGIN: (f64, f64, f64, f64) = (30.0, 12.0, 44.0, 56.0);
const COLORS: [&str; 10] =
    ["#3b7dd8", "#d8703b", "#3a9d5d", "#b03bd8", "#c2a100", "#d83b5e", "#3bb6d8", "#7a5c3e", "#6b6b6b", "#8ec63f"];

/// A line of a panel: its name, and its values over the seconds of the run.
struct Line {
    name: String,
    values: Vec<(f64, f64)>,
}

fn panel(file: &str, title: &str) -> Value {
    let dashboards = dashboards();
    let (_, dashboard) = dashboards.iter().find(|(name, _)| name == file).expect("the dashboard");
    let panel = list(&dashboard["panels"]).iter().find(|panel| panel["title"] == title);
    panel.unwrap_or_else(|| panic!("{file} has no panel {title}")).clone()
}

#[test]
fn the_pictures_are_of_panels_that_there_are() {
    if std::env::var_os("DRAW_PANELS").is_some() {
        fs::write(repository(PICTURE), picture()).expect("the picture is written");
    }
    let drawn = fs::read_to_string(repository(PICTURE)).expect("the picture");
    for (file, title) in PANELS {
        panel(file, title);
        assert!(drawn.contains(&format!(">{title}<")), "{title} is not drawn");
    }
    let readme = fs::read_to_string(repository("README.md")).expect("the README");
    assert!(readme.contains(&format!("({PICTURE})")), "the README shows it");
}

/// A run, and what Prometheus saw of it.
fn picture() -> String {
    let mut postgres = PostgresServer::start(&[]);
    let database = postgres.create_database();
    let metrics = std::net::SocketAddr::from(([127, 0, 0, 1], free_port()));
    let server =
        Server::start(&postgres.url(&database), &["--metrics-addr", &metrics.to_string(), "--prune-interval", "5s"]);
    let prometheus = Prometheus::start(&[metrics]);
    wait_until("a scrape", || prometheus.query("up == 1").is_ok_and(|found| !found.is_empty()));
    let over = AtomicBool::new(false);
    let begun = Instant::now();
    thread::scope(|scope| {
        let _told = Over(&over);
        for seed in 0..4 {
            let (server, over) = (&server, &over);
            scope.spawn(move || visit(server, seed, over));
        }
        thread::sleep(BEFORE_OUTAGE);
        postgres.kill_immediate();
        thread::sleep(OUTAGE);
        postgres.restart();
        thread::sleep(AFTER_OUTAGE);
    });
    let seconds = begun.elapsed().as_secs();
    let panels = PANELS.map(|(file, title)| (title, lines(&prometheus, &panel(file, title), seconds)));
    draw(&panels)
}

/// Logins, requests, touches and logouts, at some pace that a laptop can keep up.
fn visit(server: &Server, seed: u64, over: &AtomicBool) {
    let mut random = fastrand::Rng::with_seed(seed);
    let mut connection = server.connect();
    let lives = ["5", "1800", "43200", "172800", "604800"];
    while !over.load(Ordering::Relaxed) {
        let key = format!("sess:{}", random.u32(..20_000));
        let life = lives[random.usize(..lives.len())];
        let value = format!("{{\"cookie\":{{}},\"user\":{}}}", random.u32(..));
        // In the outage writes are refused, which belongs into the picture.
        let _answer = match random.u32(..20) {
            0..3 => connection.call(&["SET", &key, &value, "EX", life]),
            3 => connection.call(&["DEL", &key]),
            4..8 => connection.call(&["EXPIRE", &key, life]),
            _ => connection.call(&["GET", &key]),
        };
        thread::sleep(Duration::from_micros(random.u64(500..2_000)));
    }
}

/// What the queries of a panel find over the run.
fn lines(prometheus: &Prometheus, panel: &Value, seconds: u64) -> Vec<Line> {
    let mut lines = Vec::new();
    for target in list(&panel["targets"]) {
        let query = target["expr"].as_str().expect("a query");
        let query = query.replace("$__rate_interval", "10s").replace("$instance", ".*");
        let found = prometheus.query_range(&query, seconds);
        for series in list(&found) {
            let name = named(target["legendFormat"].as_str().unwrap_or_default(), &series["metric"]);
            let number = |value: &Value| value.as_f64().or_else(|| value.as_str()?.parse().ok());
            let values =
                list(&series["values"]).iter().filter_map(|point| Some((number(&point[0])?, number(&point[1])?)));
            lines.push(Line { name, values: values.filter(|(_, value)| value.is_finite()).collect() });
        }
    }
    lines
}

/// The legend with the labels' values in it.
fn named(legend: &str, labels: &Value) -> String {
    let mut name = legend.to_owned();
    for (label, value) in labels.as_object().into_iter().flatten() {
        let value = if label == "instance" { "server" } else { value.as_str().unwrap_or_default() };
        name = name.replace(&format!("{{{{{label}}}}}"), value);
    }
    name
}

fn draw(panels: &[(&str, Vec<Line>)]) -> String {
    let rows = panels.len().div_ceil(2);
    let (width, height) = (2.0 * WIDTH, rows as f64 * HEIGHT);
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width} {height}\" font-family=\"sans-serif\" font-size=\"10\">\n\
         <rect width=\"100%\" height=\"100%\" fill=\"#ffffff\"/>\n"
    );
    for (number, (title, lines)) in panels.iter().enumerate() {
        let place = ((number % 2) as f64 * WIDTH, (number / 2) as f64 * HEIGHT);
        draw_panel(&mut svg, place, title, lines);
    }
    svg + "</svg>\n"
}

fn draw_panel(svg: &mut String, (left, top): (f64, f64), title: &str, lines: &[Line]) {
    let (above, right, below, before) = MARGIN;
    let (x, y, w, h) = (left + before, top + above, WIDTH - before - right, HEIGHT - above - below);
    let points = || lines.iter().flat_map(|line| &line.values);
    let highest = points().map(|(_, value)| *value).fold(f64::MIN_POSITIVE, f64::max);
    let first = points().map(|(time, _)| *time).fold(f64::INFINITY, f64::min);
    let last = points().map(|(time, _)| *time).fold(first + 1.0, f64::max);
    let _ =
        writeln!(svg, "<text x=\"{x}\" y=\"{:.0}\" font-size=\"12\" font-weight=\"bold\">{title}</text>", top + 18.0);
    let _ = writeln!(svg, "<rect x=\"{x}\" y=\"{y}\" width=\"{w}\" height=\"{h}\" fill=\"none\" stroke=\"#cccccc\"/>");
    let _ =
        writeln!(svg, "<text x=\"{:.0}\" y=\"{:.0}\" text-anchor=\"end\">{}</text>", x - 4.0, y + 9.0, short(highest));
    let _ = writeln!(svg, "<text x=\"{:.0}\" y=\"{:.0}\" text-anchor=\"end\">0</text>", x - 4.0, y + h);
    for (line, color) in lines.iter().zip(COLORS) {
        let at = |(time, value): &(f64, f64)| {
            format!("{:.1},{:.1}", x + (time - first) / (last - first) * w, y + h - value / highest * h)
        };
        let path: Vec<_> = line.values.iter().map(at).collect();
        let _ = writeln!(
            svg,
            "<polyline points=\"{}\" fill=\"none\" stroke=\"{color}\" stroke-width=\"1.3\"/>",
            path.join(" ")
        );
    }
    draw_legend(svg, (x, y + h + 14.0), w, lines);
}

/// The names of the lines, in as many rows as they need.
fn draw_legend(svg: &mut String, (left, top): (f64, f64), width: f64, lines: &[Line]) {
    let (mut x, mut y) = (left, top);
    for (line, color) in lines.iter().zip(COLORS) {
        let wide = 5.2 * line.name.len() as f64 + 12.0;
        if x > left && x + wide > left + width {
            (x, y) = (left, y + 12.0);
        }
        let _ = writeln!(svg, "<text x=\"{x:.0}\" y=\"{y:.0}\" fill=\"{color}\">{}</text>", line.name);
        x += wide;
    }
}

/// A number as an axis has it.
fn short(value: f64) -> String {
    match value {
        1_000.0.. => format!("{:.1} k", value / 1_000.0),
        1.0.. => format!("{value:.1}"),
        0.001.. => format!("{:.1} m", value * 1_000.0),
        _ => format!("{:.0} µ", value * 1_000_000.0),
    }
}
