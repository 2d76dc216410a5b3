//! Settings that change while the server runs: by SIGHUP, by CONFIG SET, and by CONFIG REWRITE for the next start. No client notices.

use std::fs;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;

use super::support::certificates::Authority;
use super::support::resp::{Connection, Frame};
use super::support::server::{Server, free_port, is_ok, wait_for, wait_until};
use super::support::tls::{self, Client, first_certificate, shown};

/// A file of settings that the test changes.
struct File {
    _folder: TempDir,
    path: PathBuf,
}

impl File {
    fn new(text: &str) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("sojourn.toml");
        let file = Self { _folder: folder, path };
        file.write(text);
        file
    }

    fn write(&self, text: &str) {
        fs::write(&self.path, text).expect("written");
    }

    fn flags(&self) -> [&str; 2] {
        ["--config", self.path.to_str().expect("a path")]
    }

    fn start(&self) -> Server {
        Server::start("memory://", &self.flags())
    }
}

fn setting(connection: &mut Connection, name: &str) -> String {
    let reply = connection.call(&["CONFIG", "GET", name]).expect("a reply");
    String::from_utf8_lossy(reply.items()[1].bytes().expect("a value")).into_owned()
}

/// Asks for a reload and waits for the line that tells how it went.
fn reload(server: &Server, line: &str) {
    let count = || server.log().matches(line).count();
    let before = count();
    server.signal("HUP");
    wait_until(line, || count() > before);
}

const READ: &str = "the settings were read again";

/// A file on a disk that hangs: whoever reads it waits.
fn make_hanging(path: &Path) {
    assert!(Command::new("mkfifo").arg(path).status().expect("mkfifo runs").success());
}

/// Waits until somebody reads it; they do so until the answer is dropped.
fn read_in_vain(path: &Path) -> fs::File {
    let nonblocking = i32::try_from(rustix::fs::OFlags::NONBLOCK.bits()).expect("a flag");
    wait_for("a reader", || fs::File::options().write(true).custom_flags(nonblocking).open(path).ok())
}

#[test]
fn a_reload_changes_what_can_change_and_drops_nobody() {
    let file = File::new("timeout = 5\nlog-level = \"info\"\n");
    let server = file.start();
    let mut connection = server.connect();
    connection.call(&["SET", "k", "v"]).expect("a reply");
    assert!(is_ok(&connection.call(&["CONFIG", "SET", "maxclients", "77"]).expect("a reply")));
    file.write(
        "timeout = 9\nlog-level = \"debug\"\nprune-interval = \"7s\"\nslowlog-max-len = 3\nrequirepass = \"pw\"\n",
    );
    reload(&server, READ);
    for (name, value) in [
        ("timeout", "9"),
        ("log-level", "debug"),
        ("prune-interval", "7s"),
        ("slowlog-max-len", "3"),
        ("requirepass", "pw"),
        ("maxclients", "10000"),
    ] {
        assert_eq!(setting(&mut connection, name), value, "{name}");
    }
    assert_eq!(connection.call(&["GET", "k"]).expect("the connection lives").bytes(), Some(&b"v"[..]));
    assert!(matches!(server.call(&["GET", "k"]), Frame::Line(b'-', text) if text.starts_with(b"NOAUTH")));
    assert!(server.log().contains("\"requirepass, maxclients, timeout, log-level, prune-interval, slowlog-max-len\""));
    assert!(!server.log().contains("pw\""), "no password in the log");
}

#[test]
fn what_needs_a_start_is_named_once_a_reload_and_the_server_keeps_running() {
    let file = File::new("databases = 16\n");
    let server = file.start();
    file.write("databases = 4\ndurability = \"everysec\"\ntimeout = 9\n");
    for _ in 0..2 {
        reload(&server, "can only change at a start");
    }
    let log = server.log();
    assert_eq!(log.matches("can only change at a start").count(), 2, "{log}");
    assert!(log.contains("\"durability, databases\""), "{log}");
    let mut connection = server.connect();
    assert_eq!(
        (setting(&mut connection, "databases").as_str(), setting(&mut connection, "timeout").as_str()),
        ("16", "9")
    );
}

#[test]
fn a_file_that_is_no_good_changes_nothing_and_says_why() {
    let file = File::new("timeout = 5\n");
    let server = file.start();
    let mut connection = server.connect();
    for (text, why) in [
        ("timeout = 9\nmaxclients = 0\n", "maxclients: expected a number from 1"),
        ("timeout = 9\ntimeuot = 3\n", "did you mean timeout?"),
        ("timeout =\n", "is not TOML"),
    ] {
        file.write(text);
        reload(&server, "the settings are no good; nothing was changed");
        assert!(server.log().contains(why), "{why}: {}", server.log());
        assert_eq!(setting(&mut connection, "timeout"), "5");
    }
    fs::remove_file(&file.path).expect("a file");
    reload(&server, "the settings are no good; nothing was changed");
    file.write("timeout = 9\n");
    reload(&server, READ);
    assert_eq!(setting(&mut connection, "timeout"), "9");
}

#[test]
fn a_reload_takes_new_certificates_and_refuses_bad_ones_whole() {
    let authority = Authority::new();
    let (issued, port) = (authority.issue(), free_port());
    let (number, authorities) = (port.to_string(), authority.certificate());
    let file = File::new("timeout = 5\n");
    let mut flags = tls::flags(&number, &issued, &authorities, "no");
    flags.extend(file.flags());
    let server = Server::start("memory://", &flags);
    let mut old = Client::new(&authority).connect((std::net::Ipv4Addr::LOCALHOST, port).into()).expect("TLS");
    assert!(matches!(old.call(&["PING"]), Ok(Frame::Line(b'+', _))));
    file.write("timeout = 9\n");
    fs::write(&issued.key, "no key").expect("written");
    server.signal("HUP");
    server.wait_for_log("the settings are no good; nothing was changed");
    assert_eq!(setting(&mut server.connect(), "timeout"), "5", "not half of it either");
    let new = authority.issue();
    fs::copy(&new.key, &issued.key).expect("copied");
    fs::copy(&new.certificate, &issued.certificate).expect("copied");
    reload(&server, READ);
    let mut fresh = Client::new(&authority).connect((std::net::Ipv4Addr::LOCALHOST, port).into()).expect("TLS");
    assert_eq!(shown(&mut fresh), first_certificate(&new.certificate));
    assert!(matches!(old.call(&["PING"]), Ok(Frame::Line(b'+', _))), "who was there stays");
    assert_eq!(setting(&mut server.connect(), "timeout"), "9");
}

#[test]
fn a_reload_from_a_disk_that_hangs_stops_nobody() {
    let authority = Authority::new();
    let (issued, number, authorities) = (authority.issue(), free_port().to_string(), authority.certificate());
    let file = File::new("timeout = 5\n");
    let mut flags: Vec<&str> = tls::flags(&number, &issued, &authorities, "no");
    // Named by the file, so that the reload names another one, which nobody else looks at.
    let named = flags.iter().position(|flag| *flag == "--tls-cert-file").expect("the certificate");
    flags.drain(named..named + 2);
    let certificate = |path: &Path| format!("timeout = 5\ntls-cert-file = \"{}\"\n", path.display());
    file.write(&certificate(Path::new(&issued.certificate)));
    flags.extend(file.flags());
    let server = Server::start("memory://", &flags);
    let hanging = file.path.with_file_name("hanging.pem");
    make_hanging(&hanging);
    file.write(&certificate(&hanging));
    server.signal("HUP");
    let reading = read_in_vain(&hanging);
    let mut connection = server.connect();
    assert!(is_ok(&connection.call(&["SELECT", "1"]).expect("a reply")));
    assert_eq!(setting(&mut connection, "timeout"), "5");
    drop(reading);
    server.wait_for_log("the settings are no good; nothing was changed");
}

#[test]
fn a_server_whose_reload_hangs_stops_all_the_same() {
    let file = File::new("timeout = 5\n");
    let mut flags = file.flags().to_vec();
    flags.extend(["--shutdown-timeout", "4s"]);
    let mut server = Server::start("memory://", &flags);
    fs::remove_file(&file.path).expect("a file");
    make_hanging(&file.path);
    server.signal("HUP");
    let _reading = read_in_vain(&file.path);
    assert!(server.stop().success(), "{}", server.log());
    assert!(server.log().contains("stopped; everything is committed"), "{}", server.log());
}

#[test]
fn config_rewrite_keeps_a_change_over_a_restart_and_comments_over_a_change() {
    let file = File::new("# Ours.\ntimeout = 5 # seconds\n");
    let mut server = file.start();
    let mut connection = server.connect();
    for pair in [
        ["timeout", "9"],
        ["maxclients", "77"],
        ["protected-mode", "no"],
        ["client-output-buffer-limit", "normal 1mb 1mb 5"],
    ] {
        assert!(is_ok(&connection.call(&["CONFIG", "SET", pair[0], pair[1]]).expect("a reply")));
    }
    assert!(is_ok(&connection.call(&["CONFIG", "REWRITE"]).expect("a reply")));
    let text = fs::read_to_string(&file.path).expect("read");
    assert!(text.starts_with("# Ours.\ntimeout = 9 # seconds\nmaxclients = 77\n"), "{text}");
    let limits = setting(&mut connection, "client-output-buffer-limit");
    server.stop();
    let server = file.start();
    let mut connection = server.connect();
    assert_eq!(
        (setting(&mut connection, "timeout").as_str(), setting(&mut connection, "maxclients").as_str()),
        ("9", "77")
    );
    assert_eq!(setting(&mut connection, "client-output-buffer-limit"), limits);
    let without = Server::start("memory://", &[]);
    let refusal = without.call(&["CONFIG", "REWRITE"]);
    assert_eq!(refusal, Frame::Line(b'-', b"ERR The server is running without a config file".to_vec()));
}
