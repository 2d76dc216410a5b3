//! Replies and how they are written in RESP2 and RESP3.
use std::sync::Arc;
use bytes::{Bytes, BytesMut};

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
    /// A map; in RESP2 a flat array.
    Map(Vec<(Reply, Reply)>),
    /// A set; in RESP2 an array.
    Set(Vec<Reply>),
    /// Text for people: in RESP3 a verbatim string (`txt`), in RESP2 a bulk string.
    Verbatim(String),
    /// A floating-point number; in RESP2 a bulk string.
    Double(f64),
    /// Out-of-band data; in RESP2 an array.
    Push(Vec<Reply>),
}

impl Reply {
    /// `+OK`.
    pub const OK: Self = Self::Simple("OK");

    /// A bulk string of this text.
    #[must_use]
    pub fn text(text: impl Into<String>) -> Self { Self::Bulk(Bytes::from(text.into())) }

    /// Appends the reply's bytes.
    pub fn encode(&self, _protocol: Protocol, _out: &mut BytesMut) {}
}
