//! What INFO says of the process and its machine.

use super::super::connection::REDIS_VERSION;
use super::Lines;
use crate::app::App;

const SECONDS_PER_DAY: u64 = 86_400;

/// `# Server`.
pub(super) fn server(app: &App, lines: &mut Lines) {
    let uptime_s = app.started.elapsed().as_secs();
    lines.put("redis_version", REDIS_VERSION);
    lines.put("redis_mode", "standalone");
    lines.put_text("os", &operating_system());
    lines.put("arch_bits", usize::BITS);
    lines.put("process_id", std::process::id());
    lines.put("run_id", &app.run_id);
    lines.put("tcp_port", app.port);
    lines.put("server_time_usec", app.clock.now_us());
    lines.put("uptime_in_seconds", uptime_s);
    lines.put("uptime_in_days", uptime_s / SECONDS_PER_DAY);
    let executable = std::env::current_exe().map(|path| path.display().to_string());
    lines.put_text("executable", &executable.unwrap_or_default());
}

/// As `uname` says it; only the name of the system where the kernel says no more.
fn operating_system() -> String {
    let release = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let system = if cfg!(target_os = "linux") { "Linux" } else { std::env::consts::OS };
    [system, release.trim(), std::env::consts::ARCH].join(" ")
}

/// `# CPU`.
pub(super) fn cpu(app: &App, lines: &mut Lines) {
    lines.put("used_cpu_sys", seconds(app.metrics.cpu_system_ms.get()));
    lines.put("used_cpu_user", seconds(app.metrics.cpu_user_ms.get()));
    lines.put("used_cpu_sys_children", seconds(0));
    lines.put("used_cpu_user_children", seconds(0));
    // All threads serve, so each is the main one.
    lines.put("used_cpu_sys_main_thread", seconds(app.metrics.cpu_system_ms.get()));
    lines.put("used_cpu_user_main_thread", seconds(app.metrics.cpu_user_ms.get()));
}

/// Seconds with Redis's six decimals.
fn seconds(milliseconds: u64) -> String {
    format!("{}.{:03}000", milliseconds / 1000, milliseconds % 1000)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn processor_time_has_six_decimals() {
        assert_eq!([0, 12_030].map(seconds), ["0.000000", "12.030000"]);
    }
}
