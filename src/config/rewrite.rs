//! CONFIG REWRITE's text: the file of the settings with other values in it. Whoever wrote the file must find it again: comments,
//! order and what is not changed stay as they are.

use toml_edit::{DocumentMut, Item, TomlError, Value};

use super::Row;
use super::rows::ALIASES;
use super::value::Syntax;

/// The text with these values; a setting that is not in it comes behind the others.
///
/// # Errors
/// When the text is not TOML any more.
pub(super) fn rewritten(text: &str, values: &[(&Row, String)]) -> Result<String, TomlError> {
    let mut document: DocumentMut = text.parse()?;
    for (row, text) in values {
        let alias = ALIASES.iter().find(|(alias, name)| *name == row.name && document.contains_key(alias));
        put(&mut document[alias.map_or(row.name, |(alias, _)| alias)], value(row, text));
    }
    Ok(document.to_string())
}

/// Puts a value in the place of another one, whose white space and comment it takes over.
fn put(item: &mut Item, mut value: Value) {
    if let Some(before) = item.as_value() {
        *value.decor_mut() = before.decor().clone();
    }
    *item = Item::Value(value);
}

/// A value in the type that the file has for its syntax.
fn value(row: &Row, text: &str) -> Value {
    match row.syntax {
        Syntax::YesNo => (text == "yes").into(),
        Syntax::Integer { .. } | Syntax::Bytes { .. } => text.parse::<i64>().map_or_else(|_| text.into(), Value::from),
        Syntax::Duration { .. } | Syntax::Choice(_) | Syntax::Text { .. } | Syntax::List { .. } => text.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: &str = "# What we run.\nport = 6379 # as Redis\n\nlua-time-limit = 5\n# How long.\ntimeout   =   0  # never\n\n                        [session-table]\n\"sess:\" = \"session\" # adopted\n";

    fn rewrite(values: &[(&str, &str)]) -> String {
        let values: Vec<_> =
            values.iter().map(|(name, value)| (Row::named(name).expect("a setting"), (*value).to_owned())).collect();
        rewritten(FILE, &values).expect("good TOML")
    }

    #[test]
    fn comments_and_order_stay_and_nothing_else_changes() {
        assert_eq!(rewrite(&[]), FILE);
        assert_eq!(rewrite(&[("timeout", "300")]), FILE.replace("0  # never", "300  # never"));
        assert_eq!(rewrite(&[("busy-reply-threshold", "7")]), FILE.replace("limit = 5", "limit = 7"));
    }

    #[test]
    fn what_was_not_there_comes_before_the_tables_and_in_its_type() {
        let added = rewrite(&[("protected-mode", "no"), ("touch-interval", "5s"), ("requirepass", "a\"b\\c\n")]);
        let (head, tail) = added.split_at(added.find("[session-table]").expect("the table"));
        assert!(head.contains("protected-mode = false\ntouch-interval = \"5s\"\nrequirepass = "), "{head}");
        assert!(tail.ends_with("\"session\" # adopted\n"), "{tail}");
        let read: toml::Table = added.parse().expect("TOML");
        assert_eq!(read["requirepass"].as_str(), Some("a\"b\\c\n"));
    }
}
