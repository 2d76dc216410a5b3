//! The service manager's side, played by the test: it makes the sockets, hands them over, and is told what the server is at.

use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixDatagram;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use tempfile::TempDir;

use super::repository;
use super::support::certificates::Authority;
use super::support::process::dying_with_us;
use super::support::resp::{Connection, Frame};
use super::support::server::{Over, Server, command, wait_until};
use super::support::tls::{self, Client};

/// The shell moves the sockets that it gets as its standard input and output to where systemd hands them over.
const HAND_OVER: &str = r#"exec 3<&0 4<&1 0</dev/null 1>&2; LISTEN_PID=$$ exec "$@""#;

/// A place where a service manager hears what it is told.
struct Manager {
    folder: TempDir,
    told: UnixDatagram,
}

impl Manager {
    fn new() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let told = UnixDatagram::bind(folder.path().join("notify")).expect("a socket");
        told.set_read_timeout(Some(Duration::from_millis(20))).expect("a timeout");
        Self { folder, told }
    }

    fn tell_it_to<'a>(&self, command: &'a mut Command) -> &'a mut Command {
        command.env("NOTIFY_SOCKET", self.folder.path().join("notify"))
    }

    /// Waits until it is told a message with a line that begins so; answers what it was told until then.
    fn told_until(&self, line: &str) -> Vec<String> {
        let mut heard = Vec::new();
        wait_until(line, || {
            let mut message = [0; 1024];
            let Ok(length) = self.told.recv(&mut message) else { return false };
            heard.push(String::from_utf8_lossy(&message[..length]).into_owned());
            heard.last().is_some_and(|message| message.lines().any(|told| told.starts_with(line)))
        });
        heard
    }
}

fn socket() -> (TcpListener, SocketAddr) {
    let socket = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a socket");
    let address = socket.local_addr().expect("its address");
    (socket, address)
}

fn handed(socket: &TcpListener) -> Stdio {
    OwnedFd::from(socket.try_clone().expect("a second handle")).into()
}

/// A server that listens on these sockets, one of each name, and on no other.
fn activated(sockets: &[(&TcpListener, &str)], database_url: &str, arguments: &[&str]) -> Command {
    let server = command(1, database_url, arguments);
    let mut shell = dying_with_us("sh");
    shell.args(["-c", HAND_OVER, "sh"]).arg(server.get_program()).args(server.get_args());
    let names: Vec<_> = sockets.iter().map(|(_, name)| *name).collect();
    shell.env("LISTEN_FDS", sockets.len().to_string()).env("LISTEN_FDNAMES", names.join(":"));
    shell.stdin(handed(sockets[0].0));
    if let Some((second, _)) = sockets.get(1) {
        shell.stdout(handed(second));
    }
    shell
}

/// Connects over and over until it is told to stop, as a new client each time; how many of its connections the server ended
/// before it answered. None may be refused.
fn connect_until(address: SocketAddr, over: &AtomicBool) -> usize {
    let mut ended = 0;
    while !over.load(Ordering::Relaxed) {
        let mut connection = Connection::open(address).expect("nobody is refused");
        match connection.call(&["PING"]) {
            Ok(Frame::Line(b'+', _)) => {}
            Ok(Frame::Line(b'-', text)) if text.starts_with(b"LOADING") => {}
            Ok(other) => panic!("{other:?}"),
            Err(_) => ended += 1,
        }
    }
    ended
}

#[test]
fn a_restart_behind_a_socket_refuses_no_connection() {
    let folder = tempfile::tempdir().expect("a folder");
    let url = format!("sqlite://{}", folder.path().join("s.db").display());
    let (socket, address) = socket();
    let start = || Server::spawned_by(activated(&[(&socket, "plain")], &url, &[]), address);
    let mut server = start();
    server.wait_until_ready();
    server.call(&["SET", "sess:a", "{}", "EX", "600"]);
    let over = AtomicBool::new(false);
    let ended = thread::scope(|scope| {
        let told = Over(&over);
        let clients: Vec<_> = (0..4).map(|_| scope.spawn(|| connect_until(address, &over))).collect();
        for _ in 0..3 {
            assert!(server.stop().success(), "{}", server.log());
            server = start();
            server.wait_until_ready();
        }
        drop(told);
        clients.into_iter().map(|client| client.join().expect("no panic")).sum::<usize>()
    });
    assert!(ended <= 4 * 3, "a stop may end the one connection that each client has, no more: {ended}");
    assert_eq!(server.call(&["GET", "sess:a"]).bytes(), Some(&b"{}"[..]));
    let port = server.call(&["CONFIG", "GET", "port"]);
    assert_eq!(port.items()[1].bytes(), Some(address.port().to_string().as_bytes()), "the settings say so");
    server.stop();
    drop(socket);
    assert_eq!(
        Connection::open(address).map(drop).map_err(|error| error.kind()),
        Err(io::ErrorKind::ConnectionRefused)
    );
}

#[test]
fn a_socket_named_tls_speaks_tls() {
    let authority = Authority::new();
    let (issued, authorities) = (authority.issue(), authority.certificate());
    let ((plain, plain_address), (secured, secured_address)) = (socket(), socket());
    let flags = tls::flags("0", &issued, &authorities, "no");
    let command = activated(&[(&plain, "plain"), (&secured, "tls")], "memory://", &flags);
    let mut server = Server::spawned_by(command, plain_address);
    server.wait_until_ready();
    let mut client = Client::new(&authority).connect(secured_address).expect("TLS");
    assert!(matches!(client.call(&["PING"]), Ok(Frame::Line(b'+', _))));
    let command = activated(&[(&plain, "tls")], "memory://", &[]);
    let mut without = Server::spawned_by(command, plain_address);
    assert_eq!(without.wait_for_end().code(), Some(2));
    assert!(without.log().contains("tls-cert-file"), "{}", without.log());
}

#[test]
fn what_is_no_socket_ends_the_start() {
    let (unused, address) = socket();
    let mut command = activated(&[(&unused, "plain")], "memory://", &[]);
    command.stdin(Stdio::null());
    let mut server = Server::spawned_by(command, address);
    assert_eq!(server.wait_for_end().code(), Some(1));
    assert!(server.log().contains("socket activation: "), "{}", server.log());
}

#[test]
fn the_service_manager_is_told_of_start_life_and_stop() {
    let manager = Manager::new();
    let (socket, address) = socket();
    let mut command = activated(&[(&socket, "plain")], "memory://", &[]);
    manager.tell_it_to(&mut command).env("WATCHDOG_USEC", "100000");
    let mut server = Server::spawned_by(command, address);
    let told = manager.told_until("READY=1");
    assert!(matches!(server.try_call(&["PING"]), Some(Frame::Line(b'+', _))), "who is ready answers");
    // Another task tells the status, so it may come first.
    if !told.iter().any(|message| message.contains("STATUS=serving")) {
        manager.told_until("STATUS=serving");
    }
    manager.told_until("WATCHDOG=1");
    server.signal("HUP");
    let reloading = manager.told_until("RELOADING=1").pop();
    assert!(reloading.is_some_and(|message| message.contains("MONOTONIC_USEC=")), "systemd wants to know when");
    manager.told_until("READY=1");
    assert!(server.stop().success());
    manager.told_until("STOPPING=1");
}

#[test]
fn a_server_that_waits_for_its_database_is_not_ready_and_says_so() {
    let folder = tempfile::tempdir().expect("a folder");
    let url = format!("sqlite://{}", folder.path().join("s.db").display());
    let mut owner = Server::start(&url, &[]);
    let manager = Manager::new();
    let (socket, address) = socket();
    let mut command = activated(&[(&socket, "plain")], &url, &[]);
    manager.tell_it_to(&mut command);
    let server = Server::spawned_by(command, address);
    let status = manager.told_until("STATUS=waiting for the database");
    assert!(status.iter().all(|message| !message.contains("READY=1")), "{status:?}");
    owner.stop();
    manager.told_until("READY=1");
    wait_until("an answer", || matches!(server.try_call(&["PING"]), Some(Frame::Line(b'+', _))));
}

/// `systemd-analyze` judges the unit as it would stand on a machine; the README quotes its score.
#[test]
fn the_unit_is_as_hardened_as_the_readme_says() {
    let unit = repository("config/systemd/sojourn.service");
    let judged = Command::new("systemd-analyze").args(["security", "--offline=true"]).arg(unit).output();
    let report = String::from_utf8_lossy(&judged.expect("systemd-analyze runs").stdout).into_owned();
    let score = report.rsplit("sojourn.service: ").next().and_then(|rest| rest.split(' ').next()).expect("a score");
    let readme = std::fs::read_to_string(repository("README.md")).expect("the README");
    assert!(readme.contains(&format!("`systemd-analyze security` gives it {score}")), "{score}");
}
