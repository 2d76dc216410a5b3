//! TLS: who gets in and who does not, certificates that change under load, the metrics and PostgreSQL. Where Redis has the
//! case, a real redis-server with the same settings says what is right.

#![expect(clippy::expect_used, clippy::unwrap_used, reason = "a test that cannot go on must fail, in its helpers too")]

#[path = "../support/mod.rs"]
mod support;

mod attacks;
mod certificates;
mod clients;
mod handshakes;
mod places;
mod postgres;

use std::net::{Ipv4Addr, SocketAddr};

use support::certificates::Authority;
use support::server;
use support::tls::flags;

/// Where a server is reached by TLS.
fn at(port: u16) -> SocketAddr {
    SocketAddr::from((Ipv4Addr::LOCALHOST, port))
}

/// A server with a certificate of this authority, and its port for TLS.
fn start(authority: &Authority, auth_clients: &str) -> (server::Server, SocketAddr) {
    start_with(authority, auth_clients, &[])
}

/// The same with further flags.
fn start_with(authority: &Authority, auth_clients: &str, further: &[&str]) -> (server::Server, SocketAddr) {
    let (issued, port) = (authority.issue(), server::free_port());
    let (number, authorities) = (port.to_string(), authority.certificate());
    let mut flags = flags(&number, &issued, &authorities, auth_clients);
    flags.extend(further);
    (server::Server::start("memory://", &flags), at(port))
}

/// What a server said last.
fn last_line(log: &str) -> &str {
    log.lines().next_back().unwrap_or_default()
}
