//! Certificates that change while the server runs, and those that it cannot start with.

use std::net::SocketAddr;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use super::server::{Over, Server, free_port, run_to_end, wait_until};
use super::support::certificates::{Authority, Issued, text};
use super::support::redis::Redis;
use super::support::resp::{Connection, Frame};
use super::support::tls::{Client, first_certificate, shown};
use super::{at, flags, last_line};

/// A mounted secret as Kubernetes makes it: `tls.crt` leads through the link `..data` into a folder, and another
/// certificate is put in place by turning that link.
struct Secret<'a> {
    authority: &'a Authority,
    folder: PathBuf,
    turns: usize,
}

impl<'a> Secret<'a> {
    fn new(authority: &'a Authority) -> Self {
        let folder = authority.file("secret");
        std::fs::create_dir(&folder).expect("a folder");
        for name in ["tls.crt", "tls.key"] {
            symlink(Path::new("..data").join(name), folder.join(name)).expect("a link");
        }
        Self { authority, folder, turns: 0 }
    }

    fn paths(&self) -> Issued {
        Issued { certificate: self.folder.join("tls.crt"), key: self.folder.join("tls.key") }
    }

    /// Puts the contents of these files in place, both at the same moment.
    fn put(&mut self, certificate: &Path, key: &Path) {
        self.turns += 1;
        let turn = format!("..turn-{}", self.turns);
        let inside = self.folder.join(&turn);
        std::fs::create_dir(&inside).expect("a folder");
        std::fs::copy(certificate, inside.join("tls.crt")).expect("a copy");
        std::fs::copy(key, inside.join("tls.key")).expect("a copy");
        let next = self.folder.join("..next");
        symlink(&turn, &next).expect("a link");
        std::fs::rename(next, self.folder.join("..data")).expect("a turn");
    }

    fn start(&mut self) -> (Server, SocketAddr) {
        let first = self.authority.issue();
        self.put(&first.certificate, &first.key);
        let (paths, port, authorities) = (self.paths(), free_port(), self.authority.certificate());
        let number = port.to_string();
        (Server::start("memory://", &flags(&number, &paths, &authorities, "no")), at(port))
    }
}

#[test]
fn a_new_certificate_is_taken_under_load_and_no_connection_notices() {
    let authority = Authority::new();
    let mut secret = Secret::new(&authority);
    let (server, address) = secret.start();
    let client = Client::new(&authority);
    let mut before = client.connect(address).expect("a connection");
    let old = shown(&mut before);
    let (next, is_over) = (authority.issue(), AtomicBool::new(false));
    thread::scope(|threads| {
        let told = Over(&is_over);
        let load: Vec<_> = (0..4)
            .map(|_| {
                threads.spawn(|| {
                    let mut kept = client.connect(address).expect("a connection");
                    let mut rounds = 0_u64;
                    while !is_over.load(Ordering::Relaxed) {
                        kept.call(&["INCR", "count"]).expect("a connection of before goes on");
                        client.connect(address).expect("a new connection is never refused");
                        rounds += 1;
                    }
                    rounds
                })
            })
            .collect();
        secret.put(&next.certificate, &next.key);
        let next = first_certificate(&next.certificate);
        assert_ne!(old, next);
        wait_until("the new certificate", || shown(&mut client.connect(address).expect("a connection")) == next);
        drop(told);
        let rounds: u64 = load.into_iter().map(|load| load.join().expect("no refusal")).sum();
        assert_eq!(before.call(&["GET", "count"]).expect("a reply").bytes(), Some(rounds.to_string().as_bytes()));
    });
    assert_eq!(server.info("tls_handshakes_failed"), 0);
}

#[test]
fn a_bad_new_file_is_a_warning_and_the_old_certificate_stays() {
    let authority = Authority::new();
    let mut secret = Secret::new(&authority);
    let (server, address) = secret.start();
    let client = Client::new(&authority);
    let served = || shown(&mut client.connect(address).expect("a connection"));
    let (old, other, garbage) = (served(), authority.issue(), authority.file("garbage"));
    std::fs::write(&garbage, "no certificate").expect("a file");
    secret.put(&other.certificate, &garbage);
    server.wait_for_log("tls-key-file: ");
    assert_eq!(served(), old);
    let foreign = authority.issue();
    secret.put(&other.certificate, &foreign.key);
    server.wait_for_log("is not that of the certificate in ");
    assert_eq!(served(), old);
    secret.put(&garbage, &other.key);
    server.wait_for_log("holds no certificate in PEM form");
    assert_eq!(served(), old);
    secret.put(&other.certificate, &other.key);
    wait_until("the good one", || served() == first_certificate(&other.certificate));
    let warnings = server.log().matches("are no good").count();
    assert_eq!(warnings, 3, "each bad state is told once: {}", server.log());
}

/// The words of both are compared; then what each of them shows.
#[test]
fn config_set_takes_files_at_once_and_refuses_them_in_redis_words() {
    let authority = Authority::new();
    let (first, second, third) = (authority.issue(), authority.issue(), authority.issue());
    let authorities = authority.certificate();
    let ports = [free_port(), free_port()].map(|port| (port, port.to_string()));
    let [of_ours, of_redis] = &ports;
    let server = Server::start("memory://", &flags(&of_ours.1, &first, &authorities, "no"));
    let redis = Redis::start_in(&std::env::temp_dir(), &flags(&of_redis.1, &first, &authorities, "no"));
    let client = Client::new(&authority);
    let mut kept = client.connect(at(of_ours.0)).expect("a connection");
    let gone = authority.file("gone");
    let [certificate, key] = [&second.certificate, &second.key].map(|path| text(path));
    let commands: [&[&str]; 17] = [
        &["SET", "tls-cert-file", text(&gone)],
        &["SET", "TLS-Cert-File", text(&gone)],
        &["SET", "tls-cert-file", ""],
        &["SET", "tls-key-file", text(&third.key)],
        &["SET", "tls-cert-file", certificate, "tls-key-file", text(&third.key)],
        &["SET", "tls-key-file", text(&third.key), "tls-cert-file", certificate],
        &["SET", "timeout", "5", "tls-key-file", text(&third.key)],
        &["GET", "timeout"],
        &["SET", "tls-ca-cert-file", text(&gone)],
        &["SET", "tls-ca-cert-file", key],
        &["SET", "tls-auth-clients", "maybe"],
        &["SET", "tls-cert-file", certificate, "tls-cert-file", certificate],
        &["GET", "tls-cert-file"],
        &["SET", "tls-cert-file", certificate, "tls-key-file", key],
        &["GET", "tls-cert-file"],
        &["SET", "tls-auth-clients", "optional"],
        &["GET", "tls-auth-clients"],
    ];
    let ask = |address, words: &[&str]| {
        let words = [&["CONFIG"], words].concat();
        Connection::open(address).and_then(|mut connection| connection.call(&words)).expect("a reply")
    };
    for words in commands {
        assert_eq!(ask(server.address(), words), ask(redis.address(), words), "{words:?}");
    }
    for (port, _) in &ports {
        assert_eq!(
            shown(&mut client.connect(at(*port)).expect("a connection")),
            first_certificate(&second.certificate)
        );
    }
    assert_eq!(shown(&mut kept), first_certificate(&first.certificate));
    kept.call(&["PING"]).expect("a connection of before goes on");
}

#[test]
fn a_client_who_lost_its_trust_is_refused_from_then_on() {
    let (authority, next) = (Authority::new(), Authority::new());
    let client = authority.issue();
    let (server, address) = super::start(&authority, "yes");
    let client = Client::showing(&authority, &client);
    client.connect(address).expect("a connection");
    let set = server.call(&["CONFIG", "SET", "tls-ca-cert-file", text(&next.certificate())]);
    assert_eq!(set, Frame::Line(b'+', b"OK".to_vec()));
    assert!(client.connect(address).is_err());
}

/// Each mistake ends the start with the code of a bad setting and one sentence that names it; redis-server ends, too.
#[test]
fn what_is_wrong_at_the_start_is_named_by_its_setting() {
    let authority = Authority::new();
    let (good, other) = (authority.issue(), authority.issue());
    let (authorities, gone) = (authority.certificate(), authority.file("gone"));
    let [certificate, key, foreign_key] = [&good.certificate, &good.key, &other.key].map(|path| text(path));
    let (authorities, gone) = (text(&authorities), text(&gone));
    let cases: [(&[&str], &str); 9] = [
        (&[], "sojourn: tls-cert-file: expected the path of a PEM file: "),
        (&["--tls-cert-file", certificate], "sojourn: tls-key-file: expected the path of a PEM file: "),
        (&["--tls-cert-file", gone, "--tls-key-file", key], "sojourn: tls-cert-file: cannot read "),
        (&["--tls-cert-file", certificate, "--tls-key-file", gone], "sojourn: tls-key-file: cannot read "),
        (&["--tls-cert-file", key, "--tls-key-file", key, "--tls-auth-clients", "no"], "sojourn: tls-cert-file: "),
        (
            &["--tls-cert-file", certificate, "--tls-key-file", foreign_key, "--tls-auth-clients", "no"],
            "sojourn: tls-key-file: the key in ",
        ),
        (&["--tls-cert-file", certificate, "--tls-key-file", key], "sojourn: tls-ca-cert-file: expected the path"),
        (
            &["--tls-cert-file", certificate, "--tls-key-file", key, "--tls-auth-clients", "optional"],
            "sojourn: tls-ca-cert-file: expected the path",
        ),
        (
            &["--tls-cert-file", certificate, "--tls-key-file", key, "--tls-ca-cert-file", key],
            "sojourn: tls-ca-cert-file: ",
        ),
    ];
    for (flags, sentence) in cases {
        let port = free_port().to_string();
        let flags = [&["--tls-port", &port], flags].concat();
        let (code, log) = run_to_end("memory://", &flags);
        assert_eq!(code, Some(2), "{flags:?}: {log}");
        // The line of the start, and what is wrong with it.
        assert!(last_line(&log).starts_with(sentence) && log.lines().count() == 2, "{flags:?}: {log}");
        let redis = ["redis-server", "--port", "0", "--bind", "127.0.0.1"];
        let redis = std::process::Command::new("timeout").arg("20").args(redis).args(&flags).output();
        assert_eq!(redis.expect("redis-server").status.code(), Some(1), "redis-server takes {flags:?}");
    }
    let (code, log) = run_to_end("memory://", &["--metrics-tls", "yes", "--metrics-addr", "127.0.0.1:1"]);
    assert!(code == Some(2) && last_line(&log).starts_with("sojourn: tls-cert-file: "), "{log}");
    // Without anything to serve by TLS the files need not be there, as in Redis.
    Server::start("memory://", &["--tls-cert-file", gone, "--tls-ca-cert-file", authorities]);
}
