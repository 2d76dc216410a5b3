//! Remembers how far a request has arrived, so that the decoder, which starts over on an incomplete frame, runs once on
//! a whole one: a DEL of a million keys costs linear time however it is cut into pieces. This is also where a request
//! is refused. It must never look into an argument, nor twice at a byte.

use super::limits::{
    INVALID_COUNT, INVALID_LENGTH, LINE_BYTES_MAX, ProtocolError, RequestLimits, TOO_BIG_COUNT, TOO_BIG_LENGTH,
};

/// What stands at the head of the buffer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Frame {
    /// A request without arguments, of so many bytes. Redis skips it in silence.
    Empty(usize),
    /// A request that the decoder can decode.
    Whole,
}

/// How much of the frame at the head of the buffer has been seen. Positions count from the frame's start.
#[derive(Debug, Default)]
pub(super) struct Unfinished {
    /// Where the next line starts, or the frame ends; past the buffer's end while an argument is still arriving.
    next: usize,
    /// `None` until their number is known.
    arguments_left: Option<usize>,
    /// Finds the end of the line at `next`.
    line: LineSearch,
}

impl Unfinished {
    /// Looks at what has arrived since the last call; `None` when more must arrive.
    ///
    /// Redis takes any byte after a line's `\r`, the decoder only `\n`: what Redis takes is overwritten.
    pub(super) fn scan(&mut self, buffer: &mut [u8], limits: &RequestLimits) -> Result<Option<Frame>, ProtocolError> {
        while self.next <= buffer.len() {
            if self.arguments_left == Some(0) {
                return Ok(Some(Frame::Whole));
            }
            let Some(line) = self.next_line(buffer)? else { return Ok(None) };
            match self.arguments_left {
                Some(left) => self.argument(line, left, limits)?,
                None => {
                    if let Some(empty) = self.count(line, limits)? {
                        return Ok(Some(empty));
                    }
                }
            }
        }
        Ok(None)
    }

    /// The bytes that the frame takes at least, by what it has declared so far.
    pub(super) const fn bytes_min(&self) -> usize {
        self.next
    }

    /// Prepares for the next frame.
    pub(super) fn restart(&mut self) {
        self.next = 0;
        self.arguments_left = None;
        self.line.restart();
    }

    /// Bytes looked at so far; the tests' measure of cost.
    #[cfg(test)]
    pub(super) fn bytes_looked_at(&self) -> usize {
        self.line.bytes_looked_at
    }

    /// The line at `next`, once it has arrived with both bytes of its end.
    fn next_line<'a>(&mut self, buffer: &'a mut [u8]) -> Result<Option<&'a [u8]>, ProtocolError> {
        let too_big = if self.arguments_left.is_none() { TOO_BIG_COUNT } else { TOO_BIG_LENGTH };
        let Some(rest) = buffer.get_mut(self.next..) else { return Ok(None) };
        let Some(end) = self.line.find(rest, b'\r').map_err(|TooLong| ProtocolError::from(too_big))? else {
            return Ok(None);
        };
        let Some(after) = rest.get_mut(end + 1) else { return Ok(None) };
        *after = b'\n';
        Ok(rest.get(..end))
    }

    /// `*3`: how many arguments follow.
    fn count(&mut self, line: &[u8], limits: &RequestLimits) -> Result<Option<Frame>, ProtocolError> {
        let declared = line.get(1..).and_then(integer).ok_or_else(|| ProtocolError::from(INVALID_COUNT))?;
        let arguments = limits.arguments(declared)?;
        self.pass(line, 0);
        self.arguments_left = Some(arguments);
        Ok((arguments == 0).then_some(Frame::Empty(self.next)))
    }

    /// `$5`: how long the next argument is.
    fn argument(&mut self, line: &[u8], left: usize, limits: &RequestLimits) -> Result<(), ProtocolError> {
        let Some((b'$', digits)) = line.split_first() else { return Err(not_an_argument(line)) };
        let declared = integer(digits).ok_or_else(|| ProtocolError::from(INVALID_LENGTH))?;
        let bytes = limits.argument_bytes(declared)?;
        self.pass(line, bytes.saturating_add(CRLF_BYTES));
        self.arguments_left = Some(left.saturating_sub(1));
        Ok(())
    }

    /// Steps over a line and the bytes that it announced.
    fn pass(&mut self, line: &[u8], announced_bytes: usize) {
        self.next = self.next.saturating_add(line.len() + CRLF_BYTES).saturating_add(announced_bytes);
        self.line.restart();
    }
}

/// A search for a line's end that goes on where it stopped when more bytes have arrived.
#[derive(Debug, Default)]
pub(super) struct LineSearch {
    /// Bytes of the line known not to hold its end.
    searched_bytes: usize,
    #[cfg(test)]
    bytes_looked_at: usize,
}

/// A line of more than [`LINE_BYTES_MAX`] bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct TooLong;

impl LineSearch {
    /// Where the byte `end` stands in the line, of which `line` has arrived.
    ///
    /// A line is too long by its own length. Redis lets one pass whose end arrives together with the excess; here the
    /// same bytes have the same answer however the network cuts them.
    pub(super) fn find(&mut self, line: &[u8], end: u8) -> Result<Option<usize>, TooLong> {
        let line = line.get(..=LINE_BYTES_MAX).unwrap_or(line);
        let fresh = line.get(self.searched_bytes..).unwrap_or_default();
        let found = fresh.iter().position(|&byte| byte == end);
        let searched = found.unwrap_or(fresh.len());
        #[cfg(test)]
        {
            self.bytes_looked_at += searched + usize::from(found.is_some());
        }
        self.searched_bytes += searched;
        match found {
            Some(_) => Ok(Some(self.searched_bytes)),
            None if line.len() > LINE_BYTES_MAX => Err(TooLong),
            None => Ok(None),
        }
    }

    /// Prepares for the next line.
    pub(super) fn restart(&mut self) {
        self.searched_bytes = 0;
    }
}

const CRLF_BYTES: usize = 2;

fn not_an_argument(line: &[u8]) -> ProtocolError {
    // An empty line: Redis sees the `\r`, and writes a space for it.
    let got = line.first().map_or(' ', |&byte| char::from(byte));
    ProtocolError(format!("expected '$', got '{got}'"))
}

/// A number as Redis's `string2ll` reads it: no `+`, no leading zeros, no `-0`.
fn integer(digits: &[u8]) -> Option<i64> {
    let text = std::str::from_utf8(digits).ok()?;
    let unsigned = text.strip_prefix('-').unwrap_or(text);
    let canonical = text == "0" || unsigned.starts_with(|first: char| matches!(first, '1'..='9'));
    if canonical { text.parse().ok() } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: RequestLimits = RequestLimits::authenticated(512 * 1024 * 1024);

    fn scan(bytes: &[u8]) -> Result<Option<Frame>, ProtocolError> {
        Unfinished::default().scan(&mut bytes.to_vec(), &LIMITS)
    }

    #[test]
    fn numbers_are_read_as_redis_reads_them() {
        let read =
            [("0", 0), ("7", 7), ("-1", -1), ("9223372036854775807", i64::MAX), ("-9223372036854775808", i64::MIN)];
        for (text, number) in read {
            assert_eq!(integer(text.as_bytes()), Some(number), "{text}");
        }
        for text in ["", "-", "+1", "01", "-0", "-01", "00", " 1", "1 ", "1a", "9223372036854775808", "٣"] {
            assert_eq!(integer(text.as_bytes()), None, "{text}");
        }
    }

    #[test]
    fn a_frame_is_whole_only_with_its_last_byte() {
        let frame = b"*2\r\n$4\r\nECHO\r\n$0\r\n\r\n";
        for end in 0..frame.len() {
            assert_eq!(scan(&frame[..end]), Ok(None), "{end}");
        }
        assert_eq!(scan(frame), Ok(Some(Frame::Whole)));
    }

    #[test]
    fn a_request_without_arguments_is_empty() {
        for (bytes, length) in [(&b"*0\r\n*1"[..], 4), (b"*-1\r\n", 5), (b"*-9223372036854775808\r\n", 23)] {
            assert_eq!(scan(bytes), Ok(Some(Frame::Empty(length))));
        }
    }

    #[test]
    fn an_error_is_given_again() {
        let mut unfinished = Unfinished::default();
        let mut buffer = b"*1\r\n+".to_vec();
        assert_eq!(unfinished.scan(&mut buffer, &LIMITS), Ok(None));
        buffer.extend_from_slice(b"\r\n");
        let error = unfinished.scan(&mut buffer, &LIMITS);
        assert!(error.is_err());
        assert_eq!(unfinished.scan(&mut buffer, &LIMITS), error);
    }

    #[test]
    fn an_argument_is_not_looked_into() {
        let mut unfinished = Unfinished::default();
        let mut buffer = b"*1\r\n$1000000\r\n".to_vec();
        for _ in 0..1000 {
            assert_eq!(unfinished.scan(&mut buffer, &LIMITS), Ok(None));
            buffer.extend_from_slice(&[b'\r'; 1000]);
        }
        buffer.extend_from_slice(b"\r\n");
        assert_eq!(unfinished.scan(&mut buffer, &LIMITS), Ok(Some(Frame::Whole)));
        assert_eq!(unfinished.bytes_looked_at(), "*1\r$1000000\r".len());
    }

    #[test]
    fn a_line_that_arrives_by_the_byte_is_looked_at_once() {
        let mut unfinished = Unfinished::default();
        let mut buffer = b"*".to_vec();
        while buffer.len() <= LINE_BYTES_MAX {
            assert_eq!(unfinished.scan(&mut buffer, &LIMITS), Ok(None));
            buffer.push(b'1');
        }
        assert_eq!(unfinished.scan(&mut buffer, &LIMITS), Err(ProtocolError::from(TOO_BIG_COUNT)));
        assert_eq!(unfinished.bytes_looked_at(), LINE_BYTES_MAX + 1);
    }
}
