//! Where the server listens: each address of `bind`, on `port` and on `tls-port`. No address is taken before all of TLS
//! is known to be good.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::net::TcpListener;

use super::ServerError;
use super::inherited::Inherited;
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

/// Reads what TLS needs, if anything is served by it, and listens: on the sockets that were handed over, else on all addresses.
///
/// # Errors
/// Says which setting names a file that is no good or an address that cannot be had.
pub async fn open(
    settings: &mut Settings,
    inherited: Vec<Inherited>,
) -> Result<(Option<Arc<Tls>>, Vec<Listener>), ServerError> {
    let needs_tls = settings.needs_tls() || inherited.iter().any(|socket| socket.is_tls);
    let tls = if needs_tls { Some(Arc::new(Tls::open(&settings.tls)?)) } else { None };
    let listeners = if inherited.is_empty() {
        listen(settings, tls.as_ref()).await?
    } else {
        adopt(inherited, settings, tls.as_ref())?
    };
    Ok((tls, listeners))
}

/// Listens on the sockets that were handed over, those without TLS first. Nothing is bound beside them: who makes the sockets
/// decides which there are, and the settings are made to say so.
fn adopt(
    inherited: Vec<Inherited>,
    settings: &mut Settings,
    tls: Option<&Arc<Tls>>,
) -> Result<Vec<Listener>, ServerError> {
    let mut listeners = Vec::with_capacity(inherited.len());
    for Inherited { socket, is_tls } in inherited {
        let tls = tls.filter(|_| is_tls).cloned();
        listeners.push(Listener { socket: TcpListener::from_std(socket)?, tls });
    }
    listeners.sort_by_key(|listener| listener.tls.is_some());
    let address = |listener: &Listener| listener.socket.local_addr();
    let port = |is_tls: bool| {
        let first = listeners.iter().find(|listener| listener.tls.is_some() == is_tls);
        first.map_or(Ok(0), |listener| address(listener).map(|address| address.port()))
    };
    (settings.port, settings.tls.port) = (port(false)?, port(true)?);
    let mut bind = Vec::new();
    for listener in &listeners {
        let address = address(listener)?.ip();
        if !bind.contains(&address) {
            bind.push(address);
        }
    }
    settings.bind = bind;
    Ok(listeners)
}

/// Listens on all addresses, those without TLS first. An error says who probably has an address that cannot be had.
async fn listen(settings: &Settings, tls: Option<&Arc<Tls>>) -> Result<Vec<Listener>, ServerError> {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn each_address_of_the_sockets_handed_over_is_named_once() {
        let addresses = ["127.0.0.1", "127.0.0.2", "127.0.0.1", "127.0.0.2"];
        let inherited = addresses.map(|address| {
            let socket = std::net::TcpListener::bind((address, 0)).unwrap();
            socket.set_nonblocking(true).unwrap();
            Inherited { socket, is_tls: false }
        });
        let mut settings = Settings::default();
        assert_eq!(adopt(inherited.into(), &mut settings, None).unwrap().len(), 4);
        assert_eq!(settings.bind, [1, 2].map(|last| std::net::IpAddr::from([127, 0, 0, last])));
    }
}
