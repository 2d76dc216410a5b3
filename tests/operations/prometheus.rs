//! A real Prometheus that scrapes the servers of a test, plays our alerts and is asked by promtool.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::process::{Child, Command, Stdio};
use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::Value;
use tempfile::TempDir;

use super::repository;
use super::support::process::dying_with_us;
use super::support::server::free_port;

/// A Prometheus with its data in a folder that goes with it.
pub struct Prometheus {
    folder: TempDir,
    address: SocketAddr,
    child: Child,
}

impl Prometheus {
    /// Scrapes these servers every second and plays our alerts.
    pub fn start(targets: &[SocketAddr]) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, free_port()));
        let targets: Vec<_> = targets.iter().map(|target| format!("'{target}'")).collect();
        let config = format!(
            "global: {{ scrape_interval: 1s, evaluation_interval: 1s }}\nrule_files: ['{}']\nscrape_configs:\n  - job_name: sojourn\n    \
             static_configs: [{{ targets: [{}] }}]\n",
            repository("dashboards/alerts.yml").display(),
            targets.join(", ")
        );
        fs::write(folder.path().join("prometheus.yml"), config).expect("written");
        let log = fs::File::create(folder.path().join("log")).expect("a log");
        let child = dying_with_us("prometheus")
            .arg(format!("--config.file={}", folder.path().join("prometheus.yml").display()))
            .arg(format!("--storage.tsdb.path={}", folder.path().join("data").display()))
            .arg(format!("--web.listen-address={address}"))
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .expect("prometheus starts");
        Self { folder, address, child }
    }

    /// What a query finds, one line each; an error says what Prometheus says.
    pub fn query(&self, query: &str) -> Result<Vec<String>, String> {
        let url = format!("http://{}", self.address);
        let output = Command::new("promtool").args(["query", "instant", &url, query]).output().expect("promtool runs");
        if output.status.success() {
            // Nothing is an empty line.
            let found = String::from_utf8_lossy(&output.stdout).into_owned();
            Ok(found.lines().filter(|line| !line.is_empty()).map(str::to_owned).collect())
        } else {
            Err(String::from_utf8_lossy(&output.stderr).into_owned())
        }
    }

    /// What a query finds for each of the last seconds, as Prometheus's JSON has it.
    pub fn query_range(&self, query: &str, seconds: u64) -> Value {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_secs();
        let output = Command::new("promtool")
            .args(["query", "--format=json", "range", "--step=1s"])
            .args([format!("--start={}", now - seconds), format!("--end={now}")])
            .args([format!("http://{}", self.address), query.to_owned()])
            .output()
            .expect("promtool runs");
        serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{query}: {error}: {output:?}"))
    }

    /// What it says of itself.
    pub fn log(&self) -> String {
        fs::read_to_string(self.folder.path().join("log")).unwrap_or_default()
    }
}

impl Drop for Prometheus {
    fn drop(&mut self) {
        // Either fails only if it has ended by itself.
        let _ended = self.child.kill();
        let _ended = self.child.wait();
    }
}
