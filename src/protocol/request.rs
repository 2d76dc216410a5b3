//! Takes requests off a read buffer: words of a connection's bytes, without copying them. It must never hold bytes
//! itself: what a client may make the server keep is the buffer, and whoever reads into it bounds it.

use bytes::{Buf, Bytes, BytesMut};
use redis_protocol::resp2::{decode::decode_bytes_mut, types::BytesFrame};

use super::inline::split_words;
use super::limits::{ProtocolError, RequestLimits, TOO_BIG_INLINE};
use super::unfinished::{Frame, LineSearch, TooLong, Unfinished};

/// Requests from this size on have the buffer grown at once.
const LARGE_BYTES: usize = 1 << 20;

/// A buffer never grows to more than so many times what has come.
const EARNED_SHARE: usize = 16;

/// Room for the beginning of the next request, which may come with the end of this one: as much as is read at once.
const BEHIND_BYTES: usize = 16 * 1024;

/// A command's words, its name first; never empty.
pub type Request = Vec<Bytes>;

/// Takes requests off a read buffer.
#[derive(Debug, Default)]
pub struct RequestReader {
    multibulk: Unfinished,
    inline: LineSearch,
    #[cfg(test)]
    decoder_runs: usize,
}

impl RequestReader {
    /// A reader at the start of a connection.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes the next whole request off the buffer; `None` when more bytes are needed. Empty requests are skipped.
    ///
    /// Between calls, bytes may only be appended to the buffer. After an error the rest of it has no meaning.
    pub fn next(&mut self, buffer: &mut BytesMut, limits: &RequestLimits) -> Result<Option<Request>, ProtocolError> {
        while let Some(first) = buffer.first() {
            let request = if *first == b'*' { self.next_multibulk(buffer, limits)? } else { self.next_inline(buffer)? };
            if request.as_ref().is_none_or(|words| !words.is_empty()) {
                return Ok(request);
            }
        }
        Ok(None)
    }

    /// The bytes that the unfinished request at the head of the buffer takes at least, by what it has declared so far; 0 when
    /// none has begun.
    #[must_use]
    pub fn awaited_bytes(&self) -> usize {
        self.multibulk.bytes_min()
    }

    fn next_multibulk(
        &mut self,
        buffer: &mut BytesMut,
        limits: &RequestLimits,
    ) -> Result<Option<Request>, ProtocolError> {
        let Some(frame) = self.multibulk.scan(buffer, limits)? else {
            self.make_room(buffer);
            return Ok(None);
        };
        self.multibulk.restart();
        match frame {
            Frame::Empty(bytes) => {
                buffer.advance(bytes);
                Ok(Some(Request::new()))
            }
            Frame::Whole => {
                #[cfg(test)]
                {
                    self.decoder_runs += 1;
                }
                decode(buffer).map(Some)
            }
        }
    }

    /// Grows the buffer once to what a large request has declared, as soon as a part of it has come that earns it: a buffer that
    /// doubles is copied, and what it leaves stays in memory for a while, as much again as the request.
    fn make_room(&self, buffer: &mut BytesMut) {
        let awaited = self.multibulk.bytes_min();
        let is_earned = awaited >= LARGE_BYTES && awaited / EARNED_SHARE <= buffer.len();
        if is_earned && buffer.capacity() < awaited {
            buffer.reserve(awaited.saturating_add(BEHIND_BYTES).saturating_sub(buffer.len()));
        }
    }

    fn next_inline(&mut self, buffer: &mut BytesMut) -> Result<Option<Request>, ProtocolError> {
        let end = self.inline.find(buffer, b'\n').map_err(|TooLong| ProtocolError::from(TOO_BIG_INLINE))?;
        let Some(line) = end.and_then(|end| buffer.get(..end)) else { return Ok(None) };
        let words = split_words(line.strip_suffix(b"\r").unwrap_or(line))?;
        buffer.advance(line.len() + 1);
        self.inline.restart();
        Ok(Some(words))
    }
}

/// The decoder's words for a frame that the scanner has found whole. They cannot disagree; if they did, the connection
/// would have lost its place and must close.
fn decode(buffer: &mut BytesMut) -> Result<Request, ProtocolError> {
    let Ok(Some((BytesFrame::Array(frames), ..))) = decode_bytes_mut(buffer) else { return Err(unreadable()) };
    frames.into_iter().map(word).collect()
}

fn word(frame: BytesFrame) -> Result<Bytes, ProtocolError> {
    if let BytesFrame::BulkString(word) = frame { Ok(word) } else { Err(unreadable()) }
}

fn unreadable() -> ProtocolError {
    ProtocolError::from("unreadable request")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::limits::{BULK_BYTES_MAX_DEFAULT, LINE_BYTES_MAX};
    use super::*;

    const AUTHENTICATED: RequestLimits = RequestLimits::authenticated(BULK_BYTES_MAX_DEFAULT);
    const UNAUTHENTICATED: RequestLimits = RequestLimits::unauthenticated();

    fn encode(words: &[Vec<u8>]) -> Vec<u8> {
        let mut bytes = format!("*{}\r\n", words.len()).into_bytes();
        for word in words {
            bytes.extend_from_slice(format!("${}\r\n", word.len()).as_bytes());
            bytes.extend_from_slice(word);
            bytes.extend_from_slice(b"\r\n");
        }
        bytes
    }

    /// Feeds the pieces one after another, and takes what can be taken after each.
    fn read<'a>(
        pieces: impl IntoIterator<Item = &'a [u8]>,
        limits: &RequestLimits,
    ) -> (Vec<Request>, Result<BytesMut, ProtocolError>) {
        let (mut reader, mut buffer, mut requests) = (RequestReader::new(), BytesMut::new(), Vec::new());
        for piece in pieces {
            buffer.extend_from_slice(piece);
            loop {
                match reader.next(&mut buffer, limits) {
                    Ok(Some(request)) => requests.push(request),
                    Ok(None) => break,
                    Err(error) => return (requests, Err(error)),
                }
            }
        }
        (requests, Ok(buffer))
    }

    fn error_of(bytes: &[u8], limits: &RequestLimits) -> Option<String> {
        read([bytes], limits).1.err().map(|error| error.to_string())
    }

    fn cut<'a>(bytes: &'a [u8], sizes: &[usize]) -> Vec<&'a [u8]> {
        let (mut pieces, mut rest, mut sizes) = (Vec::new(), bytes, sizes.iter().cycle());
        while let Some(size) = sizes.next().filter(|_| !rest.is_empty()) {
            let (piece, after) = rest.split_at((*size).min(rest.len()));
            pieces.push(piece);
            rest = after;
        }
        pieces
    }

    fn line(prefix: &str, bytes: usize) -> Vec<u8> {
        let mut line = prefix.as_bytes().to_vec();
        line.extend(std::iter::repeat_n(b'1', bytes));
        line
    }

    #[test]
    fn refusals_have_the_words_of_redis_7_0_15() {
        let cases: &[(&[u8], &str)] = &[
            (b"*\r\n", "invalid multibulk length"),
            (b"*abc\r\n", "invalid multibulk length"),
            (b"*01\r\n", "invalid multibulk length"),
            (b"*+1\r\n", "invalid multibulk length"),
            (b"*-0\r\n", "invalid multibulk length"),
            (b"*2147483648\r\n", "invalid multibulk length"),
            (b"*99999999999999999999\r\n", "invalid multibulk length"),
            (b"*-9223372036854775809\r\n", "invalid multibulk length"),
            (b"*1\r\n+PING\r\n", "expected '$', got '+'"),
            (b"*1\r\nPING\r\n", "expected '$', got 'P'"),
            (b"*1\r\n\r\n", "expected '$', got ' '"),
            (b"*1\r\n*1\r\n$1\r\na\r\n", "expected '$', got '*'"),
            (b"*1\r\n\x07x\r\n", "expected '$', got '\x07'"),
            (b"*2\r\n$4\r\nECHO\r\n:1\r\n", "expected '$', got ':'"),
            (b"*1\r\n$-1\r\n", "invalid bulk length"),
            (b"*1\r\n$536870913\r\n", "invalid bulk length"),
            (b"*1\r\n$99999999999999999999\r\n", "invalid bulk length"),
            (b"*1\r\n$\r\n", "invalid bulk length"),
            (b"*1\r\n$04\r\nPING\r\n", "invalid bulk length"),
            (b"*1\r\n$-0\r\n", "invalid bulk length"),
            (b"ECHO \"a\r\n", "unbalanced quotes in request"),
            (b"ECHO 'a'b\r\n", "unbalanced quotes in request"),
        ];
        for &(bytes, text) in cases {
            let expected = format!("Protocol error: {text}");
            assert_eq!(error_of(bytes, &AUTHENTICATED), Some(expected), "{}", bytes.escape_ascii());
        }
    }

    #[test]
    fn a_line_without_end_is_refused_past_64_kib() {
        for (prefix, text) in [
            ("*", "too big mbulk count string"),
            ("*1\r\n$", "too big bulk count string"),
            ("PING ", "too big inline request"),
        ] {
            let line_bytes = LINE_BYTES_MAX - prefix.trim_start_matches("*1\r\n").len();
            assert_eq!(error_of(&line(prefix, line_bytes), &AUTHENTICATED), None);
            let expected = Some(format!("Protocol error: {text}"));
            assert_eq!(error_of(&line(prefix, line_bytes + 1), &AUTHENTICATED), expected);
        }
    }

    #[test]
    fn a_stranger_is_refused_in_other_words() {
        let cases: &[(&[u8], Option<&str>)] = &[
            (b"*10\r\n", None),
            (b"*11\r\n", Some("unauthenticated multibulk length")),
            (b"*11\r\n+\r\n", Some("unauthenticated multibulk length")),
            (b"*1048577\r\n", Some("unauthenticated multibulk length")),
            (b"*2147483648\r\n", Some("invalid multibulk length")),
            (b"*1\r\n$16384\r\n", None),
            (b"*1\r\n$16385\r\n", Some("unauthenticated bulk length")),
            (b"*1\r\n$536870912\r\n", Some("unauthenticated bulk length")),
            (b"*1\r\n$536870913\r\n", Some("invalid bulk length")),
        ];
        for &(bytes, text) in cases {
            let expected = text.map(|text| format!("Protocol error: {text}"));
            assert_eq!(error_of(bytes, &UNAUTHENTICATED), expected, "{}", bytes.escape_ascii());
        }
    }

    #[test]
    fn the_largest_declarations_are_awaited_without_memory() {
        for bytes in [&b"*1048576\r\n"[..], b"*1\r\n$536870912\r\n", b"*1048576\r\n$536870912\r\n"] {
            let buffer = read([bytes], &AUTHENTICATED).1.unwrap();
            assert!(buffer.capacity() <= 64, "{}", buffer.capacity());
        }
        assert_eq!(error_of(b"*1048577\r\n", &AUTHENTICATED), Some("Protocol error: invalid multibulk length".into()));
    }

    #[test]
    fn a_large_request_has_room_at_once_when_a_sixteenth_of_it_has_come() {
        for (bytes, grows) in [(LARGE_BYTES, true), (LARGE_BYTES / 2, false)] {
            let (mut reader, mut buffer) = (RequestReader::new(), BytesMut::new());
            buffer.extend_from_slice(format!("*1\r\n${bytes}\r\n").as_bytes());
            while buffer.len() < bytes / EARNED_SHARE {
                assert_eq!(reader.next(&mut buffer, &AUTHENTICATED), Ok(None));
                assert!(buffer.capacity() < bytes / 4, "{}", buffer.capacity());
                buffer.extend_from_slice(&[b'x'; 4_096]);
            }
            buffer.extend_from_slice(&[b'x'; 4_096]);
            assert_eq!(reader.next(&mut buffer, &AUTHENTICATED), Ok(None));
            let room = bytes..=bytes + 2 * BEHIND_BYTES;
            assert_eq!(room.contains(&buffer.capacity()), grows, "{}", buffer.capacity());
            buffer.resize(bytes + format!("*1\r\n${bytes}\r\n").len(), b'x');
            let capacity = buffer.capacity();
            buffer.extend_from_slice(b"\r\n*1\r\n$4\r\nPI");
            assert!(!grows || buffer.capacity() == capacity);
            assert_eq!(
                reader.next(&mut buffer, &AUTHENTICATED).map(|words| words.map(|words| words[0].len())),
                Ok(Some(bytes))
            );
        }
    }

    #[test]
    fn what_is_declared_is_awaited_until_it_has_come() {
        let (mut reader, mut buffer) = (RequestReader::new(), BytesMut::new());
        let head = b"*2\r\n$3\r\nGET\r\n$1000\r\n";
        for (piece, awaited_bytes) in
            [(&head[..4], 4), (&head[4..9], 13), (&head[9..], head.len() + 1_002), (&[b'x'; 1_002][..], 0)]
        {
            buffer.extend_from_slice(piece);
            let request = reader.next(&mut buffer, &AUTHENTICATED).unwrap();
            assert_eq!((reader.awaited_bytes(), request.is_some()), (awaited_bytes, awaited_bytes == 0));
        }
    }

    #[test]
    fn empty_requests_are_skipped_in_silence() {
        for bytes in [&b"*0\r\nPING\r\n"[..], b"*-1\r\nPING\r\n", b"*-5\r\nPING\r\n", b"*0\rXPING\r\n", b"\r\nPING\r\n"]
        {
            assert_eq!(read([bytes], &AUTHENTICATED).0, [["PING"]]);
        }
        for bytes in
            [&b"\nPING\n"[..], b"   \r\nPING\r\n", b"\r\r\nPING\r\n", b"\rPING\r\n", b"\n\n*0\r\n*1\r\n$4\r\nPING\r\n"]
        {
            assert_eq!(read([bytes], &AUTHENTICATED).0, [["PING"]]);
        }
    }

    #[test]
    fn the_byte_after_a_carriage_return_is_not_looked_at() {
        assert_eq!(read([&b"*1\rX$4\rXPINGxxPING\r\n"[..]], &AUTHENTICATED).0, [["PING"], ["PING"]]);
        assert_eq!(read([&b"*1\n$4\nPING\n"[..]], &AUTHENTICATED).0, Vec::<Request>::new());
        assert_eq!(read([&b"*2\r\n$4\r\nECHO\r\n$4\r\n\r\n\r\n\r\n"[..]], &AUTHENTICATED).0, [["ECHO", "\r\n\r\n"]]);
    }

    #[test]
    fn words_are_not_copied() {
        let mut buffer = BytesMut::from(&b"*1\r\n$4\r\nPING\r\n"[..]);
        let before = buffer.as_ptr();
        let request = RequestReader::new().next(&mut buffer, &AUTHENTICATED).unwrap().unwrap();
        assert_eq!(request[0].as_ptr(), before.wrapping_add(8));
    }

    #[test]
    fn a_del_of_a_million_keys_costs_linear_time() {
        let mut words = vec![b"DEL".to_vec()];
        words.extend((0..1_000_000).map(|key| format!("session:{key}").into_bytes()));
        let bytes = encode(&words);
        let (mut reader, mut buffer, mut request) = (RequestReader::new(), BytesMut::new(), None);
        for piece in bytes.chunks(16 * 1024) {
            assert!(request.is_none());
            buffer.extend_from_slice(piece);
            request = reader.next(&mut buffer, &AUTHENTICATED).unwrap();
        }
        assert_eq!(request.map(|request| request.len()), Some(1_000_001));
        assert_eq!(reader.decoder_runs, 1);
        let lengths_bytes: usize = words.iter().map(|word| format!("${}\r", word.len()).len()).sum();
        // A `\r` that ends a piece is looked at again with its `\n`.
        let twice = bytes.chunks(16 * 1024).filter(|piece| piece.ends_with(b"\r")).count();
        let looked_at = reader.multibulk.bytes_looked_at();
        assert!(looked_at <= "*1000001\r".len() + lengths_bytes + twice, "{looked_at}");
    }

    fn words() -> impl Strategy<Value = Vec<Vec<u8>>> {
        prop::collection::vec(prop::collection::vec(any::<u8>(), 0..40), 1..10)
    }

    /// Bytes that look like requests often enough to get past the first line.
    fn requestlike() -> impl Strategy<Value = Vec<u8>> {
        let piece = prop_oneof![
            prop::sample::select(vec![
                "*1\r\n", "*2\r\n", "*0\r\n", "*-1\r\n", "$0\r\n", "$1\r\n", "$3\r\n", "\r\n", "\r", "*", "$"
            ])
            .prop_map(|text| text.as_bytes().to_vec()),
            prop::sample::select(vec![
                "$4\r\nPING\r\n",
                "PING\r\n",
                "\"",
                "'",
                "\\x",
                "-1",
                ":1\r\n",
                "*3\r\n*1\r\n",
                "a b\n"
            ])
            .prop_map(|text| text.as_bytes().to_vec()),
            prop::collection::vec(any::<u8>(), 0..8),
        ];
        prop::collection::vec(piece, 0..30).prop_map(|pieces| pieces.concat())
    }

    proptest! {
        #[test]
        fn any_requests_survive_any_cutting(
            requests in prop::collection::vec((words(), any::<bool>()), 0..8),
            sizes in prop::collection::vec(1..30_usize, 1..8),
        ) {
            let inline = |words: &[Vec<u8>]| {
                let words: Vec<String> = words
                    .iter()
                    .map(|word| word.iter().map(|byte| format!("\\x{byte:02x}")).collect::<String>())
                    .map(|word| format!("\"{word}\""))
                    .collect();
                (words.join(" ") + "\r\n").into_bytes()
            };
            let bytes: Vec<u8> = requests
                .iter()
                .flat_map(|(words, typed)| if *typed { inline(words) } else { encode(words) })
                .collect();
            let (read, rest) = read(cut(&bytes, &sizes), &AUTHENTICATED);
            let expected: Vec<Vec<Vec<u8>>> = requests.into_iter().map(|(words, _)| words).collect();
            prop_assert_eq!(read, expected);
            prop_assert_eq!(rest, Ok(BytesMut::new()));
        }

        #[test]
        fn arbitrary_bytes_mean_the_same_however_they_are_cut(
            bytes in requestlike(),
            sizes in prop::collection::vec(1..9_usize, 1..8),
        ) {
            let (whole, whole_rest) = read([&bytes[..]], &AUTHENTICATED);
            let (pieces, pieces_rest) = read(cut(&bytes, &sizes), &AUTHENTICATED);
            prop_assert_eq!(&whole, &pieces);
            prop_assert_eq!(&whole_rest, &pieces_rest);
            prop_assert!(whole_rest != Err(unreadable()));
            prop_assert!(whole.iter().all(|request| !request.is_empty()));
        }

        #[test]
        fn the_buffer_of_a_stranger_stays_small(bytes in requestlike()) {
            let longest = 10 + UNAUTHENTICATED.arguments_max * (UNAUTHENTICATED.bulk_bytes_max + 10);
            let mut stream = bytes;
            stream.resize(4 * longest, b'\r');
            let (mut reader, mut buffer) = (RequestReader::new(), BytesMut::new());
            for piece in stream.chunks(4096) {
                buffer.extend_from_slice(piece);
                while let Ok(Some(_)) = reader.next(&mut buffer, &UNAUTHENTICATED) {}
                if reader.next(&mut buffer, &UNAUTHENTICATED).is_err() { break; }
                prop_assert!(buffer.len() <= longest);
            }
        }
    }
}
