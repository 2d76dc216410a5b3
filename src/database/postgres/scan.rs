//! All keys of a table, by one statement that reads it from its beginning to its end: COPY in its binary form, whose rows cost
//! both sides less than those of a query. It has a connection of its own, which is set for reading whole tables and closed at
//! the end. Never waits for the lock of a row, and never reads a value.

use std::time::Duration;

use futures_util::StreamExt;
use sqlx::postgres::PgConnection;
use tokio::time::timeout;

use super::connect;
use super::errors::{classify, outage};
use super::read::Known;
use super::schema::Table;
use super::wire::Timestamp;
use crate::clock::Expiry;
use crate::database::{DatabaseError, Home, Kind, StoredKey, Visit};

/// Pieces of the answer, a row each, after which the other tasks of the thread get their turn: less than a millisecond.
const TURN_PIECES: usize = 1_000;

/// How long the server may be silent: it may have to look at millions of expired rows before it finds one that lives.
const SILENCE_MAX: Duration = Duration::from_secs(30);

/// What the binary form begins with; two numbers follow, the flags and how long the extension is.
const SIGNATURE: &[u8] = b"PGCOPY\n\xff\r\n\0";

/// What stands in the place of a null field's length, and of the number of fields behind the last row.
const NOTHING: i32 = -1;

impl Known {
    /// Visits all keys of a table that are not expired.
    pub async fn scan(&self, home: Home, now_ms: i64, visit: &mut Visit<'_>) -> Result<(), DatabaseError> {
        let table = self.layout.table(home)?;
        let mut connection = self.readers.acquire().await.map_err(classify)?.detach();
        let scanned = read_all(&mut connection, table, now_ms, SILENCE_MAX, visit).await;
        super::close(connection).await;
        scanned
    }
}

/// Whoever hears nothing for `silence_max` gives up, and may try again.
pub(super) async fn read_all(
    connection: &mut PgConnection,
    table: Option<&Table>,
    now_ms: i64,
    silence_max: Duration,
    visit: &mut Visit<'_>,
) -> Result<(), DatabaseError> {
    let silent = |_| outage("the reading of all keys took too long", false);
    let set_up = connect::set_up_scan(connection, silence_max / 2);
    timeout(silence_max, set_up).await.map_err(silent)?.map_err(classify)?;
    let sql = statement(table, now_ms);
    let pieces = timeout(silence_max, connection.copy_out_raw(&sql)).await.map_err(silent)?.map_err(classify)?;
    let mut turns = pieces.ready_chunks(TURN_PIECES);
    let mut rows = Rows::of(table);
    while let Some(pieces) = timeout(silence_max, turns.next()).await.map_err(silent)? {
        for piece in pieces {
            rows.add(&piece.map_err(classify)?);
            while let Some(key) = rows.next()? {
                if visit(key).is_break() {
                    return Ok(());
                }
            }
        }
        tokio::task::yield_now().await;
    }
    if rows.has_ended { Ok(()) } else { Err(outage("the keys came to no end", false)) }
}

/// COPY takes no arguments; the time is a number, and the name is quoted.
fn statement(table: Option<&Table>, now_ms: i64) -> String {
    // An expiry is cut to its millisecond when it is read, so what is alive now ends at the next one or later.
    let alive_from_ms = now_ms.saturating_add(1);
    let alive_from = format!("timestamptz 'epoch' + interval '1 millisecond' * {alive_from_ms}");
    let query = match table {
        Some(table) => format!(
            "select sid::text, case when expire >= '9999-12-31' then null else expire::timestamptz end
               from {} where expire::timestamptz >= {alive_from}",
            table.quoted
        ),
        None => format!(
            "select key, case when expires_at >= '9999-12-31' then null else expires_at end, database, type
               from sojourn_keys where expires_at is null or expires_at >= {alive_from}"
        ),
    };
    format!("copy ({query}) to stdout (format binary)")
}

/// The rows of an answer, whose pieces may end anywhere.
struct Rows {
    /// What the keys of the table begin with; `None` for `sojourn_keys`.
    prefix: Option<Vec<u8>>,
    bytes: Vec<u8>,
    /// How much of it is read.
    read: usize,
    has_begun: bool,
    has_ended: bool,
    /// The last key.
    key: Vec<u8>,
}

impl Rows {
    fn of(table: Option<&Table>) -> Self {
        let prefix = table.map(|table| table.prefix.clone());
        Self { prefix, bytes: Vec::new(), read: 0, has_begun: false, has_ended: false, key: Vec::new() }
    }

    fn add(&mut self, piece: &[u8]) {
        self.bytes.drain(..self.read);
        self.read = 0;
        self.bytes.extend_from_slice(piece);
    }

    /// The next key, if all of its row has come.
    fn next(&mut self) -> Result<Option<StoredKey<'_>>, DatabaseError> {
        if !self.has_begun {
            let mut rest = Piece(&self.bytes);
            let Some(extension_bytes) = rest.header()? else { return Ok(None) };
            if rest.bytes(extension_bytes).is_none() {
                return Ok(None);
            }
            self.read = self.bytes.len() - rest.0.len();
            self.has_begun = true;
        }
        let mut rest = Piece(self.bytes.get(self.read..).unwrap_or_default());
        let Some(fields) = rest.number::<2>().map(i16::from_be_bytes) else { return Ok(None) };
        if i32::from(fields) == NOTHING {
            self.has_ended = true;
            return Ok(None);
        }
        let row = match &self.prefix {
            Some(prefix) => rest.session(prefix, &mut self.key)?,
            None => rest.key(&mut self.key)?,
        };
        let Some((database, kind, expiry)) = row else { return Ok(None) };
        self.read = self.bytes.len() - rest.0.len();
        Ok(Some(StoredKey { database, key: &self.key, kind, expiry }))
    }
}

/// What is left to read. Each part is `None` if it has not come yet.
struct Piece<'b>(&'b [u8]);

/// What stands in a row besides the key: the database, the kind and the end.
type Rest = (u8, Kind, Expiry);

impl<'b> Piece<'b> {
    /// Answers how long the extension is that follows.
    fn header(&mut self) -> Result<Option<usize>, DatabaseError> {
        let Some(signature) = self.bytes(SIGNATURE.len()) else { return Ok(None) };
        if signature != SIGNATURE {
            return Err(unreadable());
        }
        let lengths = self.number::<4>().zip(self.number::<4>());
        lengths.map(|(_flags, extension)| length(i32::from_be_bytes(extension))).transpose()
    }

    /// A row of a session table: sid and end.
    fn session(&mut self, prefix: &[u8], key: &mut Vec<u8>) -> Result<Option<Rest>, DatabaseError> {
        let (Some(sid), Some(end)) = (self.field()?, self.field()?) else { return Ok(None) };
        key.clear();
        key.extend_from_slice(prefix);
        key.extend_from_slice(sid.unwrap_or_default());
        Ok(Some((0, Kind::String, expiry(end)?)))
    }

    /// A row of `sojourn_keys`: key, end, database and type.
    fn key(&mut self, key: &mut Vec<u8>) -> Result<Option<Rest>, DatabaseError> {
        let (Some(stored), Some(end), Some(database), Some(kind)) =
            (self.field()?, self.field()?, self.field()?, self.field()?)
        else {
            return Ok(None);
        };
        key.clear();
        key.extend_from_slice(stored.unwrap_or_default());
        let database = database.and_then(|bytes| bytes.try_into().ok()).map(i16::from_be_bytes);
        // Nobody writes a number that is not 0–15; one that somebody did is not lost, but not found under another either.
        let database = database.and_then(|number| u8::try_from(number).ok()).unwrap_or(u8::MAX);
        let kind = kind.and_then(|name| std::str::from_utf8(name).ok()).map_or(Kind::Unreadable, Kind::of_name);
        Ok(Some((database, kind, expiry(end)?)))
    }

    /// A field; `Some(None)` if it is null.
    #[expect(clippy::option_option, reason = "a field may not have come yet, and it may be null")]
    fn field(&mut self) -> Result<Option<Option<&'b [u8]>>, DatabaseError> {
        let Some(bytes) = self.number::<4>().map(i32::from_be_bytes) else { return Ok(None) };
        if bytes == NOTHING {
            return Ok(Some(None));
        }
        Ok(self.bytes(length(bytes)?).map(Some))
    }

    fn number<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (number, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(*number)
    }

    fn bytes(&mut self, count: usize) -> Option<&'b [u8]> {
        let (bytes, rest) = self.0.split_at_checked(count)?;
        self.0 = rest;
        Some(bytes)
    }
}

fn expiry(end: Option<&[u8]>) -> Result<Expiry, DatabaseError> {
    let Some(bytes) = end else { return Ok(Expiry::NEVER) };
    let micros = bytes.try_into().map(i64::from_be_bytes).map_err(|_| unreadable())?;
    Ok(Timestamp::of_micros(micros).0)
}

fn length(bytes: i32) -> Result<usize, DatabaseError> {
    usize::try_from(bytes).map_err(|_| unreadable())
}

fn unreadable() -> DatabaseError {
    outage("the answer to COPY is not of its binary form", false)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Two rows of `sojourn_keys`: one in database 2 with an end, one without.
    fn answer() -> Vec<u8> {
        let field = |bytes: &[u8]| [&(bytes.len() as i32).to_be_bytes()[..], bytes].concat();
        let null = (-1_i32).to_be_bytes().to_vec();
        let first = [field(b"k\0"), field(&1_000_i64.to_be_bytes()), field(&2_i16.to_be_bytes()), field(b"hash")];
        let second = [field(b""), null, field(&0_i16.to_be_bytes()), field(b"no such type")];
        let row = |fields: &[Vec<u8>]| [4_i16.to_be_bytes().to_vec(), fields.concat()].concat();
        let header = [SIGNATURE, &[0, 0, 0, 0, 0, 0, 0, 3], b"ext"].concat();
        [header, row(&first), row(&second), (-1_i16).to_be_bytes().to_vec()].concat()
    }

    type Found = (u8, Vec<u8>, Kind, Expiry);

    fn read(pieces: &[&[u8]]) -> (Vec<Found>, bool) {
        let (mut rows, mut found) = (Rows::of(None), Vec::new());
        for piece in pieces {
            rows.add(piece);
            while let Some(StoredKey { database, key, kind, expiry }) = rows.next().unwrap() {
                found.push((database, key.to_vec(), kind, expiry));
            }
        }
        (found, rows.has_ended)
    }

    #[test]
    fn rows_are_read_wherever_the_pieces_end() {
        let answer = answer();
        let first = (2, b"k\0".to_vec(), Kind::Hash, Expiry::at_ms(946_684_800_001));
        let expected = vec![first, (0, Vec::new(), Kind::Unreadable, Expiry::NEVER)];
        for end in 0..=answer.len() {
            let (one, other) = answer.split_at(end);
            assert_eq!(read(&[one, other]), (expected.clone(), true), "{end}");
        }
        let bytes: Vec<&[u8]> = answer.chunks(1).collect();
        assert_eq!(read(&bytes), (expected, true));
        assert!(!read(&[&answer[..answer.len() - 1]]).1, "cut off");
    }

    #[test]
    fn what_is_no_answer_to_copy_is_refused() {
        let mut rows = Rows::of(None);
        rows.add(b"COPY of something else");
        assert!(rows.next().is_err());
    }
}
