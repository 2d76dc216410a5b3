//! Where the server listens: each address of `bind`, on `port` and on `tls-port`. No address is taken before all of TLS
//! is known to be good.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::net::TcpListener;

use super::ServerError;
use crate::config::Settings;
use crate::tls::Tls;

/// How long a port that is taken is waited for, and how often it is tried.
const BIND_PATIENCE: Duration = Duration::from_secs(1);
const BIND_RETRY: Duration = Duration::from_millis(20);

/// One address that is listened on.
#[derive(Debug)]
pub struct Listener {
    /// The socket.
    pub socket: TcpListener,
    /// What its clients speak under the protocol; `None` for nothing.
    pub tls: Option<Arc<Tls>>,
}

/// Listens on all addresses, those without TLS first.
///
/// # Errors
/// Says which setting names an address that cannot be had, and who probably has it.
pub async fn listen(settings: &Settings, tls: Option<&Arc<Tls>>) -> Result<Vec<Listener>, ServerError> {
    let mut listeners = Vec::new();
    // Port 0 takes a free one, but beside a port for TLS it says that TLS is all that is wanted.
    if settings.port != 0 || settings.tls.port == 0 {
        for address in &settings.bind {
            let socket = bind("port", SocketAddr::new(*address, settings.port)).await?;
            listeners.push(Listener { socket, tls: None });
        }
    }
    if let Some(tls) = tls.filter(|_| settings.tls.port != 0) {
        for address in &settings.bind {
            let socket = bind("tls-port", SocketAddr::new(*address, settings.tls.port)).await?;
            listeners.push(Listener { socket, tls: Some(Arc::clone(tls)) });
        }
    }
    if listeners.is_empty() {
        return Err(ServerError::Bind("bind: no address is given".to_owned()));
    }
    Ok(listeners)
}

/// A predecessor that was killed may still be dying and hold the port for a moment.
async fn bind(setting: &str, address: SocketAddr) -> Result<TcpListener, ServerError> {
    let begun = Instant::now();
    loop {
        match TcpListener::bind(address).await {
            Err(error) if error.kind() == std::io::ErrorKind::AddrInUse && begun.elapsed() < BIND_PATIENCE => {
                tokio::time::sleep(BIND_RETRY).await;
            }
            result => return result.map_err(|error| ServerError::Bind(bind_error(setting, address, &error))),
        }
    }
}

fn bind_error(setting: &str, address: SocketAddr, error: &std::io::Error) -> String {
    if error.kind() == std::io::ErrorKind::AddrInUse {
        let next = address.port().wrapping_add(1);
        return format!("{setting}: {address} is taken: is redis-server running? Try --{setting} {next}");
    }
    format!("bind: cannot listen on {address}: {error}")
}
