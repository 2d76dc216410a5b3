//! TLS: the flags of a server, and a client. Which authority it trusts, which certificate it shows and which version it
//! speaks is each test's choice.

use std::io;
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use rustls::client::Resumption;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned, SupportedProtocolVersion, version};

use super::certificates::{Authority, Issued, text};
use super::resp::{Connection, Frame};

/// The flags of redis-server and of Sojourn, which are the same.
pub fn flags<'a>(port: &'a str, issued: &'a Issued, authorities: &'a Path, auth_clients: &'a str) -> Vec<&'a str> {
    let files = ["--tls-cert-file", text(&issued.certificate), "--tls-key-file", text(&issued.key)];
    let clients = ["--tls-ca-cert-file", text(authorities), "--tls-auth-clients", auth_clients];
    [&["--tls-port", port][..], &files, &clients].concat()
}

/// No answer may take longer.
const PATIENCE: Duration = Duration::from_secs(20);

pub type Stream = StreamOwned<ClientConnection, TcpStream>;
pub type Secured = Connection<Stream>;

/// How to connect.
pub struct Client {
    config: Arc<ClientConfig>,
}

impl Client {
    /// One without a certificate.
    pub fn new(authority: &Authority) -> Self {
        Self::speaking(&[&version::TLS12, &version::TLS13], authority, None)
    }

    /// One that shows a certificate.
    pub fn showing(authority: &Authority, certificate: &Issued) -> Self {
        Self::speaking(&[&version::TLS12, &version::TLS13], authority, Some(certificate))
    }

    /// One that speaks these versions only.
    pub fn speaking(
        versions: &[&'static SupportedProtocolVersion],
        authority: &Authority,
        certificate: Option<&Issued>,
    ) -> Self {
        let mut roots = RootCertStore::empty();
        roots.add(first_certificate(&authority.certificate())).expect("a good authority");
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = ClientConfig::builder_with_provider(provider).with_protocol_versions(versions);
        let builder = builder.expect("versions that exist").with_root_certificates(roots);
        let config = match certificate {
            None => builder.with_no_client_auth(),
            Some(Issued { certificate, key }) => {
                let key = PrivateKeyDer::from_pem_file(key).expect("a key");
                builder.with_client_auth_cert(vec![first_certificate(certificate)], key).expect("a good certificate")
            }
        };
        Self { config: Arc::new(config) }
    }

    /// One whose every handshake is a whole one.
    pub fn forgetful(authority: &Authority) -> Self {
        let Self { config } = Self::new(authority);
        let mut config = Arc::unwrap_or_clone(config);
        config.resumption = Resumption::disabled();
        Self { config: Arc::new(config) }
    }

    /// The first message of a handshake.
    pub fn hello(&self) -> Vec<u8> {
        let mut hello = Vec::new();
        self.begin().expect("a good name").write_tls(&mut hello).expect("a vector takes all");
        hello
    }

    /// Connects. The handshake happens with the first byte.
    pub fn dial(&self, address: SocketAddr) -> io::Result<Stream> {
        let stream = TcpStream::connect_timeout(&address, PATIENCE)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        Ok(StreamOwned::new(self.begin()?, stream))
    }

    fn begin(&self) -> io::Result<ClientConnection> {
        let name = ServerName::try_from("localhost").expect("a good name");
        ClientConnection::new(Arc::clone(&self.config), name).map_err(io::Error::other)
    }

    /// Connects and asks for a PONG: with TLS 1.3 a client learns only then that its certificate was refused.
    pub fn connect(&self, address: SocketAddr) -> io::Result<Secured> {
        let mut connection = Connection::over(self.dial(address)?);
        let reply = connection.call(&["PING"])?;
        if reply == Frame::Line(b'+', b"PONG".to_vec()) {
            return Ok(connection);
        }
        Err(io::Error::other(format!("{reply:?}")))
    }
}

/// The certificate that the server has shown.
pub fn shown(connection: &mut Secured) -> CertificateDer<'static> {
    let shown = connection.stream().conn.peer_certificates().expect("a handshake")[0].clone();
    shown.into_owned()
}

/// The first certificate of a file.
pub fn first_certificate(path: &Path) -> CertificateDer<'static> {
    CertificateDer::from_pem_file(path).expect("a certificate")
}
