//! The server's side of TLS: its certificate, its key and the authorities of its clients, read from files and taken anew
//! when those change. A file that went bad never costs a server that runs more than a warning: what was good stays.

use std::fs::File;
use std::io::{self, Read};
use std::sync::Arc;
use std::time::Duration;

use parking_lot::{Mutex, RwLock};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::danger::ClientCertVerifier;
use rustls::server::{NoClientAuth, WebPkiClientVerifier};
use rustls::{RootCertStore, ServerConfig, SupportedProtocolVersion, version};
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use crate::config::{TlsAuthClients, TlsProtocol, TlsSettings};

/// How long a peer may take for its handshake: two round trips, also over the worst of networks. Redis has no such limit,
/// and so keeps whoever connects and says nothing until its `timeout`, which is off by default.
pub const HANDSHAKE_LIMIT: Duration = Duration::from_secs(10);

/// The longest file: all authorities that a browser trusts take a quarter of it.
const FILE_BYTES_MAX: u64 = 1024 * 1024;

/// What is wrong with the settings of TLS, or with what stands in the files.
#[derive(Clone, Debug, PartialEq, Eq, Hash, thiserror::Error)]
#[error("{setting}: {reason}")]
pub struct TlsError {
    setting: &'static str,
    reason: String,
}

/// What makes TLS of a connection.
pub struct Tls {
    config: RwLock<Arc<ServerConfig>>,
    sources: Mutex<Sources>,
    /// Of this run only, so that what it makes of a key tells nobody anything.
    hasher: ahash::RandomState,
}

/// Where the certificates come from.
struct Sources {
    settings: TlsSettings,
    /// A hash of what was last found there, good or bad.
    seen: u64,
}

/// What stands in the files.
#[derive(Hash)]
struct Contents {
    certificate: Vec<u8>,
    key: Vec<u8>,
    authorities: Option<Vec<u8>>,
}

impl Tls {
    /// Reads the files.
    ///
    /// # Errors
    /// The setting that is missing or whose file is no good.
    pub fn open(settings: &TlsSettings) -> Result<Self, TlsError> {
        let hasher = ahash::RandomState::new();
        let contents = Contents::read(settings);
        let seen = hasher.hash_one(&contents);
        let config = contents.and_then(|contents| contents.config(settings))?;
        let sources = Mutex::new(Sources { settings: settings.clone(), seen });
        Ok(Self { config: RwLock::new(Arc::new(config)), sources, hasher })
    }

    /// Reads the files that these settings name, for the connections from now on.
    ///
    /// # Errors
    /// As [`Self::open`]; all is as before then.
    pub fn load(&self, settings: &TlsSettings) -> Result<(), TlsError> {
        let mut sources = self.sources.lock();
        let contents = Contents::read(settings);
        let seen = self.hasher.hash_one(&contents);
        let config = contents.and_then(|contents| contents.config(settings))?;
        *sources = Sources { settings: settings.clone(), seen };
        *self.config.write() = Arc::new(config);
        Ok(())
    }

    /// Reads the files again, and takes them if something else stands in them than the last time; answers whether. Links are
    /// followed, since Kubernetes puts new certificates in place by turning one.
    ///
    /// # Errors
    /// What is wrong with what was found, once; all is as before then.
    pub fn refresh(&self) -> Result<bool, TlsError> {
        let mut sources = self.sources.lock();
        let contents = Contents::read(&sources.settings);
        let seen = self.hasher.hash_one(&contents);
        if seen == std::mem::replace(&mut sources.seen, seen) {
            return Ok(false);
        }
        *self.config.write() = Arc::new(contents?.config(&sources.settings)?);
        Ok(true)
    }

    /// The handshake with a peer that has connected.
    ///
    /// # Errors
    /// When the peer does not speak TLS, shows no certificate that it must, or takes longer than [`HANDSHAKE_LIMIT`].
    pub async fn accept(&self, stream: TcpStream) -> io::Result<TlsStream<TcpStream>> {
        let acceptor = TlsAcceptor::from(Arc::clone(&*self.config.read()));
        let too_long = |_| io::Error::new(io::ErrorKind::TimedOut, "the handshake took too long");
        tokio::time::timeout(HANDSHAKE_LIMIT, acceptor.accept(stream)).await.map_err(too_long)?
    }
}

impl std::fmt::Debug for Tls {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("Tls")
    }
}

impl Contents {
    fn read(settings: &TlsSettings) -> Result<Self, TlsError> {
        let certificate = wanted("tls-cert-file", settings.cert_file.as_ref(), "TLS needs the server's certificate")?;
        let key = wanted("tls-key-file", settings.key_file.as_ref(), "TLS needs the key of the server's certificate")?;
        let authorities = match (&settings.ca_cert_file, settings.auth_clients) {
            (Some(path), _) => Some(read("tls-ca-cert-file", path)?),
            (None, TlsAuthClients::No) => None,
            (None, TlsAuthClients::Yes | TlsAuthClients::Optional) => {
                let reason = "expected the path of a PEM file: clients are asked for certificates, which some authority \
                              must have issued; or set tls-auth-clients to no";
                return Err(TlsError { setting: "tls-ca-cert-file", reason: reason.to_owned() });
            }
        };
        Ok(Self { certificate, key, authorities })
    }

    fn config(&self, settings: &TlsSettings) -> Result<ServerConfig, TlsError> {
        let wrong = |setting, reason: String| TlsError { setting, reason };
        let chain = certificates("tls-cert-file", settings.cert_file.as_ref(), &self.certificate)?;
        let key = PrivateKeyDer::from_pem_slice(&self.key).map_err(|_| {
            let reason = "holds no private key in PEM form and without a passphrase";
            wrong("tls-key-file", format!("{} {reason}", shown(settings.key_file.as_ref())))
        })?;
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let verifier = self.verifier(settings, &provider)?;
        let builder = ServerConfig::builder_with_provider(provider).with_protocol_versions(&versions(settings));
        let builder = builder.map_err(|error| wrong("tls-protocols", error.to_string()))?;
        builder.with_client_cert_verifier(verifier).with_single_cert(chain, key).map_err(|error| {
            if matches!(error, rustls::Error::InconsistentKeys(_)) {
                let files = (shown(settings.key_file.as_ref()), shown(settings.cert_file.as_ref()));
                return wrong(
                    "tls-key-file",
                    format!("the key in {} is not that of the certificate in {}", files.0, files.1),
                );
            }
            if matches!(error, rustls::Error::InvalidCertificate(_)) {
                return wrong("tls-cert-file", format!("{}: {error}", shown(settings.cert_file.as_ref())));
            }
            wrong("tls-key-file", format!("{}: {error}", shown(settings.key_file.as_ref())))
        })
    }

    fn verifier(
        &self,
        settings: &TlsSettings,
        provider: &Arc<rustls::crypto::CryptoProvider>,
    ) -> Result<Arc<dyn ClientCertVerifier>, TlsError> {
        let Some(authorities) = &self.authorities else { return Ok(Arc::new(NoClientAuth)) };
        let path = settings.ca_cert_file.as_ref();
        let wrong =
            |reason: String| TlsError { setting: "tls-ca-cert-file", reason: format!("{}: {reason}", shown(path)) };
        let mut roots = RootCertStore::empty();
        for authority in certificates("tls-ca-cert-file", path, authorities)? {
            roots.add(authority).map_err(|error| wrong(error.to_string()))?;
        }
        let builder = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(provider));
        let builder = match settings.auth_clients {
            TlsAuthClients::No => return Ok(Arc::new(NoClientAuth)),
            TlsAuthClients::Optional => builder.allow_unauthenticated(),
            TlsAuthClients::Yes => builder,
        };
        builder.build().map_err(|error| wrong(error.to_string()))
    }
}

fn versions(settings: &TlsSettings) -> Vec<&'static SupportedProtocolVersion> {
    let version = |protocol: &TlsProtocol| match protocol {
        TlsProtocol::V12 => &version::TLS12,
        TlsProtocol::V13 => &version::TLS13,
    };
    if settings.protocols.is_empty() {
        return rustls::DEFAULT_VERSIONS.to_vec();
    }
    settings.protocols.iter().map(version).collect()
}

/// The contents of a file that must be named.
fn wanted(setting: &'static str, path: Option<&String>, why: &str) -> Result<Vec<u8>, TlsError> {
    let missing = || TlsError { setting, reason: format!("expected the path of a PEM file: {why}") };
    read(setting, path.ok_or_else(missing)?)
}

fn read(setting: &'static str, path: &str) -> Result<Vec<u8>, TlsError> {
    let wrong = |reason: String| TlsError { setting, reason: format!("cannot read {}: {reason}", path) };
    let mut contents = Vec::new();
    let read = File::open(path).and_then(|file| file.take(FILE_BYTES_MAX + 1).read_to_end(&mut contents));
    match read {
        Ok(bytes) if bytes as u64 > FILE_BYTES_MAX => Err(wrong(format!("it is longer than {FILE_BYTES_MAX} bytes"))),
        Ok(_) => Ok(contents),
        Err(error) => Err(wrong(error.to_string())),
    }
}

fn certificates(
    setting: &'static str,
    path: Option<&String>,
    contents: &[u8],
) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let wrong = |reason: &str| TlsError { setting, reason: format!("{} {reason}", shown(path)) };
    let found = CertificateDer::pem_slice_iter(contents).collect::<Result<Vec<_>, _>>();
    let found = found.map_err(|error| wrong(&format!("is no PEM file: {error}")))?;
    if found.is_empty() { Err(wrong("holds no certificate in PEM form")) } else { Ok(found) }
}

fn shown(path: Option<&String>) -> String {
    path.map_or_else(String::new, |path| path.to_string())
}
