//! A log of strace, and the question asked of it: was each SET in the database's log, and that file flushed, before the
//! reply left? The order of its lines is the order of what happened; a call that others interrupt has two lines.

use std::collections::{BTreeMap, HashMap, VecDeque};

/// The calls that must be traced.
pub const CALLS: &str = "read,readv,recvfrom,recvmsg,write,writev,sendto,sendmsg,pwrite64,pwritev,fsync,fdatasync";

const READS: [&str; 4] = ["read", "readv", "recvfrom", "recvmsg"];
const WRITES: [&str; 6] = ["write", "writev", "sendto", "sendmsg", "pwrite64", "pwritev"];
const SYNCS: [&str; 2] = ["fsync", "fdatasync"];

/// A reply as strace writes it.
const OK: &str = r"+OK\r\n";

/// A system call; `begun` and `ended` are line numbers.
#[derive(Debug)]
struct Call<'t> {
    name: &'t str,
    /// What its descriptor is: a path, or a socket's number, which no other connection has.
    target: &'t str,
    /// Its arguments as they are written, in one piece or two.
    text: [&'t str; 2],
    begun: usize,
    ended: Option<usize>,
    result: Option<i64>,
}

/// A SET that was seen to arrive and to be acknowledged.
#[derive(Debug)]
struct Write<'t> {
    marker: &'t str,
    arrived: usize,
    acked: usize,
}

/// What a trace tells.
#[derive(Debug, Default)]
pub struct Verdict {
    /// How many of the SETs were seen to arrive and to be acknowledged.
    pub seen: usize,
    /// Those of them that were acknowledged too early, with the reason.
    pub early: Vec<String>,
}

/// Follows every SET of a key that is `prefix` and a marker of `marker_bytes` bytes; its value holds the marker, too. The
/// database's log is in files of which `is_log` says so.
pub fn judge(trace: &str, prefix: &str, marker_bytes: usize, is_log: impl Fn(&str) -> bool) -> Verdict {
    let calls = parse(trace);
    let log: Vec<&Call<'_>> = calls.iter().filter(|call| is_log(call.target)).collect();
    let writes = writes(&calls, prefix, marker_bytes);
    let early = writes.iter().filter_map(|write| fault(write, &log)).collect();
    Verdict { seen: writes.len(), early }
}

/// Why a SET was acknowledged too early, if it was.
fn fault(write: &Write<'_>, log: &[&Call<'_>]) -> Option<String> {
    let between = |call: &&&Call<'_>| call.begun > write.arrived && call.ended.is_some_and(|ended| ended < write.acked);
    let mut logged = log.iter().filter(between).filter(|call| call.is_write_of(write.marker)).peekable();
    let Write { marker, arrived, acked } = write;
    let span = format!("{marker}, which arrived in line {arrived} and was acknowledged in line {acked},");
    if logged.peek().is_none() {
        return Some(format!("{span} was not in the log by then"));
    }
    let flushed = |written: &&&Call<'_>| log.iter().filter(between).any(|call| call.flushes(written));
    (!logged.any(|written| flushed(&written)))
        .then(|| format!("{span} was in the log, but that was not flushed by then"))
}

impl Call<'_> {
    fn holds(&self, text: &str) -> bool {
        self.text.iter().any(|part| part.contains(text))
    }

    fn is_write_of(&self, marker: &str) -> bool {
        WRITES.contains(&self.name) && self.result.is_some_and(|result| result > 0) && self.holds(marker)
    }

    /// A flush counts for what was written to the same file before it began, and only if it succeeded.
    fn flushes(&self, written: &Call<'_>) -> bool {
        SYNCS.contains(&self.name)
            && self.result == Some(0)
            && self.target == written.target
            && written.ended.is_some_and(|ended| ended < self.begun)
    }
}

/// The SETs, each from the end of the read that brought it to the beginning of the write of its reply. A connection is
/// answered in order.
fn writes<'t>(calls: &[Call<'t>], prefix: &str, marker_bytes: usize) -> Vec<Write<'t>> {
    let mut steps: BTreeMap<usize, &Call<'t>> = BTreeMap::new();
    for call in calls {
        if READS.contains(&call.name) {
            steps.extend(call.ended.map(|ended| (ended, call)));
        } else if WRITES.contains(&call.name) {
            steps.insert(call.begun, call);
        }
    }
    let mut waiting: HashMap<&str, VecDeque<(&'t str, usize)>> = HashMap::new();
    let mut writes = Vec::new();
    for (line, call) in steps {
        if READS.contains(&call.name) {
            let markers = call.text.into_iter().flat_map(|part| markers(part, prefix, marker_bytes));
            waiting.entry(call.target).or_default().extend(markers.map(|marker| (marker, line)));
        } else if let Some(waiting) = waiting.get_mut(call.target) {
            let acked = call.text.iter().map(|part| part.matches(OK).count()).sum::<usize>();
            let acked = waiting.drain(..acked.min(waiting.len()));
            writes.extend(acked.map(|(marker, arrived)| Write { marker, arrived, acked: line }));
        }
    }
    writes
}

fn markers<'t>(text: &'t str, prefix: &str, marker_bytes: usize) -> impl Iterator<Item = &'t str> {
    let starts: Vec<usize> = text.match_indices(prefix).map(|(at, _)| at + prefix.len()).collect();
    starts.into_iter().filter_map(move |start| text.get(start..start + marker_bytes))
}

/// Reads `PID name(descriptor<target>, …) = result`, or its two halves; other lines say nothing here.
fn parse(trace: &str) -> Vec<Call<'_>> {
    let mut calls: Vec<Call<'_>> = Vec::new();
    let mut open: HashMap<&str, usize> = HashMap::new();
    for (line, text) in trace.lines().enumerate() {
        let Some((pid, text)) = text.split_once(char::is_whitespace) else { continue };
        let text = text.trim_start();
        if let Some((_, rest)) = text.strip_prefix("<... ").and_then(|text| text.split_once(" resumed>")) {
            if let Some(number) = open.remove(pid) {
                let call = &mut calls[number];
                (call.text[1], call.ended, call.result) = (rest, Some(line), result(rest));
            }
        } else if let Some(call) = begin(text, line) {
            if call.ended.is_none() {
                open.insert(pid, calls.len());
            }
            calls.push(call);
        }
    }
    calls
}

fn begin(text: &str, line: usize) -> Option<Call<'_>> {
    let (name, arguments) = text.split_once('(')?;
    let (_, target) = arguments.split_once('<')?;
    let (target, _) = target.split_once('>')?;
    let ended = (!text.ends_with("<unfinished ...>")).then_some(line);
    Some(Call { name, target, text: [arguments, ""], begun: line, ended, result: ended.and(result(text)) })
}

fn result(text: &str) -> Option<i64> {
    let (_, result) = text.rsplit_once(") = ")?;
    result.split_whitespace().next()?.parse().ok()
}

/// A SET of `sess:m-1` as strace shows it, with `middle` between its arrival and its reply.
fn planted(middle: &str) -> Verdict {
    let trace = format!(
        r#"7  recvfrom(9<socket:[5]>, "*3\r\n$3\r\nSET\r\n$8\r\nsess:m-1\r\n$3\r\nm-1\r\n", 16384, 0, NULL, NULL) = 40
{middle}
7  sendto(9<socket:[5]>, "+OK\r\n", 5, MSG_NOSIGNAL, NULL, 0) = 5
8  fdatasync(4</db/x-wal>) = 0"#
    );
    let verdict = judge(&trace, "sess:", 3, |path| path.ends_with("-wal"));
    assert_eq!(verdict.seen, 1, "{verdict:?}");
    verdict
}

const LOGGED: &str = r#"8  pwrite64(4</db/x-wal>, "\0\1m-1\2", 6, 0) = 6"#;

#[test]
fn a_flush_between_the_write_and_the_reply_is_accepted() {
    let verdict = planted(&format!("{LOGGED}\n8  fdatasync(4</db/x-wal>) = 0"));
    assert!(verdict.early.is_empty(), "{verdict:?}");
    let apart =
        "8  fsync(4</db/x-wal> <unfinished ...>\n7  read(3<pipe:[1]>, \"\", 8) = 0\n8  <... fsync resumed>) = 0";
    let verdict = planted(&format!("{LOGGED}\n{apart}"));
    assert!(verdict.early.is_empty(), "{verdict:?}");
}

#[test]
fn a_reply_before_the_flush_is_rejected() {
    let unflushed = [
        // Not flushed at all, or flushed before it was written.
        String::new(),
        LOGGED.to_owned(),
        format!("8  fdatasync(4</db/x-wal>) = 0\n{LOGGED}"),
        // Another file, with the same descriptor in another process.
        format!("{LOGGED}\n6  fdatasync(4</db/other-wal>) = 0"),
        // One that failed, one that has not ended, and one that began too early.
        format!("{LOGGED}\n8  fdatasync(4</db/x-wal>) = -1 EIO (Input/output error)"),
        format!("{LOGGED}\n8  fdatasync(4</db/x-wal> <unfinished ...>"),
        format!("6  fsync(4</db/x-wal> <unfinished ...>\n{LOGGED}\n6  <... fsync resumed>) = 0"),
        // A log that never got the SET.
        r#"8  pwrite64(4</db/x-wal>, "m-2", 3, 0) = 3
8  fdatasync(4</db/x-wal>) = 0"#
            .to_owned(),
        r#"8  pwrite64(4</db/x-wal>, "m-1", 3, 0) = -1 ENOSPC (No space left on device)
8  fdatasync(4</db/x-wal>) = 0"#
            .to_owned(),
        r#"8  pwrite64(4</db/x>, "m-1", 3, 0) = 3
8  fdatasync(4</db/x-wal>) = 0"#
            .to_owned(),
    ];
    for middle in unflushed {
        assert_eq!(planted(&middle).early.len(), 1, "accepted: {middle}");
    }
}

#[test]
fn replies_are_told_apart_by_connection_and_order() {
    let trace = r#"7  recvfrom(9<socket:[5]>, "sess:m-1 sess:m-2", 99, 0, NULL, NULL) = 17
7  recvfrom(10<socket:[6]>,  <unfinished ...>
8  pwrite64(4</db/x-wal>, "m-1", 3, 0) = 3
7  <... recvfrom resumed>"sess:m-3", 99, 0, NULL, NULL) = 8
8  fdatasync(4</db/x-wal>) = 0
7  sendto(9<socket:[5]>, "+OK\r\n", 5, MSG_NOSIGNAL, NULL, 0) = 5
8  pwrite64(4</db/x-wal>, "m-3", 3, 0) = 3
8  fdatasync(4</db/x-wal>) = 0
7  sendto(10<socket:[6]>, "+OK\r\n", 5, MSG_NOSIGNAL, NULL, 0) = 5
7  sendto(9<socket:[5]>, "+OK\r\n", 5, MSG_NOSIGNAL, NULL, 0) = 5
"#;
    let verdict = judge(trace, "sess:", 3, |path| path.ends_with("-wal"));
    assert_eq!(verdict.seen, 3, "{verdict:?}");
    assert_eq!(verdict.early.len(), 1, "{verdict:?}");
    assert!(verdict.early[0].starts_with("m-2"), "{verdict:?}");
}
