//! What is asked by HTTP: each path for what it is for, the token, health through an outage, and what no client should send.

use std::io::{Read, Write};
use std::net::TcpStream;

use super::postgres::PostgresServer;
use super::support::http::{ask, connect, get, send, series};
use super::support::proxy::Proxy;
use super::support::resp::encode;
use super::support::server::{Server, free_port, is_ok, run_to_end, wait_until};

const TOKEN: &str = "a-token-for-tests";
const BEARER: &str = "Authorization: Bearer a-token-for-tests";

/// A server that knows all its keys, with its port for HTTP.
pub fn start(database_url: &str, flags: &[&str]) -> (Server, u16) {
    let port = free_port();
    let address = format!("127.0.0.1:{port}");
    let flags: Vec<&str> = ["--metrics-addr", &address].into_iter().chain(flags.iter().copied()).collect();
    let server = Server::start(database_url, &flags);
    let knows_all = |page: &str| series(page, "sojourn_all_keys_known") == Some(1.0);
    wait_until("all keys to be known", || get(port, "/metrics").is_ok_and(|page| knows_all(&page.body)));
    (server, port)
}

fn with_token(database_url: &str) -> (Server, u16) {
    start(database_url, &["--metrics-token", TOKEN])
}

#[test]
fn each_path_answers_what_it_is_for_and_no_other() {
    let (_server, port) = with_token("memory://");
    for (method, path, headers, status) in [
        ("GET", "/metrics", &[][..], 200),
        ("HEAD", "/metrics", &[], 200),
        ("GET", "/metrics?name[]=x", &[], 200),
        ("POST", "/metrics", &[], 405),
        ("GET", "/healthz", &[], 200),
        ("DELETE", "/healthz", &[], 405),
        ("GET", "/readyz", &[], 200),
        ("GET", "/api/session-stats", &[BEARER], 200),
        ("POST", "/api/session-stats", &[BEARER], 405),
        ("POST", "/api/session-cleanup", &[BEARER], 200),
        ("GET", "/api/session-cleanup", &[BEARER], 405),
        ("OPTIONS", "/api/session-cleanup", &[], 405),
        ("GET", "/", &[], 404),
        ("GET", "/metrics/", &[], 404),
        ("GET", "//metrics", &[], 404),
        ("GET", "/api", &[BEARER], 404),
        ("GET", "/../etc/passwd", &[], 404),
    ] {
        let page = ask(port, method, path, headers).expect("an answer");
        assert_eq!(page.status, status, "{method} {path}: {page:?}");
        assert_eq!(page.header("allow").is_some(), status == 405, "{method} {path}: {page:?}");
        assert_eq!(page.body.is_empty(), method == "HEAD", "{method} {path}: {page:?}");
    }
    let metrics = get(port, "/metrics").expect("a page");
    assert_eq!(metrics.header("content-type"), Some("text/plain; version=0.0.4; charset=utf-8"));
    assert_eq!(get(port, "/healthz").expect("a page").json()["alive"], true);
    assert_eq!(get(port, "/readyz").expect("a page").json()["ready"], true);
}

#[test]
fn a_port_that_is_taken_ends_the_start_if_somebody_chose_it() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = taken.local_addr().expect("its address").to_string();
    let (code, log) = run_to_end("memory://", &["--metrics-addr", &address]);
    assert_eq!(code, Some(1), "{log}");
    let sentence = format!("sojourn: metrics-addr: cannot serve metrics on {address}: ");
    assert!(log.lines().any(|line| line.starts_with(&sentence)), "{log}");
}

#[test]
fn only_the_token_opens_the_paths_that_need_it() {
    let (server, port) = start("memory://", &[]);
    let status = |headers: &[&str]| {
        let page = ask(port, "GET", "/api/session-stats", headers).expect("an answer");
        let clean_up = ask(port, "POST", "/api/session-cleanup", headers).expect("an answer");
        assert_eq!(page.status, clean_up.status, "{headers:?}");
        assert_eq!(page.header("www-authenticate").is_some(), page.status == 401, "{page:?}");
        page.status
    };
    assert_eq!(status(&[BEARER]), 403, "nobody may where no token is set");
    assert!(is_ok(&server.call(&["CONFIG", "SET", "metrics-token", TOKEN])));
    for headers in [
        &[][..],
        &["Authorization: Bearer"],
        &["Authorization: Bearer "],
        &["Authorization: Bearer a-token-for-test"],
        &["Authorization: Bearer a-token-for-tests2"],
        &["Authorization: Basic a-token-for-tests"],
        &["Authorization: a-token-for-tests"],
        &["X-Token: a-token-for-tests"],
    ] {
        assert_eq!(status(headers), 401, "{headers:?}");
    }
    assert_eq!(status(&[BEARER]), 200);
    let page = get(port, "/metrics").expect("a page").body;
    assert_eq!(series(&page, "sojourn_token_failures_total"), Some(16.0));
    assert!(!page.contains(TOKEN) && !server.log().contains(TOKEN));
}

#[test]
fn the_token_may_stand_in_a_file() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("token");
    std::fs::write(&file, format!("{TOKEN}\n")).expect("a file");
    let (_server, port) = start("memory://", &["--metrics-token-file", file.to_str().expect("a path")]);
    assert_eq!(ask(port, "GET", "/api/session-stats", &[BEARER]).expect("an answer").status, 200);
}

#[test]
fn what_no_client_should_send_is_refused_and_others_are_served() {
    let (_server, port) = with_token("memory://");
    let head = format!("POST /api/session-cleanup HTTP/1.1\r\nhost: x\r\nconnection: close\r\n{BEARER}\r\n");
    let long = "x".repeat(20_000);
    let many: String = (0..200).map(|number| format!("x-{number}: 1\r\n")).collect();
    for (what, bytes, status) in [
        ("HTTP/1.0", "GET /metrics HTTP/1.0\r\n\r\n".to_owned(), 200),
        ("no HTTP", "\x16\x03\x01\x02\x00\x01\x00\x01\r\n\r\n".to_owned(), 400),
        ("RESP", "*1\r\n$4\r\nPING\r\n\r\n".to_owned(), 400),
        ("a head that is too long", format!("GET /metrics HTTP/1.1\r\nhost: x\r\nx: {long}\r\n\r\n"), 431),
        ("a path that is too long", format!("GET /{long} HTTP/1.1\r\nhost: x\r\n\r\n"), 431),
        ("too many headers", format!("GET /metrics HTTP/1.1\r\nhost: x\r\n{many}\r\n"), 431),
        ("a POST without a body", format!("{head}\r\n"), 200),
        ("a small body", format!("{head}content-length: 2\r\n\r\n{{}}"), 200),
        ("a body that is said to be large", format!("{head}content-length: 1000000\r\n\r\n"), 413),
        (
            "a body that turns out large",
            format!("{head}transfer-encoding: chunked\r\n\r\n4e20\r\n{long}\r\n0\r\n\r\n"),
            413,
        ),
        ("two lengths", format!("{head}content-length: 1\r\ncontent-length: 2\r\n\r\nab"), 400),
    ] {
        match send(port, bytes.as_bytes()) {
            Ok(page) => assert_eq!(page.status, status, "{what}: {page:?}"),
            Err(error) => panic!("{what}: {error}"),
        }
        assert_eq!(get(port, "/healthz").expect("an answer").status, 200, "after {what}");
    }
}

/// As many connections as are served at a time, and then one more: it is answered though none of them ends by itself.
fn others_get_a_place_beside(what: &str, hold: impl Fn(&mut TcpStream)) {
    let (_server, port) = start("memory://", &[]);
    let mut held: Vec<TcpStream> = (0..32).map(|_| connect(port).expect("a connection")).collect();
    held.iter_mut().for_each(hold);
    assert_eq!(get(port, "/healthz").expect(what).status, 200);
    drop(held);
}

#[test]
fn a_scrape_that_hangs_keeps_no_place_for_ever() {
    others_get_a_place_beside("a place beside hanging scrapes", |stream| {
        stream.write_all(b"GET /metrics HTTP/1.1\r\nhost").expect("half a request");
    });
}

#[test]
fn whoever_does_not_read_keeps_no_place_for_ever() {
    others_get_a_place_beside("a place beside slow readers", |stream| {
        socket2::SockRef::from(&*stream).set_recv_buffer_size(4096).expect("a small buffer");
        stream.set_nonblocking(true).expect("no waiting");
        // More pages than all buffers between the two hold; what the server does not take any more is not sent.
        let _full = stream.write_all(&b"GET /metrics HTTP/1.1\r\nhost: x\r\n\r\n".repeat(500));
    });
}

#[test]
fn a_body_that_does_not_come_is_not_waited_for() {
    let (_server, port) = with_token("memory://");
    let head = format!("POST /api/session-cleanup HTTP/1.1\r\nhost: x\r\n{BEARER}\r\ncontent-length: 10\r\n\r\n");
    let mut stream = connect(port).expect("a connection");
    stream.write_all(head.as_bytes()).expect("a head");
    let mut answer = [0; 64];
    let read = stream.read(&mut answer).expect("an answer");
    assert!(answer[..read].starts_with(b"HTTP/1.1 408 "), "{}", answer.escape_ascii());
}

#[test]
fn an_outage_makes_the_server_unready_and_never_dead() {
    let postgres = PostgresServer::start(&["fsync=off"]);
    let database = postgres.create_database();
    let proxy = Proxy::start(postgres.port());
    let url = format!("postgres://postgres@127.0.0.1:{}/{database}", proxy.port());
    let (mut server, port) = start(&url, &["--metrics-token", TOKEN, "--write-timeout", "300ms"]);
    assert!(is_ok(&server.call(&["SET", "sess:a", "{}", "EX", "600"])));
    assert_eq!(get(port, "/readyz").expect("an answer").status, 200);

    proxy.stall();
    proxy.cut();
    wait_until("the outage to be noticed", || get(port, "/readyz").expect("an answer").status == 503);
    let page = get(port, "/readyz").expect("an answer").json();
    assert!(page["reason"].as_str().is_some_and(|reason| reason.contains("the database is away")), "{page}");
    assert!(page["seconds"].is_u64(), "{page}");
    let alive = get(port, "/healthz").expect("an answer");
    assert_eq!((alive.status, &alive.json()["database"]), (200, &"down".into()));
    let stats = ask(port, "GET", "/api/session-stats", &[BEARER]).expect("an answer").json();
    assert_eq!((&stats["active"], &stats["expired"]), (&1.into(), &serde_json::Value::Null));
    assert_eq!(ask(port, "POST", "/api/session-cleanup", &[BEARER]).expect("an answer").status, 503);
    let metrics = get(port, "/metrics").expect("a page").body;
    let named = ["sojourn_ready", "sojourn_database_up", "sojourn_outage", "sojourn_outages_total"];
    assert_eq!(named.map(|name| series(&metrics, name)), [Some(0.0), Some(0.0), Some(1.0), Some(1.0)]);
    assert!(series(&metrics, "sojourn_outage_seconds_total").is_some_and(|seconds| seconds > 0.0));

    proxy.pass();
    wait_until("the server to be ready again", || get(port, "/readyz").expect("an answer").status == 200);
    let metrics = get(port, "/metrics").expect("a page").body;
    assert_eq!(named.map(|name| series(&metrics, name)), [Some(1.0), Some(1.0), Some(0.0), Some(1.0)]);

    // A stop that waits for the commit of a write, so that it can be seen.
    proxy.stall();
    let mut client = server.connect();
    client.send(&encode(&["SET", "sess:b", "{}"])).expect("sent");
    wait_until("the write to wait", || server.info("backlog") == 1);
    server.signal("TERM");
    let is_stopping = || get(port, "/readyz").is_ok_and(|page| page.json()["reason"] == "stopping");
    wait_until("the server to say that it stops", is_stopping);
    proxy.pass();
    server.wait_for_end();
}

#[test]
fn a_server_that_waits_for_its_database_says_so() {
    let folder = tempfile::tempdir().expect("a folder");
    let url = format!("sqlite://{}", folder.path().join("one.db").display());
    let _owner = Server::start(&url, &[]);
    let port = free_port();
    let waiting = Server::spawn(&url, &["--metrics-addr", &format!("127.0.0.1:{port}"), "--metrics-token", TOKEN]);
    waiting.wait_for_log("the database is owned by");
    let page = get(port, "/readyz").expect("an answer");
    assert_eq!(page.status, 503);
    assert!(page.json()["reason"].as_str().is_some_and(|reason| reason.starts_with("not the owner")), "{page:?}");
    assert_eq!(get(port, "/healthz").expect("an answer").status, 200);
    assert_eq!(ask(port, "GET", "/api/session-stats", &[BEARER]).expect("an answer").status, 503);
    assert_eq!(series(&get(port, "/metrics").expect("a page").body, "sojourn_loading"), Some(1.0));
}
