//! The README's command table is generated from the rows, and stands between two markers. `UPDATE_README=1` writes it.

use std::path::Path;

const START: &str = "<!-- commands:start -->";
const END: &str = "<!-- commands:end -->";

#[test]
fn the_readme_lists_the_commands_of_the_rows() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("README.md");
    let readme = std::fs::read_to_string(&path).expect("README.md");
    let (before, rest) = readme.split_once(START).expect("the start marker");
    let (_, after) = rest.split_once(END).expect("the end marker");
    let wanted = format!("{before}{START}\n{}{END}{after}", sojourn::commands::table::markdown());
    if std::env::var_os("UPDATE_README").is_some() {
        std::fs::write(&path, wanted).expect("README.md can be written");
    } else {
        assert!(readme == wanted, "README.md is behind the rows: run UPDATE_README=1 cargo test --test readme");
    }
}
