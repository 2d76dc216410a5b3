//! A reply that is written piece by piece, since all of it at once may be too much: an MGET of a million times one
//! value is a list of shared values, and must never become a million copies of its bytes.

use std::vec;

use bytes::{Buf, Bytes, BytesMut};

use super::reply::{Protocol, Reply, put_header};

const LINE_END: &[u8] = b"\r\n";

/// What is left to write of a reply.
#[derive(Debug)]
pub struct Pieces {
    protocol: Protocol,
    /// The next part last.
    parts: Vec<Part>,
}

#[derive(Debug)]
enum Part {
    One(Reply),
    Items(vec::IntoIter<Reply>),
    Pairs(vec::IntoIter<(Reply, Reply)>),
    Sheets(vec::IntoIter<BytesMut>),
    /// Bytes as they go over the wire.
    Content(Bytes),
}

impl Pieces {
    /// All of a reply.
    #[must_use]
    pub fn of(reply: Reply, protocol: Protocol) -> Self {
        Self { protocol, parts: vec![Part::One(reply)] }
    }

    /// Appends bytes until `out` holds `out_bytes_max`, and never twice as many; `true` when the reply is written.
    pub fn put(&mut self, out: &mut BytesMut, out_bytes_max: usize) -> bool {
        while out.len() < out_bytes_max
            && let Some(part) = self.parts.pop()
        {
            match part {
                Part::One(reply) => self.put_one(reply, out, out_bytes_max),
                Part::Items(mut items) => {
                    if let Some(item) = items.next() {
                        self.parts.extend([Part::Items(items), Part::One(item)]);
                    }
                }
                Part::Pairs(mut pairs) => {
                    if let Some((key, value)) = pairs.next() {
                        self.parts.extend([Part::Pairs(pairs), Part::One(value), Part::One(key)]);
                    }
                }
                Part::Sheets(mut sheets) => {
                    if let Some(sheet) = sheets.next() {
                        self.parts.extend([Part::Sheets(sheets), Part::Content(sheet.freeze())]);
                    }
                }
                Part::Content(content) => self.put_content(content, out, out_bytes_max),
            }
        }
        self.parts.is_empty()
    }

    fn put_one(&mut self, reply: Reply, out: &mut BytesMut, out_bytes_max: usize) {
        let sigil = reply.sigil(self.protocol);
        match reply {
            Reply::Array(items) | Reply::Set(items) | Reply::Push(items) => {
                put_header(sigil, items.len(), out);
                self.parts.push(Part::Items(items.into_iter()));
            }
            Reply::Frames(frames) => self.parts.push(Part::Items(frames.into_iter())),
            Reply::Strings(strings) if strings.bytes() > out_bytes_max => {
                strings.put_header(self.protocol, out);
                self.parts.push(Part::Sheets(strings.sheets.into_iter()));
            }
            Reply::Map(pairs) => {
                put_header(sigil, if self.protocol == Protocol::Resp3 { pairs.len() } else { 2 * pairs.len() }, out);
                self.parts.push(Part::Pairs(pairs.into_iter()));
            }
            Reply::Value(value) if value.len() > out_bytes_max => self.begin_content(Bytes::from_owner(value), out),
            Reply::Bulk(bytes) if bytes.len() > out_bytes_max => self.begin_content(bytes, out),
            short @ (Reply::Simple(_)
            | Reply::Status(_)
            | Reply::Error(_)
            | Reply::Integer(_)
            | Reply::Value(_)
            | Reply::Bulk(_)
            | Reply::Strings(_)
            | Reply::Null
            | Reply::NullArray
            | Reply::Verbatim(_)
            | Reply::Double(_)
            | Reply::Bool(_)
            | Reply::BigNumber(_)) => short.encode(self.protocol, out),
        }
    }

    fn begin_content(&mut self, content: Bytes, out: &mut BytesMut) {
        put_header(b'$', content.len(), out);
        self.parts.extend([Part::Content(Bytes::from_static(LINE_END)), Part::Content(content)]);
    }

    fn put_content(&mut self, mut content: Bytes, out: &mut BytesMut, out_bytes_max: usize) {
        let piece_bytes = content.len().min(out_bytes_max - out.len());
        out.extend_from_slice(&content[..piece_bytes]);
        content.advance(piece_bytes);
        if !content.is_empty() {
            self.parts.push(Part::Content(content));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::protocol::{Shape, Strings};

    fn value(bytes: usize) -> Reply {
        Reply::Value(Arc::from(vec![b'x'; bytes]))
    }

    /// Each a little longer than the one before.
    fn strings(count: usize, shape: Shape) -> Reply {
        let mut strings = Strings::shaped(shape);
        (0..count).for_each(|number| strings.push(&vec![b'z'; number]));
        Reply::Strings(strings)
    }

    #[test]
    fn pieces_of_any_size_make_the_bytes_of_the_whole() {
        let reply = Reply::Array(vec![
            value(5),
            Reply::Map(vec![(Reply::text("a"), value(300)), (Reply::Null, Reply::Set(vec![Reply::Integer(-7)]))]),
            Reply::Bulk(Bytes::from(vec![b'y'; 77])),
            Reply::Array(vec![]),
            Reply::Push(vec![Reply::OK, Reply::Error("ERR no".into()), Reply::Verbatim("text".into())]),
            strings(40, Shape::Array),
            strings(40, Shape::Map),
            strings(40, Shape::Set),
            // On several sheets.
            strings(800, Shape::Array),
            value(0),
        ]);
        for protocol in [Protocol::Resp2, Protocol::Resp3] {
            let mut whole = BytesMut::new();
            reply.encode(protocol, &mut whole);
            for piece_bytes in [1, 7, 64, 299, 300, 301, 10_000] {
                let (mut pieces, mut joined) = (Pieces::of(reply.clone(), protocol), BytesMut::new());
                let mut done = false;
                while !done {
                    let mut out = BytesMut::new();
                    done = pieces.put(&mut out, piece_bytes);
                    joined.extend_from_slice(&out);
                }
                assert_eq!(joined, whole, "{protocol:?} in pieces of {piece_bytes}");
            }
        }
    }

    #[test]
    fn a_million_times_one_value_is_written_in_bounded_pieces() {
        const PIECE_BYTES: usize = 64 * 1024;
        let value: Arc<[u8]> = Arc::from(vec![b'x'; 1024 * 1024]);
        let mut pieces = Pieces::of(Reply::Array(vec![Reply::Value(value); 1_000_000]), Protocol::Resp2);
        let mut out = BytesMut::new();
        for _ in 0..100 {
            assert!(!pieces.put(&mut out, PIECE_BYTES));
            assert!(out.len() <= PIECE_BYTES + 32, "{}", out.len());
            out.clear();
        }
        assert!(out.capacity() <= 4 * PIECE_BYTES, "{}", out.capacity());
    }
}
