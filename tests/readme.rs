//! What the README and the documents say of commands and metrics is generated from their declarations, and stands between two
//! markers. `UPDATE_README=1` writes it.

#![expect(clippy::expect_used, reason = "a test that cannot go on must fail, in its helpers too")]

use std::path::Path;

use sojourn::commands::table;
use sojourn::telemetry::catalogue;

#[test]
fn the_readme_lists_the_commands_of_the_rows() {
    assert_generated("README.md", "commands", &table::markdown());
}

#[test]
fn the_metrics_are_documented_as_they_are_declared() {
    assert_generated("dashboards/METRICS.md", "metrics", &catalogue::markdown());
}

/// What stands between the markers of this name is this text.
fn assert_generated(file: &str, name: &str, text: &str) {
    let (start, end) = (format!("<!-- {name}:start -->"), format!("<!-- {name}:end -->"));
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(file);
    let document = std::fs::read_to_string(&path).expect(file);
    let (before, rest) = document.split_once(&start).expect("the start marker");
    let (_, after) = rest.split_once(&end).expect("the end marker");
    let wanted = format!("{before}{start}\n{text}{end}{after}");
    if std::env::var_os("UPDATE_README").is_some() {
        std::fs::write(&path, wanted).expect("the document can be written");
    } else {
        assert!(document == wanted, "{file} is behind the declarations: run UPDATE_README=1 cargo test --test readme");
    }
}
