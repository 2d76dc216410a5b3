//! TLS to PostgreSQL: who the database is must be proved where that is asked for, and INFO says whether it is encrypted.

#[path = "../support/postgres.rs"]
mod cluster;

use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use super::server::Server;
use super::support::certificates::{Authority, Issued, text};
use super::support::resp::Frame;
use cluster::PostgresServer;

/// A cluster that lets nobody in over TCP without TLS.
fn start(issued: &Issued) -> PostgresServer {
    let mut postgres = PostgresServer::start(&[]);
    let folder = postgres.sql("postgres", "show data_directory");
    let folder = Path::new(&folder);
    for (from, to) in [(&issued.certificate, "server.crt"), (&issued.key, "server.key")] {
        let to = folder.join(to);
        std::fs::write(&to, std::fs::read(from).expect("a file")).expect("a copy");
        std::fs::set_permissions(&to, PermissionsExt::from_mode(0o600)).expect("permissions");
        let owner = format!("--reference={}", folder.display());
        let owned = std::process::Command::new("chown").arg(owner).arg(&to).status();
        assert!(owned.is_ok_and(|status| status.success()));
    }
    let rules = "hostssl all all 127.0.0.1/32 trust\nhostssl all all ::1/128 trust\n";
    std::fs::write(folder.join("pg_hba.conf"), rules).expect("the rules");
    postgres.sql("postgres", "alter system set ssl = on");
    postgres.restart();
    postgres
}

fn url(postgres: &PostgresServer, host: &str, query: &str) -> String {
    format!("postgres://postgres@{host}:{}/{}?{query}", postgres.port(), postgres.create_database())
}

#[test]
fn verify_full_works_with_the_right_authority_and_only_with_it() {
    let (authority, stranger) = (Authority::new(), Authority::new());
    let postgres = start(&authority.issue());
    let by = |authority: &Authority| format!("sslmode=verify-full&sslrootcert={}", text(&authority.certificate()));
    for host in ["127.0.0.1", "localhost"] {
        let server = Server::start(&url(&postgres, host, &by(&authority)), &[]);
        assert_eq!(server.call(&["SET", "sess:a", "{}"]), Frame::Line(b'+', b"OK".to_vec()));
        assert_eq!(server.info("database_encrypted"), 1);
    }
    refused(&url(&postgres, "127.0.0.1", &by(&stranger)), "UnknownIssuer");
    refused(&url(&postgres, "127.0.0.1", "sslmode=verify-full&sslrootcert=/nonexistent/ca.pem"), "/nonexistent/ca.pem");
    let none = url(&postgres, "127.0.0.1", "sslmode=disable");
    refused(&none, "no encryption");
}

#[test]
fn verify_full_refuses_a_certificate_of_another_host_and_verify_ca_does_not() {
    let authority = Authority::new();
    let postgres = start(&authority.issue_elsewhere());
    let root = format!("sslrootcert={}", text(&authority.certificate()));
    refused(&url(&postgres, "127.0.0.1", &format!("sslmode=verify-full&{root}")), "certificate not valid for name");
    let server = Server::start(&url(&postgres, "127.0.0.1", &format!("sslmode=verify-ca&{root}")), &[]);
    assert_eq!(server.info("database_encrypted"), 1);
}

#[test]
fn info_tells_a_connection_that_is_not_encrypted() {
    let postgres = PostgresServer::start(&[]);
    let server = Server::start(&postgres.url(&postgres.create_database()), &[]);
    assert_eq!(server.info("database_encrypted"), 0);
}

/// The server says why it cannot use this database, and never answers from it.
fn refused(database_url: &str, reason: &str) {
    let server = Server::spawn(database_url, &[]);
    server.wait_for_log(reason);
    let log = server.log();
    assert!(!log.contains("ready to accept connections"), "{log}");
}
