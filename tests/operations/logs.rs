//! What the log says, and how: lines for people on a terminal, objects for machines elsewhere, and no key anywhere.

use std::process::Command;

use serde_json::Value;

use super::postgres::PostgresServer;
use super::support::server::{Server, command, is_ok, wait_until};

/// The lines of a log that is JSON.
fn lines(server: &Server) -> Vec<Value> {
    let log = server.log();
    log.lines().map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{line}: {error}"))).collect()
}

/// The lines with this message.
fn with_message(server: &Server, message: &str) -> Vec<Value> {
    lines(server).into_iter().filter(|line| line["message"] == message).collect()
}

#[test]
fn a_life_is_told_in_json_where_no_terminal_is() {
    let mut server = Server::start("memory://", &[]);
    assert!(server.stop().success());
    let told = lines(&server);
    let messages: Vec<_> = told.iter().map(|line| line["message"].as_str().expect("a message")).collect();
    let position = |message: &str| messages.iter().position(|told| told.starts_with(message)).expect(message);
    // Clients are answered a moment before the log says so.
    assert!(position("starting") < position("ready to accept connections"));
    assert!(position("a signal asks the server to stop") < position("stopped; everything is committed"));
    assert!(told.iter().all(|line| line["timestamp"].is_string() && line["level"].is_string()), "{told:?}");
    assert_eq!(told[position("starting")]["version"], env!("CARGO_PKG_VERSION"));
}

#[test]
fn a_terminal_gets_text() {
    // A port that is taken ends the start, after the first line.
    let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = taken.local_addr().expect("its address").port();
    let server = command(port, "memory://", &[]);
    let words: Vec<_> = server.get_args().map(|word| word.to_str().expect("text")).collect();
    let run = format!("{} {}", server.get_program().display(), words.join(" "));
    let printed = Command::new("script").args(["-qec", &run, "/dev/null"]).output().expect("script runs");
    let printed = String::from_utf8_lossy(&printed.stdout).into_owned();
    assert!(printed.contains("INFO") && printed.contains("starting") && !printed.contains("{\""), "{printed}");
}

#[test]
fn a_slow_command_is_told_by_its_name_and_the_length_of_its_key() {
    let server = Server::start("memory://", &["--slowlog-log-slower-than", "0"]);
    let mut connection = server.connect();
    for _ in 0..100 {
        assert!(is_ok(&connection.call(&["SET", "sess:secret-id", "secret-value"]).expect("a reply")));
    }
    let message = "a command took long (SLOWLOG GET shows its words)";
    let few = || with_message(&server, message);
    assert!(few().len() < 20, "not one line for each command");
    wait_until("a line about SET", || {
        connection.call(&["SET", "sess:secret-id", "secret-value"]).expect("a reply");
        few().iter().any(|line| line["command"] == "set" && line["key_bytes"] == 14 && line["microseconds"].is_u64())
    });
    assert!(few().iter().any(|line| line["unsaid"].as_u64().is_some_and(|unsaid| unsaid > 0)));
    assert!(!server.log().contains("secret"), "{}", server.log());
}

#[test]
fn an_outage_is_one_line_when_it_begins_and_one_with_its_length_when_it_ends() {
    let mut postgres = PostgresServer::start(&[]);
    let database = postgres.create_database();
    let server = Server::start(&postgres.url(&database), &["--write-timeout", "200ms"]);
    postgres.kill_immediate();
    wait_until("a refusal", || !is_ok(&server.call(&["SET", "sess:a", "{}"])));
    postgres.restart();
    wait_until("the end of the outage", || is_ok(&server.call(&["SET", "sess:a", "{}"])));
    let begun = with_message(&server, "the database is away: writes and cold reads are refused until it is back");
    let ended = with_message(&server, "the database is back");
    assert_eq!((begun.len(), ended.len()), (1, 1), "{}", server.log());
    assert!(ended[0]["seconds"].as_f64().is_some_and(|seconds| seconds > 0.0), "{ended:?}");
}
