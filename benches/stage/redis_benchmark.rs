//! redis-benchmark as every benchmark calls it: bounded in time, and ending with its bounds and with us.

use std::net::SocketAddr;
use std::process::Stdio;

use super::Result;
use crate::support::process::dying_with_us;

/// No run takes longer, in seconds.
const RUN_SECONDS_MAX: &str = "120";

/// How much it does at a time, and in all.
#[derive(Clone, Copy, Debug)]
pub struct Run {
    /// Connections.
    pub connections: u32,
    /// Requests under way on each.
    pub pipeline: u32,
    /// Over so many sessions.
    pub keys: u32,
    /// Requests.
    pub requests: u64,
}

impl Run {
    /// Sends this command; answers what it prints.
    ///
    /// # Errors
    /// When it says that something is wrong, as it does at an error reply, or takes too long.
    pub fn send(&self, address: SocketAddr, command: &[&str]) -> Result<String> {
        let numbers = [u64::from(self.connections), u64::from(self.pipeline), u64::from(self.keys), self.requests];
        let [connections, pipeline, keys, requests] = numbers.map(|number| number.to_string());
        let output = dying_with_us("timeout")
            .args([RUN_SECONDS_MAX, "setpriv", "--pdeathsig", "KILL", "--", "redis-benchmark", "--precision", "3"])
            .args(["-h", &address.ip().to_string(), "-p", &address.port().to_string()])
            .args(["-c", &connections, "-P", &pipeline, "-r", &keys, "-n", &requests])
            .args(command)
            .stdin(Stdio::null())
            .output()?;
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        if output.status.success() {
            return Ok(text);
        }
        let errors = String::from_utf8_lossy(&output.stderr);
        Err(format!("redis-benchmark ended with {}: {text}{errors}", output.status).into())
    }
}
