//! Certificates for tests, made by `openssl` in a folder that goes away with them.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};

use tempfile::TempDir;

/// What the certificates say besides their names.
const EXTENSIONS: &str = "[req]
distinguished_name = name
[name]
[authority]
basicConstraints = critical, CA:TRUE
subjectKeyIdentifier = hash
[here]
subjectAltName = DNS:localhost, IP:127.0.0.1
[elsewhere]
subjectAltName = DNS:elsewhere.example
";

/// Who issues certificates.
#[derive(Debug)]
pub struct Authority {
    folder: TempDir,
    issued: AtomicU32,
}

/// A certificate and its key, each in a PEM file.
#[derive(Debug)]
pub struct Issued {
    pub certificate: PathBuf,
    pub key: PathBuf,
}

impl Authority {
    /// A new one, which nobody else trusts.
    pub fn new() -> Self {
        let folder = tempfile::Builder::new().prefix("sojourn-certificates-").tempdir().expect("a folder");
        std::fs::write(folder.path().join("extensions"), EXTENSIONS).expect("a file");
        let authority = Self { folder, issued: AtomicU32::new(0) };
        let made = ["-x509", "-extensions", "authority", "-days", "30", "-out", "authority.pem"];
        // Two of the same name would be told apart by their signatures only.
        authority.request(&format!("authority {}", fastrand::u64(..)), "authority.key", &made);
        authority
    }

    /// Its own certificate.
    pub fn certificate(&self) -> PathBuf {
        self.file("authority.pem")
    }

    /// A file in its folder.
    pub fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// A certificate for this machine, or for a client.
    pub fn issue(&self) -> Issued {
        self.issue_for("here")
    }

    /// A certificate for a machine of another name.
    pub fn issue_elsewhere(&self) -> Issued {
        self.issue_for("elsewhere")
    }

    fn issue_for(&self, place: &str) -> Issued {
        let name = format!("{place}-{}", self.issued.fetch_add(1, Ordering::Relaxed));
        let (request, certificate) = (format!("{name}.csr"), format!("{name}.pem"));
        let key = format!("{name}.key");
        self.request(&name, &key, &["-out", &request]);
        let serial = fastrand::u32(1..).to_string();
        let mut arguments = vec!["x509", "-req", "-in", &request, "-out", &certificate, "-days", "30"];
        arguments.extend(["-CA", "authority.pem", "-CAkey", "authority.key", "-set_serial", &serial]);
        arguments.extend(["-extfile", "extensions", "-extensions", place]);
        self.openssl(&arguments);
        Issued { certificate: self.file(&certificate), key: self.file(&key) }
    }

    /// A new key, and a request for a certificate or the certificate itself.
    fn request(&self, name: &str, key: &str, further: &[&str]) {
        let subject = format!("/CN={name}");
        let mut arguments = vec!["req", "-new", "-config", "extensions", "-subj", &subject, "-keyout", key, "-nodes"];
        arguments.extend(["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1"]);
        arguments.extend(further);
        self.openssl(&arguments);
    }

    fn openssl(&self, arguments: &[&str]) {
        let output = Command::new("openssl").args(arguments).current_dir(self.folder.path()).output();
        let output = output.expect("openssl is needed for this test");
        assert!(output.status.success(), "openssl {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    }
}

/// A path as a flag takes it.
pub fn text(path: &Path) -> &str {
    path.to_str().expect("paths of tests are UTF-8")
}
