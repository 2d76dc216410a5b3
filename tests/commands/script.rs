//! The scripts: one command a line, quoted as in redis-cli, with marks before it where equality would ask too much.
//!
//! ```text
//! # a comment
//! SET key "\x00\xff" EX 100
//! @b GET key                    by another connection (a, b, c …; `a` without a mark)
//! @~1 TTL key                   integers may differ by 1
//! @unordered KEYS *             lists may come in any order
//! @words ACL GETUSER user       strings may have their words in any order
//! @kind LASTSAVE                only the kind of the reply must agree, of an error its first word
//! @differs CLIENT SETINFO …     the replies must differ (say why in a comment)
//! @raw 2 "PING\r\nPING\r\n"     these bytes, which have two replies
//! @frames 2 SUBSCRIBE a b       the command has two replies
//! @push 2                       two messages come by themselves
//! @closed                       the server has closed the connection; the next line gets a new one
//! @wait 20                      milliseconds
//! SET key {a*45}                45 letters
//! ```

/// One line of a script.
#[derive(Clone, Debug)]
pub struct Step {
    /// Where it stands, for the report.
    pub place: String,
    /// Which connection sends it.
    pub client: String,
    /// What must agree.
    pub agreement: Agreement,
    /// How many replies it has.
    pub replies: usize,
    /// What is done.
    pub action: Action,
}

/// How much of two replies must agree.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Agreement {
    /// Every byte.
    Equal,
    /// Every byte, but integers may differ by this much.
    Within(i64),
    /// Every byte, but lists may come in any order.
    Unordered,
    /// Every byte, but the words of a string may come in any order.
    Words,
    /// The kind of reply.
    Kind,
    /// Nothing: they must differ.
    Differs,
}

/// What a line does.
#[derive(Clone, Debug)]
pub enum Action {
    /// Sends a command.
    Command(Vec<Vec<u8>>),
    /// Sends bytes.
    Raw(Vec<u8>),
    /// Only reads.
    Push,
    /// Expects the end of the connection.
    Closed,
    /// Lets time pass.
    Wait(u64),
}

/// The steps of a script.
pub fn parse(name: &str, text: &str) -> Vec<Step> {
    let numbered = (1..).zip(text.lines());
    let meant = numbered.filter(|(_, line)| !line.trim().is_empty() && !line.starts_with('#'));
    meant.map(|(number, line)| parse_line(format!("{name}:{number}: {line}"), line)).collect()
}

fn parse_line(place: String, line: &str) -> Step {
    let (client, agreement, action) = ("a".to_owned(), Agreement::Equal, Action::Command(Vec::new()));
    let mut step = Step { place, client, agreement, replies: 1, action };
    let mut rest = line.trim();
    while let Some(marked) = rest.strip_prefix('@') {
        let (mark, behind) = marked.split_once(' ').unwrap_or((marked, ""));
        rest = behind.trim_start();
        match mark {
            "unordered" => step.agreement = Agreement::Unordered,
            "words" => step.agreement = Agreement::Words,
            "kind" => step.agreement = Agreement::Kind,
            "differs" => step.agreement = Agreement::Differs,
            "closed" => {
                step.action = Action::Closed;
                return step;
            }
            "wait" => {
                step.action = Action::Wait(rest.parse().expect("milliseconds"));
                return step;
            }
            "raw" => {
                let (replies, bytes) = rest.split_once(' ').expect("@raw N bytes");
                step.action = Action::Raw(words(bytes).concat());
                step.replies = replies.parse().expect("a number of replies");
                return step;
            }
            "push" => {
                step.action = Action::Push;
                step.replies = rest.parse().expect("a number of messages");
                return step;
            }
            "frames" => {
                let (replies, behind) = rest.split_once(' ').expect("@frames N command");
                step.replies = replies.parse().expect("a number of replies");
                rest = behind;
            }
            _ => match mark.strip_prefix('~') {
                Some(most) => step.agreement = Agreement::Within(most.parse().expect("a tolerance")),
                None => mark.clone_into(&mut step.client),
            },
        }
    }
    step.action = Action::Command(words(rest));
    step
}

/// Splits as redis-cli does; a word like `{a*45}` is a repetition.
fn words(line: &str) -> Vec<Vec<u8>> {
    let mut words = Vec::new();
    let mut rest = line.trim_start().as_bytes();
    while !rest.is_empty() {
        let (word, behind) = match rest {
            [b'"', quoted @ ..] => unquote(quoted, line),
            _ => {
                let end = rest.iter().position(|byte| *byte == b' ').unwrap_or(rest.len());
                (repeated(&rest[..end]), &rest[end..])
            }
        };
        words.push(word);
        rest = behind.trim_ascii_start();
    }
    words
}

fn unquote<'a>(quoted: &'a [u8], line: &str) -> (Vec<u8>, &'a [u8]) {
    let mut word = Vec::new();
    let mut rest = quoted;
    loop {
        rest = match rest {
            [b'"', behind @ ..] => return (word, behind),
            [b'\\', b'x', high, low, behind @ ..] => {
                let digits = String::from_utf8_lossy(&[*high, *low]).into_owned();
                word.push(u8::from_str_radix(&digits, 16).expect("two hexadecimal digits"));
                behind
            }
            [b'\\', escaped, behind @ ..] => {
                word.push(match escaped {
                    b'n' => b'\n',
                    b'r' => b'\r',
                    b't' => b'\t',
                    other => *other,
                });
                behind
            }
            [byte, behind @ ..] => {
                word.push(*byte);
                behind
            }
            [] => panic!("unbalanced quotes: {line}"),
        };
    }
}

fn repeated(word: &[u8]) -> Vec<u8> {
    let inner = word.strip_prefix(b"{").and_then(|word| word.strip_suffix(b"}"));
    let Some([byte, b'*', times @ ..]) = inner else { return word.to_vec() };
    let times = std::str::from_utf8(times).ok().and_then(|times| times.parse().ok());
    times.map_or_else(|| word.to_vec(), |times| vec![*byte; times])
}
