//! The house rules that a compiler does not know: imports go down only, files stay short, no drawers, no bare
//! `#[allow]`. Each rule has a negative control, since a rule that accepts everything would look the same as a clean
//! house.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// Without its tests. A file holds one noun; one that needs more is two.
const FILE_LINES_MAX: usize = 400;
/// Words that name a drawer and not a thing: what belongs there has a name of its own that is missing.
const DRAWERS: [&str; 9] = ["util", "utils", "common", "helper", "helpers", "misc", "manager", "managers", "stuff"];

#[test]
fn imports_go_down_only() {
    let house = House::read();
    let faults: Vec<_> = house.sources.iter().flat_map(|source| upward_imports(&house.storeys, source)).collect();
    assert!(faults.is_empty(), "\n{}", faults.join("\n"));
}

#[test]
fn every_source_file_belongs_to_a_storey() {
    let house = House::read();
    assert!(house.sources.len() > 5, "found only {} files", house.sources.len());
    for source in &house.sources {
        let module = source.module.first().map(String::as_str);
        let known = module.is_none_or(|name| house.storeys.iter().any(|storey| storey == name));
        assert!(known, "{}: lib.rs does not declare it", source.path);
    }
}

#[test]
fn files_stay_short() {
    let faults: Vec<_> = House::read().sources.iter().chain(&files_under("benches")).filter_map(too_long).collect();
    assert!(faults.is_empty(), "\n{}", faults.join("\n"));
}

#[test]
fn nothing_is_kept_in_a_drawer() {
    let faults: Vec<_> = all_files().iter().flat_map(drawers).collect();
    assert!(faults.is_empty(), "\n{}", faults.join("\n"));
}

#[test]
fn lints_are_expected_with_a_reason_and_never_allowed() {
    let faults: Vec<_> = all_files().iter().flat_map(bare_exceptions).collect();
    assert!(faults.is_empty(), "\n{}", faults.join("\n"));
}

#[test]
fn unsafe_code_is_forbidden_in_every_crate() {
    for manifest in ["Cargo.toml", "tests/fuzz/Cargo.toml", "tests/clients/matrix/rust/Cargo.toml"] {
        let text = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(manifest)).expect(manifest);
        assert!(forbids_unsafe_code(&text), "{manifest}");
    }
    for text in ["", "[lints.rust]\nunsafe_code = \"deny\"\n", "# unsafe_code = \"forbid\"\n"] {
        assert!(!forbids_unsafe_code(text), "accepted: {text}");
    }
}

#[test]
fn a_planted_upward_import_is_rejected() {
    let upward = [
        "use crate::server::Listener;",
        "use crate::{clock::Clock, server::Listener};",
        "use crate::{\n    clock::{Clock, Expiry},\n    commands::{self, Row},\n};",
        "use crate :: commands as rows;",
        "pub(crate) use crate::app::*;",
        "fn f() { let _ = crate::server::run(); }",
        "fn f(app: &'static crate::app::App) {}",
        "use super::super::app::App;",
        "use super::super::{clock, app::App};",
        "mod inner { use super::super::super::app::App; }",
        "const C: char = '\"'; use crate::app::App; const D: char = '\"';",
        "const R: &str = r#\"\"#; use crate::app::App;",
        "/* /* nested */ */ use crate::app::App;",
        "#[cfg(test)] mod tests {} use crate::app::App;",
        "#[cfg(not(test))] use crate::app::App;",
        "use crate::Reexported;",
        "use crate::*;",
    ];
    for text in upward {
        assert!(!rejected(text).is_empty(), "accepted: {text}");
    }
}

#[test]
fn an_import_of_a_lower_storey_is_accepted() {
    let downward = [
        "use crate::clock::Clock;",
        "use crate::{clock::Clock, config, protocol::{Reply, Request}};",
        "use crate::database::postgres::Postgres; use super::Record;",
        "mod rows { use super::super::Record; }",
        "// use crate::server::Listener;",
        "/// See [`crate::server`].\nfn f() {}",
        "/* use crate::app::App; */",
        "const S: &str = \"use crate::app::App;\";",
        "const S: &str = r##\"use \"# crate::app::App;\"##;",
        "const S: &[u8] = b\"\\\" crate::app::App\";",
        "#[cfg(test)]\nmod tests {\n    use crate::server::Listener;\n}",
        "#[cfg(test)] use crate::server::{Listener, run};",
        "#[cfg(all(test, unix))] #[expect(dead_code, reason = \"x\")] fn f() { crate::server::run() }",
        "fn f() { crate::metric!(); }",
        "fn f<'a>(x: &'a str) -> &'a str { x } // crate::app",
    ];
    for text in downward {
        assert_eq!(rejected(text), Vec::<String>::new(), "rejected: {text}");
    }
}

#[test]
fn a_file_that_is_too_long_is_rejected() {
    let line = "fn f() {}\n";
    let tests = format!("#[cfg(test)]\nmod tests {{\n{}}}\n", line.repeat(FILE_LINES_MAX));
    assert!(too_long(&planted(&line.repeat(FILE_LINES_MAX + 1))).is_some());
    assert!(too_long(&planted(&line.repeat(FILE_LINES_MAX))).is_none());
    assert!(too_long(&planted(&(line.repeat(FILE_LINES_MAX) + &tests))).is_none(), "tests do not count");
}

#[test]
fn a_drawer_is_rejected() {
    for path in ["src/database/util.rs", "src/common/mod.rs", "src/key_helpers.rs", "tests/session_manager.rs"] {
        assert!(!drawers(&Source::new(path, "")).is_empty(), "accepted: {path}");
    }
    assert!(!drawers(&planted("mod misc { }")).is_empty());
    assert!(drawers(&Source::new("src/commands/utilisation.rs", "mod commonality;")).is_empty());
}

#[test]
fn a_bare_allow_is_rejected() {
    let bare = [
        "#[allow(dead_code)] fn f() {}",
        "#![allow(missing_docs)]",
        "#[ allow ( dead_code , reason = \"no\" ) ] fn f() {}",
        "#[cfg_attr(test, allow(dead_code))] fn f() {}",
        "#[expect(dead_code)] fn f() {}",
        "#[cfg(test)] mod tests { #[allow(unused)] fn f() {} }",
    ];
    for text in bare {
        assert!(!bare_exceptions(&planted(text)).is_empty(), "accepted: {text}");
    }
    let shared = |text| Source::new("tests/support/planted.rs", text);
    assert!(!bare_exceptions(&shared("#![allow(dead_code)]")).is_empty());
    assert!(bare_exceptions(&shared("#![allow(dead_code, reason = \"each binary uses a part\")]")).is_empty());
    for text in ["#[expect(dead_code, reason = \"the border\")] fn f() {}", "// #[allow(dead_code)]", "fn allow() {}"] {
        assert!(bare_exceptions(&planted(text)).is_empty(), "rejected: {text}");
    }
}

#[test]
fn the_storeys_are_read_in_the_order_of_the_list() {
    let text = "//! pub mod not_this;\npub mod clock;\nmod config;\n#[cfg(test)]\nmod doubles;\npub(crate) mod server;";
    assert_eq!(storeys_of(text), ["clock", "config", "server"]);
}

/// The library as it stands: its storeys from the ground up, and its files without those that only tests use.
struct House {
    storeys: Vec<String>,
    sources: Vec<Source>,
}

impl House {
    fn read() -> Self {
        let files = files_under("src");
        let storeys = files.iter().find(|source| source.path == "src/lib.rs").map(|lib| storeys_of(&lib.text));
        let for_tests: BTreeSet<_> = files.iter().flat_map(Source::modules_for_tests).collect();
        let sources = files
            .into_iter()
            .filter(|source| !for_tests.iter().any(|module| source.module.starts_with(module)))
            .collect();
        Self { storeys: storeys.unwrap_or_default(), sources }
    }
}

/// One file. `code` is its text with comments and the contents of literals blanked, line for line.
struct Source {
    path: String,
    text: String,
    code: String,
    /// `["database", "postgres"]` for `src/database/postgres.rs`; empty for `lib.rs` and `main.rs`, which stand above all.
    module: Vec<String>,
}

impl Source {
    fn new(path: &str, text: &str) -> Self {
        let inside = path.strip_prefix("src/").unwrap_or(path).trim_end_matches(".rs");
        let mut module: Vec<_> = inside.split('/').map(str::to_owned).collect();
        if module.last().is_some_and(|name| ["mod", "lib", "main"].contains(&name.as_str())) {
            module.pop();
        }
        Self { path: path.to_owned(), text: text.to_owned(), code: blanked(text), module }
    }

    /// The modules that `#[cfg(test)] mod name;` takes from other files.
    fn modules_for_tests(&self) -> Vec<Vec<String>> {
        let items = test_items(&self.code).into_iter().map(|range| &self.code[range]);
        let names = items.filter(|item| item.trim_end().ends_with(';')).filter_map(|item| word_after(item, "mod"));
        names.map(|name| self.module.iter().cloned().chain([name]).collect()).collect()
    }

    fn code_without_tests(&self) -> String {
        let mut code = self.code.clone();
        for range in test_items(&self.code).into_iter().rev() {
            code.replace_range(range, "");
        }
        code
    }
}

fn upward_imports(storeys: &[String], source: &Source) -> Vec<String> {
    let height = |name: &str| storeys.iter().position(|storey| storey == name);
    let Some(own) = source.module.first() else { return Vec::new() };
    let mut faults = Vec::new();
    for (root, name) in names_at_the_root(&source.code_without_tests(), source.module.len()) {
        if height(&name) > height(own) {
            faults.push(format!("{}: {own} imports from {name}, which stands above it", source.path));
        } else if height(&name).is_none() && root == "crate" {
            faults.push(format!("{}: crate::{name} is no storey; import it from where it is declared", source.path));
        }
    }
    faults
}

/// What stands behind each `crate::`, and behind each chain of `super::` that leads up to the root from a file `depth`
/// modules deep. In an inline module the chain may end one short of the root, at names that are no storeys.
fn names_at_the_root(code: &str, depth: usize) -> Vec<(&'static str, String)> {
    let words = words_of(code);
    let mut names = Vec::new();
    let mut at = 0;
    while at < words.len() {
        let start = at;
        while words.get(at) == Some(&"super") && words.get(at + 1) == Some(&"::") {
            at += 2;
        }
        let climbed = (at - start) / 2;
        if words[at..].starts_with(&["crate", "::"]) {
            names.extend(first_names(&words[at + 2..]).into_iter().map(|name| ("crate", name)));
        } else if climbed >= depth && climbed > 0 {
            names.extend(first_names(&words[at..]).into_iter().map(|name| ("super", name)));
        }
        at = at.max(start + 1);
    }
    names
}

/// `a::b` gives a; `{a::b, c::{d, e}}` gives a and c; a macro is none of our business.
fn first_names(words: &[&str]) -> Vec<String> {
    if words.first() != Some(&"{") {
        let is_macro = words.get(1) == Some(&"!");
        return words.first().filter(|_| !is_macro).map(|name| (*name).to_owned()).into_iter().collect();
    }
    let mut names = Vec::new();
    let mut depth = 0;
    let mut is_first = true;
    for word in words {
        match *word {
            "{" => depth += 1,
            "}" if depth == 1 => break,
            "}" => depth -= 1,
            "," if depth == 1 => is_first = true,
            name if depth == 1 && is_first => {
                names.push(name.to_owned());
                is_first = false;
            }
            _ => {}
        }
    }
    names
}

fn too_long(source: &Source) -> Option<String> {
    let lines = source.code_without_tests().trim_end().lines().count();
    (lines > FILE_LINES_MAX).then(|| format!("{}: {lines} lines without tests, at most {FILE_LINES_MAX}", source.path))
}

fn drawers(source: &Source) -> Vec<String> {
    let words = words_of(&source.code);
    let inline = words.windows(2).filter(|pair| pair[0] == "mod").map(|pair| pair[1].to_owned());
    let names = source.module.iter().cloned().chain(inline);
    let drawers = names.filter(|name| name.split('_').any(|part| DRAWERS.contains(&part)));
    drawers.map(|name| format!("{}: {name} names a drawer; name what it holds", source.path)).collect()
}

fn bare_exceptions(source: &Source) -> Vec<String> {
    // Several test binaries include these files and each uses another part: an expectation would fail in some of them.
    let shared = source.path.starts_with("tests/support/");
    let mut faults = Vec::new();
    for attribute in attributes_of(&source.code) {
        let words = words_of(attribute);
        let names = |lint: &str| words.windows(2).any(|pair| pair == [lint, "("]);
        let reasoned = words.windows(2).any(|pair| pair == ["reason", "="]);
        if (names("allow") && !(shared && reasoned)) || (names("expect") && !reasoned) {
            faults.push(format!("{}: {attribute}; write #[expect(…, reason = …)]", source.path));
        }
    }
    faults
}

/// `forbid`, unlike `deny`, cannot be taken back by an attribute.
fn forbids_unsafe_code(manifest: &str) -> bool {
    let lints = manifest.split("\n[").find(|section| section.trim_start_matches('[').starts_with("lints.rust]"));
    lints.is_some_and(|lints| lints.lines().any(|line| line == "unsafe_code = \"forbid\""))
}

fn storeys_of(lib: &str) -> Vec<String> {
    let source = Source::new("src/lib.rs", lib);
    let code = source.code_without_tests();
    let words = words_of(&code);
    words.windows(3).filter(|three| three[0] == "mod" && three[2] == ";").map(|three| three[1].to_owned()).collect()
}

fn all_files() -> Vec<Source> {
    ["src", "tests", "benches"].into_iter().flat_map(files_under).filter(|source| !is_this_file(source)).collect()
}

/// The planted violations stand in literals and would pass; the list of drawers too. Still, only this file may plant.
fn is_this_file(source: &Source) -> bool {
    source.path == "tests/architecture.rs"
}

fn files_under(folder: &str) -> Vec<Source> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut open = vec![root.join(folder)];
    let mut paths: Vec<PathBuf> = Vec::new();
    while let Some(folder) = open.pop() {
        for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
            let path = entry.path();
            // What others wrote, and what a build made of it.
            if path.is_dir() && path.file_name().is_some_and(|name| name != "node_modules" && name != "target") {
                open.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                paths.push(path);
            }
        }
    }
    paths.sort();
    let read = |path: &PathBuf| {
        let shown = path.strip_prefix(root).unwrap_or(path).to_string_lossy().into_owned();
        let text = fs::read_to_string(path).unwrap_or_else(|error| panic!("{shown}: {error}"));
        Source::new(&shown, &text)
    };
    paths.iter().map(read).collect()
}

fn rejected(text: &str) -> Vec<String> {
    let storeys = storeys_of(
        "mod clock; mod config; mod protocol; mod telemetry; mod database; mod keyspace; mod app; mod commands; mod server;",
    );
    upward_imports(&storeys, &planted(text))
}

fn planted(text: &str) -> Source {
    Source::new("src/database/postgres.rs", text)
}

/// The byte ranges of the items under `#[cfg(test)]` or `#[cfg(all(test, …))]`, each with its attributes.
fn test_items(code: &str) -> Vec<std::ops::Range<usize>> {
    let mut items: Vec<std::ops::Range<usize>> = Vec::new();
    for attribute in attributes_of(code) {
        let start = attribute.as_ptr() as usize - code.as_ptr() as usize;
        let words = words_of(attribute);
        let is_test = words.starts_with(&["#", "[", "cfg", "(", "test", ")"])
            || words.starts_with(&["#", "[", "cfg", "(", "all", "(", "test"]);
        if is_test && items.last().is_none_or(|last| last.end <= start) {
            items.push(start..end_of_item(code, start));
        }
    }
    items
}

/// An item ends with its first brace that closes, or with a semicolon outside all brackets.
fn end_of_item(code: &str, start: usize) -> usize {
    let mut depth = 0_usize;
    for (at, byte) in code.bytes().enumerate().skip(start) {
        match byte {
            b'{' | b'(' | b'[' => depth += 1,
            b'}' if depth == 1 => return at + 1,
            b'}' | b')' | b']' => depth = depth.saturating_sub(1),
            b';' if depth == 0 => return at + 1,
            _ => {}
        }
    }
    code.len()
}

/// `#[…]` and `#![…]`, whole.
fn attributes_of(code: &str) -> Vec<&str> {
    let mut attributes = Vec::new();
    for (start, _) in code.match_indices('#') {
        let rest = &code[start + 1..];
        if !rest.trim_start_matches(['!', ' ', '\n']).starts_with('[') {
            continue;
        }
        let mut depth = 0_usize;
        for (at, byte) in code.bytes().enumerate().skip(start) {
            match byte {
                b'[' => depth += 1,
                b']' if depth == 1 => {
                    attributes.push(&code[start..=at]);
                    break;
                }
                b']' => depth -= 1,
                _ => {}
            }
        }
    }
    attributes
}

/// Words and signs; `::` is one sign.
fn words_of(code: &str) -> Vec<&str> {
    let is_word = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_' || byte >= 0x80;
    let bytes = code.as_bytes();
    let mut words = Vec::new();
    let mut at = 0;
    while at < bytes.len() {
        let start = at;
        while at < bytes.len() && is_word(bytes[at]) {
            at += 1;
        }
        if at == start {
            at += if code[at..].starts_with("::") { 2 } else { 1 };
        }
        if !bytes[start].is_ascii_whitespace() {
            words.push(&code[start..at]);
        }
    }
    words
}

fn word_after(code: &str, word: &str) -> Option<String> {
    let words = words_of(code);
    words.iter().position(|found| *found == word).and_then(|at| words.get(at + 1)).map(|found| (*found).to_owned())
}

/// Blanks comments and the contents of literals, and keeps every newline, so that what is left is code.
fn blanked(text: &str) -> String {
    let mut code = String::with_capacity(text.len());
    let mut rest = text;
    while !rest.is_empty() {
        let (length, is_code) = next_piece(rest);
        let (piece, tail) = rest.split_at(length);
        if is_code {
            code.push_str(piece);
        } else {
            code.extend(piece.chars().map(|c| if c == '\n' { '\n' } else { ' ' }));
        }
        rest = tail;
    }
    code
}

/// The length of the piece that `rest` starts with, and whether it is code: a comment and a literal are not. A word is
/// taken whole, so that the `r` of `for"…"` opens no raw string.
fn next_piece(rest: &str) -> (usize, bool) {
    if rest.starts_with("//") {
        return (rest.find('\n').unwrap_or(rest.len()), false);
    }
    if rest.starts_with("/*") {
        return (block_comment_length(rest), false);
    }
    let word = rest.find(|c: char| !(c.is_alphanumeric() || c == '_')).unwrap_or(rest.len());
    let after = &rest[word..];
    if ["r", "br", "cr"].contains(&&rest[..word]) {
        let hashes = after.len() - after.trim_start_matches('#').len();
        if after[hashes..].starts_with('"') {
            let end = format!("\"{}", "#".repeat(hashes));
            let body = word + hashes + 1;
            return (rest[body..].find(&end).map_or(rest.len(), |at| body + at + end.len()), false);
        }
    }
    if word > 0 {
        return (word, true);
    }
    match rest.chars().next() {
        Some('"') => (quoted_length(rest, '"'), false),
        Some('\'') => char_literal_length(rest).map_or((1, true), |length| (length, false)),
        Some(other) => (other.len_utf8(), true),
        None => (0, true),
    }
}

fn block_comment_length(rest: &str) -> usize {
    let mut depth = 0;
    let mut at = 0;
    while at < rest.len() {
        if rest.as_bytes()[at..].starts_with(b"/*") {
            depth += 1;
            at += 2;
        } else if rest.as_bytes()[at..].starts_with(b"*/") {
            depth -= 1;
            at += 2;
            if depth == 0 {
                return at;
            }
        } else {
            at += 1;
        }
    }
    rest.len()
}

fn quoted_length(rest: &str, quote: char) -> usize {
    let mut is_escaped = false;
    for (at, c) in rest.char_indices().skip(1) {
        if c == quote && !is_escaped {
            return at + 1;
        }
        is_escaped = c == '\\' && !is_escaped;
    }
    rest.len()
}

/// `'x'`, `'\n'` and `'\u{e9}'` are literals, `'a` in `&'a str` is a lifetime.
fn char_literal_length(rest: &str) -> Option<usize> {
    let mut chars = rest.char_indices().skip(1);
    let (_, first) = chars.next()?;
    let (at, second) = chars.next()?;
    if first == '\\' {
        return Some(quoted_length(rest, '\''));
    }
    (second == '\'').then_some(at + 1)
}
