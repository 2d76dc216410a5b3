//! The sockets that a service manager made and hands over at the start (systemd's socket activation), so that a restart
//! refuses nobody: who connects meanwhile waits in them. What is no listening socket of TCP must end the start, since
//! nobody would be served there.

use std::io;
use std::net::TcpListener;

use listenfd::ListenFd;

/// Where systemd says the names of the sockets, with colons between them.
const NAMES: &str = "LISTEN_FDNAMES";

/// The name of a socket whose clients speak TLS (`FileDescriptorName=tls`); any other serves without.
const TLS_NAME: &str = "tls";

/// A socket that was handed over.
#[derive(Debug)]
pub struct Inherited {
    /// The socket.
    pub socket: TcpListener,
    /// Whether its clients speak TLS.
    pub is_tls: bool,
}

/// Takes what was handed over to this process, once: to be called before any thread is started, since it clears the
/// environment.
///
/// # Errors
/// When something was handed over that is no TCP socket.
pub fn take() -> io::Result<Vec<Inherited>> {
    let names = std::env::var(NAMES).unwrap_or_default();
    let mut names = names.split(':');
    let mut handed = ListenFd::from_env();
    let mut inherited = Vec::with_capacity(handed.len());
    for position in 0..handed.len() {
        let is_tls = names.next() == Some(TLS_NAME);
        let problem = |error: io::Error| io::Error::new(error.kind(), format!("socket activation: {error}"));
        if let Some(socket) = handed.take_tcp_listener(position).map_err(problem)? {
            socket.set_nonblocking(true)?;
            inherited.push(Inherited { socket, is_tls });
        }
    }
    Ok(inherited)
}
