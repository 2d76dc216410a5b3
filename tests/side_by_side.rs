//! The benchmarks' own tests, and runs of them that only show that they work: figures of a debug build mean nothing.

#![expect(clippy::expect_used, clippy::unwrap_used, reason = "a test that cannot go on must fail, in its helpers too")]

#[path = "support/postgres.rs"]
mod postgres;
#[path = "../benches/scale/mod.rs"]
mod scale;
#[path = "../benches/side_by_side/mod.rs"]
mod side_by_side;
#[path = "../benches/stage/mod.rs"]
mod stage;
mod support;

#[test]
fn every_contestant_answers_under_every_load_and_a_report_is_written() {
    let folder = tempfile::tempdir().expect("a folder");
    let report = folder.path().join("report");
    let arguments = ["side_by_side".into(), "--smoke".into(), "--report".into(), report.clone().into_os_string()];
    side_by_side::run(arguments).expect("a run");
    let page = std::fs::read_to_string(report.join("REPORT.md")).expect("a page");
    for part in ["## Targets", "## Ratios", "### SET c=50 P=16", "| connect-pg-simple's SQL", "| the echo", "(set.svg)"]
    {
        assert!(page.contains(part), "{part} is missing: {page}");
    }
    assert!(report.join("set.svg").exists());
    let rows = std::fs::read_to_string(report.join("figures.csv")).expect("figures");
    assert!(rows.contains("1,\"web requests, paced\",connect-pg-simple,"), "{rows}");
}

#[test]
fn the_sections_that_take_seconds_measure_many_sessions_and_a_report_is_written() {
    let folder = tempfile::tempdir().expect("a folder");
    let report = folder.path().join("report");
    let sections = "--sections=memory,start,growth,limit,compression";
    let arguments =
        ["scale".into(), "--smoke".into(), sections.into(), "--report".into(), report.clone().into_os_string()];
    scale::run(arguments).expect("a run");
    let page = std::fs::read_to_string(report.join("REPORT.md")).expect("a page");
    for part in ["## Targets", "Bytes a hot session", "redis, AOF with RDB preamble", "keys scanned", "(start.svg)"] {
        assert!(page.contains(part), "{part} is missing: {page}");
    }
    assert!(report.join("memory.svg").exists());
}
