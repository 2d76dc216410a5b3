//! A row's syntax as COMMAND DOCS describes arguments, which redis-cli turns back into its hints. The syntax is a
//! notation of our own rows, not input: what it cannot be read as is left out, never refused.

use crate::protocol::Reply;

/// One argument, or several that belong together.
#[derive(Debug, PartialEq, Eq)]
enum Argument<'a> {
    /// A value that the user gives.
    Value(&'a str),
    /// A word that stands for itself.
    Token(&'a str),
    /// One after the other.
    Block(Vec<Part<'a>>),
    /// One of these.
    OneOf(Vec<Part<'a>>),
}

/// An argument and how often it may come.
#[derive(Debug, PartialEq, Eq)]
struct Part<'a> {
    /// The word before the value (`EX seconds`).
    token: Option<&'a str>,
    argument: Argument<'a>,
    optional: bool,
    multiple: bool,
}

impl<'a> Part<'a> {
    fn once(argument: Argument<'a>) -> Self {
        Self { token: None, argument, optional: false, multiple: false }
    }

    fn into_argument(self) -> Argument<'a> {
        if self.token.is_none() && !self.optional && !self.multiple {
            self.argument
        } else {
            Argument::Block(vec![self])
        }
    }
}

/// The arguments of a syntax such as `key value [NX|XX] [GET] [EX seconds|KEEPTTL] [key ...]`.
pub(super) fn of(syntax: &str) -> Reply {
    let mut words = Words { rest: syntax };
    Reply::Array(sequence(&mut words).iter().map(describe).collect())
}

/// The pieces of a syntax: brackets, bars and words.
struct Words<'a> {
    rest: &'a str,
}

impl<'a> Words<'a> {
    fn peek(&self) -> Option<&'a str> {
        let rest = self.rest.trim_start();
        let end = match rest.find(|letter: char| letter == ' ' || "[]|".contains(letter)) {
            Some(0) => 1,
            Some(end) => end,
            None => rest.len(),
        };
        rest.get(..end).filter(|word| !word.is_empty())
    }

    fn next(&mut self) -> Option<&'a str> {
        let word = self.peek()?;
        self.rest = &self.rest.trim_start()[word.len()..];
        Some(word)
    }

    fn skip(&mut self, word: &str) -> bool {
        let is_next = self.peek() == Some(word);
        if is_next {
            self.next();
        }
        is_next
    }
}

/// Alternatives up to the closing bracket or the end; the bracket is taken.
fn alternatives<'a>(words: &mut Words<'a>) -> Argument<'a> {
    let mut choices = vec![single(sequence(words))];
    while words.skip("|") {
        choices.push(single(sequence(words)));
    }
    words.skip("]");
    if choices.len() > 1 { Argument::OneOf(choices) } else { choices.remove(0).into_argument() }
}

fn single(mut parts: Vec<Part<'_>>) -> Part<'_> {
    if parts.len() == 1 { parts.remove(0) } else { Part::once(Argument::Block(parts)) }
}

/// Arguments up to a bar, a closing bracket or the end; none of these is taken.
fn sequence<'a>(words: &mut Words<'a>) -> Vec<Part<'a>> {
    let mut parts: Vec<Part<'a>> = Vec::new();
    while let Some(word) = words.peek().filter(|word| !matches!(*word, "|" | "]")) {
        words.next();
        match word {
            "[" => bracket(&mut parts, alternatives(words)),
            "..." => {}
            _ if is_token(word) => match words.peek().filter(|next| !"[]|".contains(*next) && !is_token(next)) {
                Some(value) => {
                    words.next();
                    parts.push(Part { token: Some(word), ..Part::once(Argument::Value(value)) });
                }
                None => parts.push(Part::once(Argument::Token(word))),
            },
            _ => parts.push(Part::once(Argument::Value(word))),
        }
    }
    parts
}

/// A bracket that repeats what stands before it (`key [key ...]`) says "several"; any other says "or not".
fn bracket<'a>(parts: &mut Vec<Part<'a>>, inner: Argument<'a>) {
    let inner = match inner {
        Argument::Block(inner) => inner,
        Argument::Value(_) | Argument::Token(_) | Argument::OneOf(_) => vec![Part::once(inner)],
    };
    if let ([again], Some(last)) = (&inner[..], parts.last_mut())
        && last.token.is_some()
        && last.argument == again.argument
    {
        // `ID client-id [client-id ...]`: the word stands once, before all values.
        last.multiple = true;
        return;
    }
    let repeated = parts.len().checked_sub(inner.len()).filter(|start| parts[*start..] == inner);
    let (multiple, optional, inner) = match repeated {
        Some(start) => (true, false, parts.split_off(start)),
        None => (false, true, inner),
    };
    let part = single(inner);
    parts.push(Part { optional: part.optional || optional, multiple: part.multiple || multiple, ..part });
}

fn is_token(word: &str) -> bool {
    word.bytes().any(|byte| byte.is_ascii_uppercase()) && !word.bytes().any(|byte| byte.is_ascii_lowercase())
}

fn describe(part: &Part<'_>) -> Reply {
    let (name, kind, inner) = match &part.argument {
        Argument::Value(name) => ((*name).to_owned(), value_kind(name), None),
        Argument::Token(token) => (token.to_ascii_lowercase(), "pure-token", None),
        Argument::Block(inner) => ("block".to_owned(), "block", Some(inner)),
        Argument::OneOf(inner) => ("choice".to_owned(), "oneof", Some(inner)),
    };
    let token = match part.argument {
        Argument::Token(token) => Some(token),
        Argument::Value(_) | Argument::Block(_) | Argument::OneOf(_) => part.token,
    };
    let mut parts = vec![(Reply::text("name"), Reply::text(name)), (Reply::text("type"), Reply::text(kind))];
    if let Some(token) = token {
        parts.push((Reply::text("token"), Reply::text(token)));
    }
    let flags = [("optional", part.optional), ("multiple", part.multiple)];
    let flags: Vec<Reply> =
        flags.into_iter().filter_map(|(name, is_set)| is_set.then_some(Reply::Simple(name))).collect();
    if !flags.is_empty() {
        parts.push((Reply::text("flags"), Reply::Set(flags)));
    }
    if let Some(inner) = inner {
        parts.push((Reply::text("arguments"), Reply::Array(inner.iter().map(describe).collect())));
    }
    Reply::Map(parts)
}

/// The type of a value follows from its name in Redis's documentation.
fn value_kind(name: &str) -> &'static str {
    match name {
        "key" | "newkey" | "source" | "destination" => "key",
        "pattern" => "pattern",
        "seconds" | "milliseconds" | "count" | "cursor" | "index" | "increment" | "decrement" | "offset" | "start"
        | "end" => "integer",
        "unix-time-seconds" | "unix-time-milliseconds" => "unix-time",
        _ => "string",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::commands::table;

    /// An argument as redis-cli shows it.
    fn shown(part: &Part<'_>) -> String {
        let join = |parts: &[Part<'_>], between: &str| parts.iter().map(shown).collect::<Vec<_>>().join(between);
        let inner = match &part.argument {
            Argument::Value(name) | Argument::Token(name) => (*name).to_owned(),
            Argument::Block(parts) => join(parts, " "),
            Argument::OneOf(parts) => join(parts, "|"),
        };
        let mut text = part.token.map_or_else(|| inner.clone(), |token| format!("{token} {inner}"));
        if part.multiple {
            text = format!("{text} [{inner} ...]");
        }
        if part.optional { format!("[{text}]") } else { text }
    }

    fn shown_again(syntax: &str) -> String {
        sequence(&mut Words { rest: syntax }).iter().map(shown).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn hints_say_what_the_syntax_says() {
        for syntax in [
            "",
            "key",
            "key [key ...]",
            "key value [key value ...]",
            "[message]",
            "[section [section ...]]",
            "key value [NX|XX] [GET] [EX seconds|PX milliseconds|KEEPTTL]",
            "[protover [AUTH username password] [SETNAME clientname]]",
            "cursor [MATCH pattern] [COUNT count] [TYPE type]",
            "[TYPE normal|master|replica|pubsub] [ID client-id [client-id ...]]",
        ] {
            assert_eq!(shown_again(syntax), syntax);
        }
    }

    #[test]
    fn every_row_has_a_syntax_that_can_be_read_to_its_end() {
        for row in table::all().flat_map(|row| std::iter::once(row).chain(row.subcommands())) {
            let mut words = Words { rest: row.syntax };
            let parts = sequence(&mut words);
            let has_rest = words.peek().is_some_and(|word| word != "|");
            assert!(!has_rest && parts.is_empty() == row.syntax.is_empty(), "{}: {}", row.name, row.syntax);
        }
    }
}
