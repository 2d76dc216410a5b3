//! A plain client: it keeps every reply as it came over the wire, so that a test can tell `$-1` from `_`.

use std::fmt;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

/// Requests of one piece: the replies to them fit into the buffers of the sockets.
const PIPELINE: usize = 500;

/// No reply may take longer.
const REPLY_TIMEOUT: Duration = Duration::from_secs(20);

/// No connection that is to be closed may stay open longer.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(3);

/// One reply, with the byte that announced it.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Frame {
    /// `+`, `-`, `:`, `_`, `,`, `#`, `(`: one line.
    Line(u8, Vec<u8>),
    /// `$`, `=`, `!`: counted bytes, or `$-1`.
    Bulk(u8, Option<Vec<u8>>),
    /// `*`, `%`, `~`, `>`: further replies (two for each pair of a map), or `*-1`.
    Aggregate(u8, Option<Vec<Frame>>),
}

impl Frame {
    /// The bytes of a bulk string.
    pub fn bytes(&self) -> Option<&[u8]> {
        match self {
            Self::Bulk(_, bytes) => bytes.as_deref(),
            Self::Line(..) | Self::Aggregate(..) => None,
        }
    }

    /// The replies inside.
    pub fn items(&self) -> &[Frame] {
        match self {
            Self::Aggregate(_, Some(items)) => items,
            Self::Line(..) | Self::Bulk(..) | Self::Aggregate(_, None) => &[],
        }
    }

    /// The number of `:`.
    pub fn integer(&self) -> Option<i64> {
        match self {
            Self::Line(b':', text) => std::str::from_utf8(text).ok()?.parse().ok(),
            Self::Line(..) | Self::Bulk(..) | Self::Aggregate(..) => None,
        }
    }
}

impl fmt::Debug for Frame {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Line(kind, text) => write!(formatter, "{}{}", char::from(*kind), text.escape_ascii()),
            Self::Bulk(kind, None) | Self::Aggregate(kind, None) => write!(formatter, "{}-1", char::from(*kind)),
            Self::Bulk(kind, Some(bytes)) => write!(formatter, "{}\"{}\"", char::from(*kind), bytes.escape_ascii()),
            Self::Aggregate(kind, Some(items)) => {
                write!(formatter, "{}", char::from(*kind))?;
                formatter.debug_list().entries(items).finish()
            }
        }
    }
}

/// One connection.
#[derive(Debug)]
pub struct Connection<S: Read = TcpStream> {
    reader: BufReader<S>,
}

impl Connection {
    /// Connects.
    pub fn open(address: SocketAddr) -> io::Result<Self> {
        let stream = TcpStream::connect_timeout(&address, REPLY_TIMEOUT)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(REPLY_TIMEOUT))?;
        stream.set_write_timeout(Some(REPLY_TIMEOUT))?;
        Ok(Self { reader: BufReader::new(stream) })
    }

    /// Whether the server closes the connection soon, nothing being left to read.
    pub fn is_closed(&mut self) -> bool {
        if self.reader.get_ref().set_read_timeout(Some(CLOSE_TIMEOUT)).is_err() {
            return false;
        }
        let mut byte = [0];
        match self.reader.read(&mut byte) {
            Ok(read) => read == 0,
            Err(error) => error.kind() == io::ErrorKind::ConnectionReset,
        }
    }
}

impl<S: Read + Write> Connection<S> {
    /// Speaks over a stream that is there already.
    pub fn over(stream: S) -> Self {
        Self { reader: BufReader::new(stream) }
    }

    /// What it speaks over.
    pub fn stream(&mut self) -> &mut S {
        self.reader.get_mut()
    }

    /// Sends a command and waits for its reply.
    pub fn call(&mut self, words: &[impl AsRef<[u8]>]) -> io::Result<Frame> {
        self.send(&encode(words))?;
        self.read()
    }

    /// Sends writes in pieces, each of which is to be answered with OK.
    pub fn write_all(&mut self, requests: impl IntoIterator<Item = Vec<u8>>) {
        let mut requests = requests.into_iter().peekable();
        while requests.peek().is_some() {
            let piece: Vec<Vec<u8>> = requests.by_ref().take(PIPELINE).collect();
            self.send(&piece.concat()).expect("a server");
            for request in &piece {
                let reply = self.read().expect("a reply");
                assert_eq!(reply, Frame::Line(b'+', b"OK".to_vec()), "{}", String::from_utf8_lossy(request));
            }
        }
    }

    /// A number of INFO.
    pub fn info(&mut self, name: &str) -> u64 {
        let info = self.call(&["INFO", "everything"]).expect("a reply");
        let text = String::from_utf8_lossy(info.bytes().expect("INFO answers text")).into_owned();
        let number = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':')?.parse().ok());
        number.unwrap_or_else(|| panic!("{name} is no number of INFO: {text}"))
    }

    /// Sends bytes as they are.
    pub fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.reader.get_mut().write_all(bytes)
    }

    /// Reads one reply.
    pub fn read(&mut self) -> io::Result<Frame> {
        let mut line = Vec::new();
        self.reader.read_until(b'\n', &mut line)?;
        let Some(([kind, text @ ..], b"\r\n")) = line.split_last_chunk::<2>().map(|(head, end)| (head, &end[..]))
        else {
            return Err(io::Error::new(
                io::ErrorKind::UnexpectedEof,
                format!("no reply: {:?}", line.escape_ascii().to_string()),
            ));
        };
        match kind {
            b'$' | b'=' | b'!' => Ok(Frame::Bulk(*kind, self.read_bytes(count(text)?)?)),
            b'*' | b'~' | b'>' => self.read_items(*kind, count(text)?),
            b'%' => self.read_items(*kind, count(text)?.map(|pairs| pairs * 2)),
            _ => Ok(Frame::Line(*kind, text.to_vec())),
        }
    }

    fn read_bytes(&mut self, length: Option<usize>) -> io::Result<Option<Vec<u8>>> {
        let Some(length) = length else { return Ok(None) };
        let mut bytes = vec![0; length + 2];
        self.reader.read_exact(&mut bytes)?;
        bytes.truncate(length);
        Ok(Some(bytes))
    }

    fn read_items(&mut self, kind: u8, length: Option<usize>) -> io::Result<Frame> {
        let Some(length) = length else { return Ok(Frame::Aggregate(kind, None)) };
        let items: io::Result<_> = (0..length).map(|_| self.read()).collect();
        Ok(Frame::Aggregate(kind, Some(items?)))
    }
}

/// `None` for -1.
fn count(text: &[u8]) -> io::Result<Option<usize>> {
    let text = String::from_utf8_lossy(text);
    if text == "-1" {
        return Ok(None);
    }
    let count = text.parse().map_err(|_| io::Error::new(io::ErrorKind::InvalidData, format!("no length: {text}")))?;
    Ok(Some(count))
}

/// A command's bytes.
pub fn encode(words: &[impl AsRef<[u8]>]) -> Vec<u8> {
    let mut bytes = format!("*{}\r\n", words.len()).into_bytes();
    for word in words {
        let word = word.as_ref();
        bytes.extend_from_slice(format!("${}\r\n", word.len()).as_bytes());
        bytes.extend_from_slice(word);
        bytes.extend_from_slice(b"\r\n");
    }
    bytes
}
