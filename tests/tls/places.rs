//! What is served by TLS besides the plain port: nothing else with `port 0`, and the metrics.

use std::io::{Read, Write};

use super::server::{Server, free_port, run_to_end, wait_for};
use super::support::certificates::Authority;
use super::support::tls::Client;
use super::{at, flags, last_line, start_with};

#[test]
fn port_0_beside_a_tls_port_is_tls_only() {
    let authority = Authority::new();
    let (issued, authorities, port) = (authority.issue(), authority.certificate(), free_port());
    let number = port.to_string();
    let mut server = Server::spawn_on(0, "memory://", &flags(&number, &issued, &authorities, "no"));
    let mut connection = wait_for("TLS", || Client::new(&authority).connect(at(port)).ok());
    let info = connection.call(&["INFO", "server"]).expect("a reply");
    let info = String::from_utf8_lossy(info.bytes().expect("text")).into_owned();
    // As redis-server 7.0.15 says it.
    assert!(info.contains(&format!("tcp_port:{port}\r\n")), "{info}");
    let sockets = format!("/proc/{}/net/tcp", server.pid());
    assert_eq!(listening(&server, &sockets), [port]);
    assert!(server.stop().success());
}

#[test]
fn a_tls_port_that_is_taken_is_named_by_its_setting() {
    let authority = Authority::new();
    let taken = std::net::TcpListener::bind(at(0)).expect("a free port");
    let number = taken.local_addr().expect("its address").port().to_string();
    let (issued, authorities) = (authority.issue(), authority.certificate());
    let (code, log) = run_to_end("memory://", &flags(&number, &issued, &authorities, "no"));
    assert!(code == Some(1) && last_line(&log).starts_with("sojourn: tls-port: 127.0.0.1:"), "{code:?}: {log}");
}

#[test]
fn the_metrics_are_served_by_tls_to_those_whom_tls_lets_in() {
    let authority = Authority::new();
    let metrics = at(free_port());
    let (_server, _) = start_with(&authority, "yes", &["--metrics-tls", "yes", "--metrics-addr", &metrics.to_string()]);
    let page = scrape(&Client::showing(&authority, &authority.issue()), metrics).expect("a page");
    assert!(page.starts_with("HTTP/1.1 200 OK\r\n") && page.contains("\nsojourn_connected_clients "), "{page}");
    assert!(scrape(&Client::new(&authority), metrics).is_err(), "tls-auth-clients holds for the metrics, too");
    let mut plain = std::net::TcpStream::connect(metrics).expect("a connection");
    plain.write_all(b"GET /metrics HTTP/1.1\r\nhost: x\r\n\r\n").expect("a request");
    let mut answer = Vec::new();
    let _reset = plain.read_to_end(&mut answer);
    assert!(!answer.starts_with(b"HTTP"), "{answer:?}");
}

fn scrape(client: &Client, address: std::net::SocketAddr) -> std::io::Result<String> {
    let mut stream = client.dial(address)?;
    stream.write_all(b"GET /metrics HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n")?;
    let mut page = String::new();
    stream.read_to_string(&mut page)?;
    Ok(page)
}

/// The ports that the server's process listens on.
fn listening(server: &Server, sockets: &str) -> Vec<u16> {
    let descriptors = std::fs::read_dir(format!("/proc/{}/fd", server.pid())).expect("its descriptors");
    let links: Vec<_> = descriptors.flatten().filter_map(|entry| std::fs::read_link(entry.path()).ok()).collect();
    let table = std::fs::read_to_string(sockets).expect("the kernel's table");
    let port = |line: &str| {
        let words: Vec<&str> = line.split_whitespace().collect();
        let is_own = links.iter().any(|link| link.to_string_lossy() == format!("socket:[{}]", words[9]));
        // 0A is LISTEN.
        (words[3] == "0A" && is_own).then(|| u16::from_str_radix(words[1].rsplit(':').next()?, 16).ok())?
    };
    table.lines().skip(1).filter_map(port).collect()
}
