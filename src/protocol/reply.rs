//! Replies and how they are written in RESP2 and RESP3, byte for byte as Redis writes them. Writing must never fail:
//! what has been done cannot be left unanswered.

use std::borrow::Cow;
use std::sync::Arc;

use bytes::{BufMut, Bytes, BytesMut};
use redis_protocol::error::RedisProtocolError;
use redis_protocol::resp2::{encode::extend_encode_borrowed as extend_resp2, types::BorrowedFrame as Resp2};
use redis_protocol::resp3::encode::complete::extend_encode_borrowed as extend_resp3;
use redis_protocol::resp3::types::{BorrowedFrame as Resp3, VerbatimStringFormat};

/// The protocol version of a connection.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Protocol {
    /// What every connection starts with.
    #[default]
    Resp2,
    /// After `HELLO 3`.
    Resp3,
}

/// A command's answer.
#[derive(Clone, Debug, PartialEq)]
pub enum Reply {
    /// `+OK` and its like.
    Simple(&'static str),
    /// The same with what a script says.
    Status(String),
    /// `-ERR …`: the whole line without the minus.
    Error(String),
    /// `:1`.
    Integer(i64),
    /// A stored value.
    Value(Arc<[u8]>),
    /// Any other bytes.
    Bulk(Bytes),
    /// No value: `$-1`, in RESP3 `_`.
    Null,
    /// No array: `*-1`, in RESP3 `_`.
    NullArray,
    /// An array.
    Array(Vec<Reply>),
    /// Bulk strings, as an array, a map or a set.
    Strings(Strings),
    /// A map; in RESP2 a flat array.
    Map(Vec<(Reply, Reply)>),
    /// A set; in RESP2 an array.
    Set(Vec<Reply>),
    /// Text for people: in RESP3 a verbatim string (`txt`), in RESP2 a bulk string.
    Verbatim(String),
    /// A floating-point number; in RESP2 a bulk string.
    Double(f64),
    /// Yes or no; in RESP2 1 or 0. No command answers one, but a script can.
    Bool(bool),
    /// Digits of a number of any size; in RESP2 a bulk string. No command answers one, but a script can.
    BigNumber(Bytes),
    /// Out-of-band data; in RESP2 an array.
    Push(Vec<Reply>),
    /// Several replies to one request, one behind the other: SUBSCRIBE answers once for each channel.
    Frames(Vec<Reply>),
}

/// What a client of RESP3 is told that bulk strings are; RESP2 has but arrays.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Shape {
    /// An array.
    #[default]
    Array,
    /// A map: each key is followed by its value.
    Map,
    /// A set.
    Set,
}

/// A string that a sheet has no room for stands on the next one: the keys of a large keyspace take many sheets, of which each is
/// let go once it is sent, and none has to be copied to a larger one.
const SHEET_BYTES: usize = 64 * 1024;

/// Bulk strings, written as they go over the wire, which is alike in both protocols: the keys of a large keyspace would take
/// several times the memory as replies of their own.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Strings {
    shape: Shape,
    count: usize,
    /// Each holds whole strings.
    pub(super) sheets: Vec<BytesMut>,
}

impl Strings {
    /// None yet, of this shape.
    #[must_use]
    pub fn shaped(shape: Shape) -> Self {
        Self { shape, ..Self::default() }
    }

    /// All of these.
    pub fn of<'s>(shape: Shape, all: impl Iterator<Item = &'s [u8]>) -> Self {
        let mut strings = Self::shaped(shape);
        all.for_each(|one| strings.push(one));
        strings
    }

    /// What they are together.
    #[must_use]
    pub fn shape(&self) -> Shape {
        self.shape
    }

    /// How many bytes they take.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.sheets.iter().map(BytesMut::len).sum()
    }

    pub(super) fn put_header(&self, protocol: Protocol, out: &mut BytesMut) {
        match (self.shape, protocol) {
            (Shape::Map, Protocol::Resp3) => put_header(b'%', self.count / 2, out),
            (Shape::Set, Protocol::Resp3) => put_header(b'~', self.count, out),
            (Shape::Array | Shape::Map | Shape::Set, _) => put_header(b'*', self.count, out),
        }
    }

    /// Adds one behind the others.
    pub fn push(&mut self, bytes: &[u8]) {
        self.count += 1;
        let takes_bytes = bytes.len() + FRAME_BYTES_ABOUT;
        if self.sheets.last().is_none_or(|sheet| sheet.len() + takes_bytes > SHEET_BYTES) {
            // Most replies are far shorter than a sheet.
            let room = if self.sheets.is_empty() { 0 } else { SHEET_BYTES.max(takes_bytes) };
            self.sheets.push(BytesMut::with_capacity(room));
        }
        if let Some(sheet) = self.sheets.last_mut() {
            put_header(b'$', bytes.len(), sheet);
            sheet.extend_from_slice(bytes);
            sheet.put_slice(b"\r\n");
        }
    }

    /// Each one, in order.
    pub fn into_items(self) -> impl Iterator<Item = Bytes> {
        self.sheets.into_iter().flat_map(|sheet| Self::items_on(sheet.freeze()))
    }

    fn items_on(mut rest: Bytes) -> impl Iterator<Item = Bytes> {
        std::iter::from_fn(move || {
            let line_end = rest.iter().position(|byte| *byte == b'\r')?;
            let length: usize = std::str::from_utf8(rest.get(1..line_end)?).ok()?.parse().ok()?;
            let begin = line_end + LINE_ENDS.len();
            let item = (begin + length <= rest.len()).then(|| rest.slice(begin..begin + length))?;
            rest = rest.split_off((begin + length + LINE_ENDS.len()).min(rest.len()));
            Some(item)
        })
    }
}

impl Reply {
    /// `+OK`.
    pub const OK: Self = Self::Simple("OK");

    /// A bulk string of this text.
    #[must_use]
    pub fn text(text: impl Into<String>) -> Self {
        Self::Bulk(Bytes::from(text.into()))
    }

    /// How many there are.
    #[must_use]
    pub fn count(number: usize) -> Self {
        Self::Integer(i64::try_from(number).unwrap_or(i64::MAX))
    }

    /// A copy of these bytes, if there are any.
    #[must_use]
    pub fn copy_or_null(bytes: Option<&[u8]>) -> Self {
        bytes.map_or(Self::Null, |bytes| Self::Bulk(Bytes::copy_from_slice(bytes)))
    }

    /// Appends the reply's bytes.
    pub fn encode(&self, protocol: Protocol, out: &mut BytesMut) {
        out.reserve(self.bytes_about());
        self.put(protocol, out);
    }

    fn put(&self, protocol: Protocol, out: &mut BytesMut) {
        match self {
            Self::Simple(text) => put_resp2(&Resp2::SimpleString(one_line(text).as_bytes()), out),
            Self::Status(text) => put_resp2(&Resp2::SimpleString(one_line(text).as_bytes()), out),
            Self::Error(text) => put_resp2(&Resp2::Error(&one_line(text.trim_matches(LINE_ENDS))), out),
            Self::Integer(number) => put_resp2(&Resp2::Integer(*number), out),
            Self::Value(value) => put_resp2(&Resp2::BulkString(value), out),
            Self::Bulk(bytes) => put_resp2(&Resp2::BulkString(bytes), out),
            Self::Null => put_null(protocol, b"$-1\r\n", out),
            Self::NullArray => put_null(protocol, b"*-1\r\n", out),
            Self::Array(items) => put_items(b'*', items, protocol, out),
            Self::Strings(strings) => {
                strings.put_header(protocol, out);
                strings.sheets.iter().for_each(|sheet| out.put_slice(sheet));
            }
            Self::Map(pairs) => put_map(pairs, protocol, out),
            Self::Set(items) => put_items(self.sigil(protocol), items, protocol, out),
            Self::Verbatim(text) => put_verbatim(text, protocol, out),
            Self::Double(number) => put_double(*number, protocol, out),
            Self::Push(items) => put_items(self.sigil(protocol), items, protocol, out),
            Self::Frames(frames) => frames.iter().for_each(|frame| frame.put(protocol, out)),
            Self::Bool(yes) => put_bool(*yes, protocol, out),
            Self::BigNumber(digits) => put_big_number(digits, protocol, out),
        }
    }

    /// The byte that announces a collection: RESP2 has but one.
    pub(super) const fn sigil(&self, protocol: Protocol) -> u8 {
        match (self, protocol) {
            (Self::Map(_), Protocol::Resp3) => b'%',
            (Self::Set(_), Protocol::Resp3) => b'~',
            (Self::Push(_), Protocol::Resp3) => b'>',
            _ => b'*',
        }
    }

    /// How many bytes the reply takes, roughly: the buffer grows once and not with each item, and what a client may leave
    /// unread is bounded.
    #[must_use]
    pub fn bytes_about(&self) -> usize {
        let content_bytes = match self {
            Self::Simple(text) => text.len(),
            Self::Status(text) | Self::Error(text) | Self::Verbatim(text) => text.len(),
            Self::Value(value) => value.len(),
            Self::Bulk(bytes) | Self::BigNumber(bytes) => bytes.len(),
            Self::Strings(strings) => strings.bytes(),
            Self::Array(items) | Self::Set(items) | Self::Push(items) | Self::Frames(items) => {
                items.iter().map(Self::bytes_about).sum()
            }
            Self::Map(pairs) => pairs.iter().map(|(key, value)| key.bytes_about() + value.bytes_about()).sum(),
            Self::Integer(_) | Self::Null | Self::NullArray | Self::Double(_) | Self::Bool(_) => 0,
        };
        content_bytes + FRAME_BYTES_ABOUT
    }
}

/// A sigil, a length of six digits and two line ends, rounded up.
const FRAME_BYTES_ABOUT: usize = 16;
const LINE_ENDS: [char; 2] = ['\r', '\n'];

/// What both protocols write alike is written as RESP2.
fn put_resp2(frame: &Resp2<'_>, out: &mut BytesMut) {
    let start = out.len();
    let end = extend_resp2(out, frame, false);
    finish(start, end, out);
}

fn put_resp3(frame: &Resp3<'_>, out: &mut BytesMut) {
    let start = out.len();
    let end = extend_resp3(out, frame, false);
    finish(start, end, out);
}

/// Cuts off what the encoder reserved but did not write: it counts digits with a floating-point logarithm, and finds
/// one too many in 999 999 999 999 999. Should it ever fail, the client still gets a reply of the right shape.
fn finish(start: usize, end: Result<usize, RedisProtocolError>, out: &mut BytesMut) {
    match end {
        Ok(end) => out.truncate(end),
        Err(error) => {
            tracing::error!(%error, "reply could not be encoded");
            out.truncate(start);
            out.put_slice(b"-ERR internal error: the reply could not be encoded\r\n");
        }
    }
}

fn put_null(protocol: Protocol, resp2: &[u8], out: &mut BytesMut) {
    match protocol {
        Protocol::Resp2 => out.put_slice(resp2),
        Protocol::Resp3 => put_resp3(&Resp3::Null, out),
    }
}

fn put_verbatim(text: &str, protocol: Protocol, out: &mut BytesMut) {
    let data = text.as_bytes();
    match protocol {
        Protocol::Resp2 => put_resp2(&Resp2::BulkString(data), out),
        Protocol::Resp3 => {
            let format = VerbatimStringFormat::Text;
            put_resp3(&Resp3::VerbatimString { data, format, attributes: None }, out);
        }
    }
}

/// The shortest digits that give the number back, as Redis writes since 7.2; 7.0 wrote 17 of them.
fn put_double(number: f64, protocol: Protocol, out: &mut BytesMut) {
    match protocol {
        // Rust writes infinities as Redis does, but NaN in capitals.
        Protocol::Resp2 if number.is_nan() => put_resp2(&Resp2::BulkString(b"nan"), out),
        Protocol::Resp2 => put_resp2(&Resp2::BulkString(number.to_string().as_bytes()), out),
        Protocol::Resp3 => put_resp3(&Resp3::Double { data: number, attributes: None }, out),
    }
}

fn put_bool(yes: bool, protocol: Protocol, out: &mut BytesMut) {
    match protocol {
        Protocol::Resp2 => put_resp2(&Resp2::Integer(yes.into()), out),
        Protocol::Resp3 => put_resp3(&Resp3::Boolean { data: yes, attributes: None }, out),
    }
}

fn put_big_number(digits: &[u8], protocol: Protocol, out: &mut BytesMut) {
    match protocol {
        Protocol::Resp2 => put_resp2(&Resp2::BulkString(digits), out),
        Protocol::Resp3 => {
            // A line within a line would be read as a reply of its own.
            let digits: Vec<u8> =
                digits.iter().map(|byte| if matches!(byte, b'\r' | b'\n') { b' ' } else { *byte }).collect();
            put_resp3(&Resp3::BigNumber { data: &digits, attributes: None }, out);
        }
    }
}

// The encoder's arrays and maps want a list of frames built for them, and its maps forget the order.

fn put_items(sigil: u8, items: &[Reply], protocol: Protocol, out: &mut BytesMut) {
    put_header(sigil, items.len(), out);
    for item in items {
        item.put(protocol, out);
    }
}

fn put_map(pairs: &[(Reply, Reply)], protocol: Protocol, out: &mut BytesMut) {
    match protocol {
        Protocol::Resp2 => put_header(b'*', 2 * pairs.len(), out),
        Protocol::Resp3 => put_header(b'%', pairs.len(), out),
    }
    for (key, value) in pairs {
        key.put(protocol, out);
        value.put(protocol, out);
    }
}

/// `*3`: what kind of collection follows, and of how many.
pub(super) fn put_header(sigil: u8, count: usize, out: &mut BytesMut) {
    out.put_u8(sigil);
    let first_digit = out.len();
    let mut rest = count;
    loop {
        out.put_u8(b'0' + (rest % 10) as u8);
        rest /= 10;
        if rest == 0 {
            break;
        }
    }
    // The digits came last one first.
    if let Some(digits) = out.get_mut(first_digit..) {
        digits.reverse();
    }
    out.put_slice(b"\r\n");
}

/// A line within a line would be read as a reply of its own.
fn one_line(text: &str) -> Cow<'_, str> {
    if text.contains(LINE_ENDS) { Cow::Owned(text.replace(LINE_ENDS, " ")) } else { Cow::Borrowed(text) }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn encode(reply: &Reply, protocol: Protocol) -> String {
        // Not an empty buffer: a pipeline's replies follow one another.
        let mut out = BytesMut::from(&b"+OK\r\n"[..]);
        reply.encode(protocol, &mut out);
        String::from_utf8(out.to_vec()).unwrap().strip_prefix("+OK\r\n").unwrap().to_owned()
    }

    fn strings(texts: &[&str]) -> Reply {
        let mut strings = Strings::default();
        texts.iter().for_each(|text| strings.push(text.as_bytes()));
        Reply::Strings(strings)
    }

    fn shaped(shape: Shape) -> Reply {
        let mut strings = Strings::shaped(shape);
        ["a", "1"].iter().for_each(|text| strings.push(text.as_bytes()));
        Reply::Strings(strings)
    }

    fn pairs() -> Vec<(Reply, Reply)> {
        vec![(Reply::text("b"), Reply::Integer(1)), (Reply::text("a"), Reply::Null)]
    }

    #[test]
    fn replies_are_written_as_redis_writes_them() {
        let cases = [
            (Reply::OK, "+OK\r\n", "+OK\r\n"),
            (Reply::Simple("a\r\nb"), "+a  b\r\n", "+a  b\r\n"),
            (Reply::Error("ERR no".into()), "-ERR no\r\n", "-ERR no\r\n"),
            (Reply::Error("ERR a\r\nb\r\n".into()), "-ERR a  b\r\n", "-ERR a  b\r\n"),
            (Reply::Error(String::new()), "-\r\n", "-\r\n"),
            (Reply::Integer(0), ":0\r\n", ":0\r\n"),
            (Reply::Integer(i64::MIN), ":-9223372036854775808\r\n", ":-9223372036854775808\r\n"),
            (Reply::Value(Arc::from(&b"a\r\n"[..])), "$3\r\na\r\n\r\n", "$3\r\na\r\n\r\n"),
            (Reply::Bulk(Bytes::new()), "$0\r\n\r\n", "$0\r\n\r\n"),
            (Reply::text("ü"), "$2\r\nü\r\n", "$2\r\nü\r\n"),
            (Reply::Null, "$-1\r\n", "_\r\n"),
            (Reply::NullArray, "*-1\r\n", "_\r\n"),
            (Reply::Array(vec![]), "*0\r\n", "*0\r\n"),
            (Reply::Strings(Strings::default()), "*0\r\n", "*0\r\n"),
            (
                strings(&["a", "", "bc"]),
                "*3\r\n$1\r\na\r\n$0\r\n\r\n$2\r\nbc\r\n",
                "*3\r\n$1\r\na\r\n$0\r\n\r\n$2\r\nbc\r\n",
            ),
            (shaped(Shape::Map), "*2\r\n$1\r\na\r\n$1\r\n1\r\n", "%1\r\n$1\r\na\r\n$1\r\n1\r\n"),
            (shaped(Shape::Set), "*2\r\n$1\r\na\r\n$1\r\n1\r\n", "~2\r\n$1\r\na\r\n$1\r\n1\r\n"),
            (Reply::Strings(Strings::shaped(Shape::Map)), "*0\r\n", "%0\r\n"),
            (
                Reply::Array(vec![Reply::Null, Reply::Array(vec![Reply::OK])]),
                "*2\r\n$-1\r\n*1\r\n+OK\r\n",
                "*2\r\n_\r\n*1\r\n+OK\r\n",
            ),
            (Reply::Map(vec![]), "*0\r\n", "%0\r\n"),
            (
                Reply::Map(pairs()),
                "*4\r\n$1\r\nb\r\n:1\r\n$1\r\na\r\n$-1\r\n",
                "%2\r\n$1\r\nb\r\n:1\r\n$1\r\na\r\n_\r\n",
            ),
            (Reply::Set(vec![Reply::OK]), "*1\r\n+OK\r\n", "~1\r\n+OK\r\n"),
            (Reply::Verbatim("hi\n".into()), "$3\r\nhi\n\r\n", "=7\r\ntxt:hi\n\r\n"),
            (Reply::Double(0.1), "$3\r\n0.1\r\n", ",0.1\r\n"),
            (Reply::Double(10.0), "$2\r\n10\r\n", ",10\r\n"),
            (Reply::Double(f64::INFINITY), "$3\r\ninf\r\n", ",inf\r\n"),
            (Reply::Double(f64::NEG_INFINITY), "$4\r\n-inf\r\n", ",-inf\r\n"),
            (Reply::Status("a\nb".into()), "+a b\r\n", "+a b\r\n"),
            (Reply::Bool(true), ":1\r\n", "#t\r\n"),
            (Reply::Bool(false), ":0\r\n", "#f\r\n"),
            (Reply::BigNumber(Bytes::from_static(b"12\r3")), "$4\r\n12\r3\r\n", "(12 3\r\n"),
            (Reply::Double(f64::NAN), "$3\r\nnan\r\n", ",nan\r\n"),
            (
                Reply::Push(vec![Reply::text("invalidate")]),
                "*1\r\n$10\r\ninvalidate\r\n",
                ">1\r\n$10\r\ninvalidate\r\n",
            ),
            (Reply::Frames(vec![Reply::OK, Reply::Push(vec![])]), "+OK\r\n*0\r\n", "+OK\r\n>0\r\n"),
        ];
        for (reply, resp2, resp3) in cases {
            assert_eq!(encode(&reply, Protocol::Resp2), resp2, "{reply:?}");
            assert_eq!(encode(&reply, Protocol::Resp3), resp3, "{reply:?}");
        }
    }

    #[test]
    fn integers_around_powers_of_ten_have_no_digit_too_many() {
        for power in (0..19).map(|exponent| 10_i64.pow(exponent)) {
            for number in [power - 1, power, power + 1, 1 - power, -power, -power - 1] {
                assert_eq!(encode(&Reply::Integer(number), Protocol::Resp2), format!(":{number}\r\n"));
            }
        }
    }

    #[test]
    fn lengths_around_powers_of_ten_are_written_whole() {
        for power in (0..7).map(|exponent| 10_usize.pow(exponent)) {
            for length in [power - 1, power, power + 1] {
                let text = "x".repeat(length);
                assert_eq!(encode(&Reply::text(text.as_str()), Protocol::Resp3), format!("${length}\r\n{text}\r\n"));
            }
        }
        let items = vec![Reply::Integer(7); 1000];
        assert_eq!(encode(&Reply::Array(items), Protocol::Resp2), format!("*1000\r\n{}", ":7\r\n".repeat(1000)));
    }

    #[test]
    fn a_failed_encoder_leaves_an_error_in_the_place_of_the_reply() {
        let mut out = BytesMut::from(&b"+OK\r\n$5\r\n\0\0"[..]);
        let failure = redis_protocol::error::RedisProtocolErrorKind::EncodeError;
        finish(5, Err(RedisProtocolError::new(failure, "")), &mut out);
        assert_eq!(out, &b"+OK\r\n-ERR internal error: the reply could not be encoded\r\n"[..]);
    }

    fn replies() -> impl Strategy<Value = Reply> {
        let leaf = prop_oneof![
            Just(Reply::OK),
            Just(Reply::Null),
            Just(Reply::NullArray),
            any::<i64>().prop_map(Reply::Integer),
            any::<f64>().prop_map(Reply::Double),
            any::<Vec<u8>>().prop_map(|bytes| Reply::Value(Arc::from(bytes))),
            any::<String>().prop_map(Reply::Error),
            any::<String>().prop_map(Reply::Verbatim),
        ];
        leaf.prop_recursive(3, 30, 5, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..5).prop_map(Reply::Array),
                prop::collection::vec(inner.clone(), 0..5).prop_map(Reply::Push),
                prop::collection::vec((any::<u16>().prop_map(|key| Reply::text(key.to_string())), inner), 0..5)
                    .prop_map(Reply::Map),
            ]
        })
    }

    proptest! {
        #[test]
        fn any_reply_is_one_frame(reply in replies()) {
            for protocol in [Protocol::Resp2, Protocol::Resp3] {
                let mut out = BytesMut::new();
                reply.encode(protocol, &mut out);
                let frame_bytes = match protocol {
                    Protocol::Resp2 => redis_protocol::resp2::decode::decode_range(&out).unwrap().unwrap().1,
                    Protocol::Resp3 => redis_protocol::resp3::decode::complete::decode_range(&out).unwrap().unwrap().1,
                };
                prop_assert_eq!(frame_bytes, out.len());
            }
        }
    }
}
