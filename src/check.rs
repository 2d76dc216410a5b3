//! `sojourn check`: looks at everything that a start would need and says what to mend, before the start or beside a server that
//! runs. It changes nothing, and a server that runs must not notice it.

use std::fmt::Write as _;
use std::net::{IpAddr, SocketAddr, TcpListener};

use crate::app::Users;
use crate::commands::acl;
use crate::config::{Loaded, Settings};
use crate::database::{self, DatabaseSettings, Finding, Inspection, Verdict};
use crate::server;
use crate::tls::Tls;

/// What was found, in the order in which a start would meet it.
#[derive(Debug)]
pub struct Report(Vec<Finding>);

impl Report {
    /// A report of a single finding: where even the settings are no good, nothing else can be looked at.
    #[must_use]
    pub fn of_settings_fault(sentence: String) -> Self {
        Self(vec![Finding::fault("settings", sentence)])
    }

    /// Whether the server would start and serve.
    #[must_use]
    pub fn is_good(&self) -> bool {
        self.0.iter().all(|finding| finding.verdict != Verdict::Fault)
    }

    /// One line for each finding, and the sum.
    #[must_use]
    pub fn text(&self) -> String {
        let mut text = String::new();
        for Finding { verdict, subject, sentence } in &self.0 {
            let word = match verdict {
                Verdict::Good => "ok",
                Verdict::Warning => "warning",
                Verdict::Fault => "FAULT",
            };
            // Writing to a text cannot fail.
            let _ = writeln!(text, "{word:7}  {subject}: {sentence}");
        }
        let count = |verdict| self.0.iter().filter(|finding| finding.verdict == verdict).count();
        let (faults, warnings) = (count(Verdict::Fault), count(Verdict::Warning));
        let _ =
            writeln!(text, "{}: {faults} faults, {warnings} warnings", if faults == 0 { "good" } else { "not good" });
        text
    }
}

/// Looks at everything that these settings ask for.
pub async fn check(loaded: &Loaded, database: &DatabaseSettings) -> Report {
    let settings = &loaded.settings;
    let Inspection { findings, owner } = database::inspect(database).await;
    let mut all = vec![sources(loaded)];
    all.extend(loaded.warnings.iter().map(|warning| Finding::warning("settings", warning.clone())));
    all.extend(durability(settings));
    all.extend(findings);
    all.extend(tls(settings));
    all.extend(users(settings));
    all.extend(access(settings));
    all.push(open_files(settings));
    all.extend(ports(loaded, owner.as_deref()));
    Report(all)
}

fn sources(loaded: &Loaded) -> Finding {
    let file = loaded.file.as_ref().map_or_else(|| "no file".to_owned(), |file| file.display().to_string());
    let beyond = loaded.beyond_file.len();
    Finding::good("settings", format!("{file}, and {beyond} by flags or the environment"))
}

fn durability(settings: &Settings) -> Option<Finding> {
    settings.is_memory_only().then(|| {
        Finding::warning(
            "database",
            "memory:// keeps nothing: all sessions are lost at exit; set database-url to keep them",
        )
    })
}

fn tls(settings: &Settings) -> Option<Finding> {
    // Files without a port may be for sockets of a service manager.
    let is_wanted = settings.needs_tls() || settings.tls.cert_file.is_some();
    is_wanted.then(|| match Tls::open(&settings.tls) {
        Ok(_) => Finding::good("TLS", "certificate, key and authorities can be read and fit"),
        Err(error) => Finding::fault("TLS", error.to_string()),
    })
}

fn users(settings: &Settings) -> Option<Finding> {
    let path = settings.aclfile.as_ref()?;
    Some(match acl::load_at_start(&Users::new(settings.password()), settings) {
        Ok(()) => Finding::good("aclfile", format!("the users in {path} are good")),
        Err(sentence) => Finding::fault("aclfile", sentence),
    })
}

/// Who can come in from other machines.
fn access(settings: &Settings) -> Option<Finding> {
    let is_open_to_others = settings.bind.iter().any(|address| !address.to_canonical().is_loopback());
    if !is_open_to_others || settings.requirepass.is_some() || settings.aclfile.is_some() {
        return None;
    }
    Some(if settings.protected_mode {
        let sentence = "bind lets other machines connect, but without a password they are refused (protected-mode); set requirepass or aclfile";
        Finding::warning("access", sentence)
    } else {
        let sentence = "everybody who reaches the port can read all sessions: set requirepass or aclfile";
        Finding::warning("access", sentence)
    })
}

fn open_files(settings: &Settings) -> Finding {
    let (wanted, allowed) = (settings.maxclients, server::clients_allowed(settings.maxclients));
    if allowed < wanted {
        let sentence = format!(
            "the limit of open files allows {allowed} clients, fewer than maxclients ({wanted}): raise it (ulimit -n, LimitNOFILE)"
        );
        return Finding::warning("limits", sentence);
    }
    Finding::good("limits", format!("the limit of open files allows {wanted} clients"))
}

/// Each address that the start would listen on. One that the owner of the database may have is as it should be.
fn ports(loaded: &Loaded, owner: Option<&str>) -> Vec<Finding> {
    let settings = &loaded.settings;
    let at = |port: u16| settings.bind.iter().map(move |address: &IpAddr| SocketAddr::new(*address, port));
    let plain = at(settings.port).map(|address| ("port", address));
    let secured = at(settings.tls.port).map(|address| ("tls-port", address));
    let listened = plain.chain(secured).filter(|(_, address)| address.port() != 0);
    let mut findings: Vec<_> = listened.map(|(setting, address)| port(setting, address, owner)).collect();
    if let Some(address) = settings.metrics_addr {
        let mut finding = port("metrics-addr", address, owner);
        // By default the server starts without it.
        if finding.verdict == Verdict::Fault && !loaded.explicit.contains("metrics-addr") {
            finding.verdict = Verdict::Warning;
        }
        findings.push(finding);
    }
    findings
}

fn port(setting: &str, address: SocketAddr, owner: Option<&str>) -> Finding {
    match (TcpListener::bind(address), owner) {
        (Ok(_), _) => Finding::good(setting, format!("{address} is free")),
        (Err(error), Some(owner)) if error.kind() == std::io::ErrorKind::AddrInUse => {
            Finding::good(setting, format!("{address} is taken, as it should be while {owner} serves"))
        }
        (Err(error), None) if error.kind() == std::io::ErrorKind::AddrInUse => Finding::fault(
            setting,
            format!(
                "{address} is taken, by redis-server or by systemd's socket perhaps: end that, or choose another {setting}"
            ),
        ),
        (Err(error), _) => {
            Finding::fault(setting, format!("cannot listen on {address}: {error}; choose another address"))
        }
    }
}
