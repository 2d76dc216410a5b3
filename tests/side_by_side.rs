//! The benchmark's own tests, and a run of it that only shows that it works: figures of a debug build mean nothing.

#![expect(clippy::expect_used, clippy::unwrap_used, reason = "a test that cannot go on must fail, in its helpers too")]

#[path = "support/postgres.rs"]
mod postgres;
#[path = "../benches/side_by_side/mod.rs"]
mod side_by_side;
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
