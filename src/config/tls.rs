//! The settings of TLS: their rows, under redis.conf's names. What stands in the files that they name is none of this
//! file's business.

use super::reading::path;
use super::rows::put;
use super::value::{Choice, Given, Invalid, Syntax, show_yes_no};
use super::{Changes, Row};

/// Whether clients must show a certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TlsAuthClients {
    /// None is asked for.
    No,
    /// One that the authorities have issued.
    Yes,
    /// None is fine, one that the authorities have not issued is refused.
    Optional,
}

impl Choice for TlsAuthClients {
    const ALL: &'static [(&'static str, Self)] = &[("no", Self::No), ("yes", Self::Yes), ("optional", Self::Optional)];
}

/// A version of TLS.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TlsProtocol {
    /// 1.2.
    V12,
    /// 1.3.
    V13,
}

impl Choice for TlsProtocol {
    const ALL: &'static [(&'static str, Self)] = &[("TLSv1.2", Self::V12), ("TLSv1.3", Self::V13)];
}

/// The values of the settings of TLS.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsSettings {
    /// Where clients speak TLS; 0 for nowhere.
    pub port: u16,
    /// The server's certificate, and those between it and its authority.
    pub cert_file: Option<String>,
    /// The certificate's private key.
    pub key_file: Option<String>,
    /// The authorities of the clients' certificates.
    pub ca_cert_file: Option<String>,
    /// Whether clients must have one.
    pub auth_clients: TlsAuthClients,
    /// The versions; none stands for all.
    pub protocols: Vec<TlsProtocol>,
    /// Whether the metrics are served by TLS.
    pub metrics: bool,
}

impl TlsSettings {
    /// No values yet; the defaults stand in the rows alone.
    pub(super) const fn blank() -> Self {
        Self {
            port: 0,
            cert_file: None,
            key_file: None,
            ca_cert_file: None,
            auth_clients: TlsAuthClients::No,
            protocols: Vec::new(),
            metrics: false,
        }
    }
}

const PATH: Syntax = Syntax::Text { placeholder: "FILE", expected: "the path of a PEM file, or nothing" };

/// `tls-port`.
pub(super) const PORT: Row = Row {
    name: "tls-port",
    syntax: Syntax::Integer { min: 0, max: 65535 },
    default: "0",
    help: "TCP port on which clients speak TLS; 0 for none; with port 0 beside it there is nothing but TLS",
    changes: Changes::AtStart,
    apply: |settings, given| put(&mut settings.tls.port, given.integer()),
    show: |settings| settings.tls.port.to_string(),
};

/// `tls-cert-file`.
pub(super) const CERT_FILE: Row = Row {
    name: "tls-cert-file",
    syntax: PATH,
    default: "",
    help: "PEM file of the server's certificate, followed by those between it and its authority; taken anew when it changes",
    changes: Changes::AnyTime,
    apply: |settings, given| put(&mut settings.tls.cert_file, Ok(path(given))),
    show: |settings| settings.tls.cert_file.clone().unwrap_or_default(),
};

/// `tls-key-file`.
pub(super) const KEY_FILE: Row = Row {
    name: "tls-key-file",
    syntax: PATH,
    default: "",
    help: "PEM file of the certificate's private key, without a passphrase; taken anew when it changes",
    changes: Changes::AnyTime,
    apply: |settings, given| put(&mut settings.tls.key_file, Ok(path(given))),
    show: |settings| settings.tls.key_file.clone().unwrap_or_default(),
};

/// `tls-ca-cert-file`.
pub(super) const CA_CERT_FILE: Row = Row {
    name: "tls-ca-cert-file",
    syntax: PATH,
    default: "",
    help: "PEM file of the authorities whose certificates clients may show; taken anew when it changes",
    changes: Changes::AnyTime,
    apply: |settings, given| put(&mut settings.tls.ca_cert_file, Ok(path(given))),
    show: |settings| settings.tls.ca_cert_file.clone().unwrap_or_default(),
};

/// `tls-auth-clients`.
pub(super) const AUTH_CLIENTS: Row = Row {
    name: "tls-auth-clients",
    syntax: Syntax::Choice(TlsAuthClients::names),
    default: "yes",
    help: "whether clients must show a certificate of tls-ca-cert-file; optional: none is fine, a wrong one is not",
    changes: Changes::AnyTime,
    apply: |settings, given| put(&mut settings.tls.auth_clients, given.choice()),
    show: |settings| settings.tls.auth_clients.name().to_owned(),
};

/// `tls-protocols`.
pub(super) const PROTOCOLS: Row = Row {
    name: "tls-protocols",
    syntax: Syntax::List {
        placeholder: "VERSION",
        expected: "TLSv1.2, TLSv1.3, both with a blank between, or nothing",
    },
    default: "",
    help: "the versions of TLS that clients may speak; empty for both, TLSv1.2 and TLSv1.3",
    changes: Changes::AnyTime,
    apply: |settings, given| put(&mut settings.tls.protocols, protocols(given)),
    show: |settings| settings.tls.protocols.iter().map(|version| version.name()).collect::<Vec<_>>().join(" "),
};

/// `metrics-tls`.
pub(super) const METRICS: Row = Row {
    name: "metrics-tls",
    syntax: Syntax::YesNo,
    default: "no",
    help: "serve the metrics by TLS, with the certificate of tls-cert-file and the rule of tls-auth-clients",
    changes: Changes::AtStart,
    apply: |settings, given| put(&mut settings.tls.metrics, given.yes_no()),
    show: |settings| show_yes_no(settings.tls.metrics),
};

fn protocols(given: &Given<'_>) -> Result<Vec<TlsProtocol>, Invalid> {
    let version = |word: &str| TlsProtocol::ALL.iter().find(|(name, _)| name.eq_ignore_ascii_case(word));
    given.words().map(|word| version(word).map(|(_, version)| *version).ok_or_else(|| given.unexpected())).collect()
}
