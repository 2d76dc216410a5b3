//! What INFO says of memory. `used_memory` is what `maxmemory` is compared with, as in Redis: what keys and values take, in
//! memory and on their way to the database. What the process takes beyond it, connections above all, shows in `used_memory_rss`.

use super::Lines;
use crate::app::App;
use crate::config::{Choice, total_memory_bytes};
use crate::keyspace::account::EMPTY_BYTES;
use crate::telemetry::heap::Heap;

/// `# Memory`.
pub(super) fn memory(app: &App, lines: &mut Lines) {
    let taken = app.keyspace.memory_use();
    let (used, resident) = (taken.used() as u64, app.metrics.memory_bytes.get());
    let (dataset, peak) = ((taken.keys + taken.values) as u64, app.metrics.memory_used_peak_bytes.get().max(used));
    lines.put_bytes("used_memory", used);
    lines.put_bytes("used_memory_rss", resident);
    lines.put_bytes("used_memory_peak", peak);
    lines.put("used_memory_peak_perc", percent(used, peak));
    lines.put("used_memory_overhead", used - dataset);
    lines.put("used_memory_startup", EMPTY_BYTES);
    lines.put("used_memory_dataset", dataset);
    lines.put("used_memory_dataset_perc", percent(dataset, used - EMPTY_BYTES as u64));
    let heap = Heap::now();
    let [allocated, active, held] = [heap.allocated, heap.active, heap.resident].map(|bytes| bytes as u64);
    lines.put("allocator_allocated", allocated);
    lines.put("allocator_active", active);
    lines.put("allocator_resident", held);
    lines.put_bytes("total_system_memory", total_memory_bytes());
    let (scripts, script_bytes) = app.scripts.count_and_bytes();
    lines.put("number_of_cached_scripts", scripts);
    lines.put("used_memory_scripts_eval", script_bytes);
    lines.put_bytes("used_memory_scripts", script_bytes as u64);
    let settings = app.settings.read();
    lines.put_bytes("maxmemory", settings.maxmemory);
    lines.put("maxmemory_policy", settings.maxmemory_policy.name());
    drop(settings);
    for (name, whole, part) in [
        ("allocator_frag", active, allocated),
        ("allocator_rss", held, active),
        ("rss_overhead", resident, held),
        ("mem_fragmentation", resident, used),
    ] {
        lines.put(format_args!("{name}_ratio"), ratio(whole, part));
        lines.put(format_args!("{name}_bytes"), i128::from(whole) - i128::from(part));
    }
    // As in CLIENT LIST: how full a client's buffers are is not kept.
    lines.put("mem_clients_normal", 0);
    lines.put("mem_allocator", "jemalloc");
    lines.put("active_defrag_running", app.metrics.defragment_running.get());
}

/// What INFO says of memory under `# Sojourn`: what it is taken for, and where the values are.
pub(super) fn by_kind(app: &App, lines: &mut Lines) {
    let metrics = &app.metrics;
    for (kind, bytes) in metrics.memory_by_kind() {
        lines.put(format_args!("memory_{kind}"), bytes);
    }
    lines.put("resident_peak", metrics.memory_peak_bytes.get());
    lines.put("hot_values", metrics.hot_values.get());
    lines.put("cold_values", metrics.cold_values.get());
}

fn percent(part: u64, whole: u64) -> String {
    format!("{:.2}%", quotient(part, whole) * 100.0)
}

fn ratio(part: u64, whole: u64) -> String {
    format!("{:.2}", quotient(part, whole))
}

#[expect(clippy::cast_precision_loss, reason = "two decimals are shown")]
fn quotient(part: u64, whole: u64) -> f64 {
    part as f64 / whole.max(1) as f64
}
