//! Whoever reads a session's key is that user: marked keys, values and passwords go through everything that fails, and must
//! come out nowhere but in the reply to the client that sent them.

use super::postgres::PostgresServer;
use super::server::{Server, free_port, is_error, is_ok, run_to_end, wait_until};
use super::support::http::{ask, get};
use super::support::proxy::Proxy;
use super::support::resp::{Connection, Frame};

/// What all keys, values and passwords hold here.
const MARK: &str = "LEAKED";
const PASSWORD: &str = "LEAKED-password";

/// Refuses rows in PostgreSQL's own words, in a trigger's, and with a notice; each quotes what it refuses.
const REFUSALS: &str = r#"
    create function taste() returns trigger language plpgsql as $$ begin
        raise warning 'tasting % %', new.sid, new.sess;
        if new.sess->>'number' is not null then perform (new.sess->>'number')::integer; end if;
        if new.sess->>'poison' is not null then raise 'poisonous: % %', new.sid, new.sess; end if;
        return new;
    end $$;
    create trigger taste before insert or update on session for each row execute function taste();
    alter table session add constraint edible check (sess->>'bitter' is null)"#;

fn assert_hidden(what: &str, text: &str) {
    assert!(!text.is_empty(), "{what}: nothing to look at");
    let line = text.lines().find(|line| line.to_ascii_lowercase().contains(&MARK.to_ascii_lowercase()));
    assert_eq!(line, None, "{what}");
}

/// Every page that HTTP shows, also to those who send what is none of the server's business.
fn pages(port: u16) -> Vec<(&'static str, String)> {
    let token = "Authorization: Bearer LEAKED-token";
    let asked = [
        ("GET", "/metrics", ""),
        ("GET", "/healthz", ""),
        ("GET", "/readyz", ""),
        ("GET", "/api/session-stats", token),
        ("POST", "/api/session-cleanup", token),
        ("GET", "/api/session-stats", "Authorization: Bearer LEAKED-wrong"),
        ("GET", "/LEAKED", "X-LEAKED: LEAKED"),
        ("LEAKED", "/metrics", ""),
    ];
    let page = |(method, path, header): (_, &'static str, &str)| {
        let headers: &[&str] = if header.is_empty() { &[] } else { &[header] };
        let page = ask(port, method, path, headers).expect("an answer");
        (path, format!("{} {}", page.head, page.body))
    };
    asked.map(page).to_vec()
}

fn logged_in(server: &Server) -> Connection {
    let mut connection = server.connect();
    assert!(is_ok(&connection.call(&["AUTH", PASSWORD]).expect("a reply")));
    connection
}

/// Commands that fail, and requests that are none.
fn fail(server: &Server) {
    let mut client = logged_in(server);
    for request in [
        &["AUTH", "LEAKED-wrong"][..],
        &["AUTH", "LEAKED-user", "LEAKED-wrong"],
        &["HELLO", "3", "AUTH", "LEAKED-user", "LEAKED-wrong"],
        &["HELLO", "3", "LEAKED"],
        &["SET", "sess:LEAKED", "LEAKED", "LEAKED"],
        &["SET", "sess:LEAKED", "{}", "EX", "LEAKED"],
        &["GET", "sess:LEAKED", "LEAKED"],
        &["LEAKED", "LEAKED"],
        &["CONFIG", "SET", "LEAKED", "LEAKED"],
        &["CONFIG", "SET", "timeout", "LEAKED"],
        &["CONFIG", "SET", "requirepass", PASSWORD, "port", "LEAKED"],
        &["SET", &format!("sess:LEAKED{}", "x".repeat(3000)), "{}"],
    ] {
        let reply = client.call(request).expect("a reply");
        assert!(matches!(reply, Frame::Line(b'-', _)), "{request:?}: {reply:?}");
    }
    for bytes in ["*1\r\nLEAKED\r\n", "SET sess:LEAKED 'LEAKED\r\n", "*2\r\n$3\r\nGET\r\n$LEAKED\r\n", "*LEAKED\r\n"] {
        let mut client = logged_in(server);
        client.send(bytes.as_bytes()).expect("a server");
        assert!(is_error(&client.read().expect("a reply"), "ERR"), "{bytes:?}");
    }
}

/// Sessions that PostgreSQL refuses.
fn be_refused(server: &Server) {
    let mut client = logged_in(server);
    for value in [r#"{"number":"LEAKED"}"#, r#"{"poison":"LEAKED"}"#, r#"{"bitter":"LEAKED"}"#] {
        let reply = client.call(&["SET", "sess:LEAKED-refused", value]).expect("a reply");
        assert!(is_error(&reply, "MISCONF"), "{value}: {reply:?}");
    }
    assert!(is_ok(&client.call(&["SET", "sess:LEAKED", r#"{"good":"LEAKED"}"#]).expect("a reply")));
}

#[test]
fn no_key_value_or_password_is_shown() {
    let postgres = PostgresServer::start(&["fsync=off"]);
    let database = postgres.create_database();
    postgres.sql(&database, "create role app login password 'LEAKED-password'");
    postgres.sql(&database, "grant create, usage on schema public to app");
    let proxy = Proxy::start(postgres.port());
    let url = format!("postgres://app:{PASSWORD}@127.0.0.1:{}/{database}?application_name=app", proxy.port());
    let metrics_port = free_port();
    let metrics_addr = format!("127.0.0.1:{metrics_port}");
    let arguments = ["--log-level", "debug", "--metrics-addr", &metrics_addr, "--write-timeout", "500ms"];
    let arguments = [&arguments[..], &["--metrics-token", "LEAKED-token"]].concat();
    let mut server = Server::start(&url, &arguments);
    assert!(is_ok(&server.call(&["CONFIG", "SET", "requirepass", PASSWORD])));
    postgres.sql(&database, REFUSALS);

    fail(&server);
    be_refused(&server);
    proxy.stall();
    proxy.cut();
    let mut client = logged_in(&server);
    let reply = client.call(&["SET", "sess:LEAKED", r#"{"lost":"LEAKED"}"#]).expect("a reply");
    assert!(is_error(&reply, "MISCONF") || is_error(&reply, "UNCERTAIN"), "{reply:?}");
    server.wait_for_log("the database is away");
    proxy.pass();
    wait_until("the database to be back", || {
        is_ok(&logged_in(&server).call(&["SET", "sess:LEAKED", r#"{"back":"LEAKED"}"#]).expect("a reply"))
    });

    let mut client = logged_in(&server);
    for request in
        [&["INFO", "everything"][..], &["CLIENT", "LIST"], &["CLIENT", "INFO"], &["CONFIG", "GET", "database-url"]]
    {
        let reply = client.call(request).expect("a reply");
        assert_hidden(request[0], &format!("{reply:?}"));
    }
    wait_until("metrics of it all", || {
        let page = get(metrics_port, "/metrics").expect("a page").body;
        ["sojourn_sessions{", "sojourn_table_rows{", "sojourn_errors_total{"].iter().all(|name| page.contains(name))
    });
    for (path, page) in pages(metrics_port) {
        assert_hidden(path, &page);
    }
    assert!(server.stop().success(), "{}", server.log());
    let log = server.log();
    for event in ["the database refused a write", "SQLSTATE 22P02", "SQLSTATE P0001", "edible", "the database is away"]
    {
        assert!(log.contains(event), "{event:?} is not in: {log}");
    }
    assert_hidden("the log", &log);
}

#[test]
fn a_start_that_fails_shows_no_password() {
    let postgres = PostgresServer::start(&[]);
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("sojourn.toml");
    let config = file.display().to_string();
    let host = format!("127.0.0.1:{}", postgres.port());
    for url in [
        format!("postgres://nobody:{PASSWORD}@{host}/postgres"),
        format!("postgres://postgres:{PASSWORD}@{host}/no_such_database"),
        format!("postgres://postgres:{PASSWORD}/with@slash@{host}/postgres"),
        format!("postgres://postgres:{PASSWORD} with blank@{host}:port/postgres"),
        format!("postgres://{host}/postgres?user=postgres&password={PASSWORD}&sslmode=never"),
        format!("postgres://postgres@{host}/no_such_database?password={PASSWORD}"),
        format!("mysql://root:{PASSWORD}@localhost/app"),
        format!("{PASSWORD}://x"),
    ] {
        let (code, output) = run_to_end(&url, &["--log-level", "trace"]);
        assert_ne!(code, Some(0), "{url}");
        assert_hidden(&url, &output);
    }
    for text in [
        format!("requirepass = \"{PASSWORD}\nport = 1"),
        format!("requirepass = [\"{PASSWORD}\", {{}}]"),
        format!("requirepass = {PASSWORD}"),
        format!("requirepass = \"{PASSWORD}\"\nrequirepass = \"{PASSWORD}\""),
        format!("database-url = \"{PASSWORD}\""),
    ] {
        std::fs::write(&file, &text).expect("a file");
        let (code, output) = run_to_end("memory://", &["--config", &config]);
        assert_ne!(code, Some(0), "{text}");
        assert_hidden(&text, &output);
    }
}
