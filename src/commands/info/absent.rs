//! What Redis's tools look for in INFO and Sojourn has none of: no forks, no replicas, no threads for
//! I/O. Each number says so, as redis-server says it of what it does not do. What could be other than this is never here.

/// Section, name, and the value that says "none".
const NONE: &[(&str, &str, &str)] = &[
    ("Server", "io_threads_active", "0"),
    ("Clients", "cluster_connections", "0"),
    ("Clients", "tracking_clients", "0"),
    ("Clients", "clients_in_timeout_table", "0"),
    // Each thread has a Lua of its own, which is not asked; there are no functions.
    ("Memory", "used_memory_lua", "0"),
    ("Memory", "used_memory_lua_human", "0B"),
    ("Memory", "used_memory_vm_eval", "0"),
    ("Memory", "number_of_functions", "0"),
    ("Memory", "number_of_libraries", "0"),
    ("Memory", "used_memory_vm_functions", "0"),
    ("Memory", "used_memory_vm_total", "0"),
    ("Memory", "used_memory_vm_total_human", "0B"),
    ("Memory", "used_memory_functions", "0"),
    ("Memory", "mem_replication_backlog", "0"),
    ("Memory", "mem_total_replication_buffers", "0"),
    ("Memory", "mem_cluster_links", "0"),
    ("Memory", "mem_aof_buffer", "0"),
    ("Memory", "lazyfreed_objects", "0"),
    ("Memory", "mem_not_counted_for_evict", "0"),
    ("Memory", "mem_clients_slaves", "0"),
    ("Memory", "lazyfree_pending_objects", "0"),
    ("Persistence", "rdb_last_bgsave_time_sec", "-1"),
    ("Persistence", "rdb_current_bgsave_time_sec", "-1"),
    ("Persistence", "rdb_last_cow_size", "0"),
    ("Persistence", "aof_rewrite_scheduled", "0"),
    ("Persistence", "aof_last_rewrite_time_sec", "-1"),
    ("Persistence", "aof_current_rewrite_time_sec", "-1"),
    ("Persistence", "aof_last_cow_size", "0"),
    // There is no file of that kind.
    ("Persistence", "aof_current_size", "0"),
    ("Persistence", "aof_base_size", "0"),
    ("Persistence", "aof_pending_rewrite", "0"),
    ("Persistence", "aof_buffer_length", "0"),
    ("Persistence", "aof_pending_bio_fsync", "0"),
    ("Persistence", "aof_delayed_fsync", "0"),
    ("Persistence", "module_fork_in_progress", "0"),
    ("Persistence", "module_fork_last_cow_size", "0"),
    ("Persistence", "current_cow_peak", "0"),
    ("Persistence", "current_cow_size", "0"),
    ("Persistence", "current_cow_size_age", "0"),
    ("Persistence", "current_fork_perc", "0.00"),
    ("Persistence", "current_save_keys_processed", "0"),
    ("Persistence", "current_save_keys_total", "0"),
    ("Persistence", "aof_rewrites", "0"),
    ("Persistence", "aof_rewrites_consecutive_failures", "0"),
    ("Stats", "total_forks", "0"),
    // There is no maxmemory-clients: a client is closed at its own limits only.
    ("Stats", "evicted_clients", "0"),
    ("Stats", "total_net_repl_input_bytes", "0"),
    ("Stats", "total_net_repl_output_bytes", "0"),
    ("Stats", "instantaneous_input_repl_kbps", "0.00"),
    ("Stats", "instantaneous_output_repl_kbps", "0.00"),
    ("Stats", "total_active_defrag_time", "0"),
    ("Stats", "current_active_defrag_time", "0"),
    ("Stats", "sync_full", "0"),
    ("Stats", "sync_partial_ok", "0"),
    ("Stats", "sync_partial_err", "0"),
    // Each life ends by a timer of its own, so that there is nothing to sample.
    ("Stats", "expired_stale_perc", "0.00"),
    ("Stats", "expired_time_cap_reached_count", "0"),
    ("Stats", "latest_fork_usec", "0"),
    ("Stats", "migrate_cached_sockets", "0"),
    ("Stats", "slave_expires_tracked_keys", "0"),
    ("Stats", "active_defrag_misses", "0"),
    ("Stats", "active_defrag_key_misses", "0"),
    ("Stats", "tracking_total_keys", "0"),
    ("Stats", "tracking_total_items", "0"),
    ("Stats", "tracking_total_prefixes", "0"),
    ("Stats", "unexpected_error_replies", "0"),
    ("Stats", "dump_payload_sanitizations", "0"),
    ("Stats", "io_threaded_reads_processed", "0"),
    ("Stats", "io_threaded_writes_processed", "0"),
    ("Replication", "master_failover_state", "no-failover"),
    ("Replication", "master_replid2", "0000000000000000000000000000000000000000"),
    ("Replication", "second_repl_offset", "-1"),
    ("Replication", "repl_backlog_active", "0"),
    ("Replication", "repl_backlog_size", "0"),
    ("Replication", "repl_backlog_first_byte_offset", "0"),
    ("Replication", "repl_backlog_histlen", "0"),
];

/// The lines of a section that say "none".
pub(super) fn lines_of(section: &str) -> impl Iterator<Item = (&'static str, &'static str)> {
    NONE.iter().filter(move |(place, _, _)| *place == section).map(|(_, name, value)| (*name, *value))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::super::SECTIONS;
    use super::*;

    #[test]
    fn each_line_has_a_section_and_a_name_of_its_own() {
        let sections: BTreeSet<_> = SECTIONS.iter().map(|section| section.name).collect();
        let names: BTreeSet<_> = NONE.iter().map(|(_, name, _)| name).collect();
        assert_eq!(names.len(), NONE.len());
        assert!(NONE.iter().all(|(section, _, _)| sections.contains(section)));
        assert_eq!(SECTIONS.iter().flat_map(|section| lines_of(section.name)).count(), NONE.len());
    }
}
