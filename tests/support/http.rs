//! A plain HTTP client: what it sends is written byte for byte, so that it can send what no client should.

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::time::Duration;

/// The longest that an answer may take.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(40);

/// An answer.
#[derive(Debug)]
pub struct Page {
    pub status: u16,
    pub head: String,
    pub body: String,
}

impl Page {
    /// A header's value.
    pub fn header(&self, name: &str) -> Option<&str> {
        let named = |line: &'_ &str| line.split_once(':').is_some_and(|(found, _)| found.eq_ignore_ascii_case(name));
        self.head.lines().find(named).and_then(|line| line.split_once(':')).map(|(_, value)| value.trim())
    }

    /// The body as JSON.
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }
}

/// A connection to a port of this machine.
pub fn connect(port: u16) -> io::Result<TcpStream> {
    let stream = TcpStream::connect(SocketAddr::from((Ipv4Addr::LOCALHOST, port)))?;
    stream.set_read_timeout(Some(ANSWER_TIMEOUT))?;
    stream.set_write_timeout(Some(ANSWER_TIMEOUT))?;
    Ok(stream)
}

/// Sends bytes and reads until the server closes.
pub fn send(port: u16, bytes: &[u8]) -> io::Result<Page> {
    let mut stream = connect(port)?;
    // A server that refuses what it has read may close before it has read all.
    let _refused_early = stream.write_all(bytes);
    let mut text = Vec::new();
    let read = stream.read_to_end(&mut text);
    if text.is_empty() {
        read?;
    }
    parse(&String::from_utf8_lossy(&text))
}

/// One request with further header lines, and the end of the connection.
pub fn ask(port: u16, method: &str, path: &str, headers: &[&str]) -> io::Result<Page> {
    let headers: String = headers.iter().map(|header| format!("{header}\r\n")).collect();
    send(port, format!("{method} {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n{headers}\r\n").as_bytes())
}

/// GET of a path.
pub fn get(port: u16, path: &str) -> io::Result<Page> {
    ask(port, "GET", path, &[])
}

fn parse(text: &str) -> io::Result<Page> {
    let no_page = || io::Error::new(io::ErrorKind::InvalidData, format!("no page: {text:?}"));
    let (head, body) = text.split_once("\r\n\r\n").ok_or_else(no_page)?;
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).ok_or_else(no_page)?;
    let page = Page { status, head: head.to_owned(), body: body.to_owned() };
    let is_chunked = page.header("transfer-encoding") == Some("chunked");
    Ok(if is_chunked { Page { body: joined(body), ..page } } else { page })
}

/// A body that came in pieces, each behind a line with its length in hexadecimal digits.
fn joined(mut body: &str) -> String {
    let mut whole = String::new();
    while let Some((length, rest)) = body.split_once("\r\n") {
        let length = usize::from_str_radix(length, 16).unwrap_or(0);
        whole.push_str(rest.get(..length).unwrap_or_default());
        body = rest.get(length + 2..).unwrap_or_default();
    }
    whole
}

/// The value of a series in a page of metrics: `name` or `name{label="value"}`.
pub fn series(page: &str, name: &str) -> Option<f64> {
    page.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' ')?.parse().ok())
}
