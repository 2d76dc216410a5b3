//! Large values: how much memory one SET and one GET take on their way, over the size of the value.

use super::{MIB, Section};
use crate::scale::report::Part;
use crate::scale::servers::{Server, Stage};
use crate::stage::Result;
use crate::stage::charts::number_text;
use crate::stage::client::expect_ok;
use crate::stage::scope::Extent;
use crate::stage::wanted::Wanted;
use crate::support::resp::{Connection, Frame};

/// The section.
pub const SECTION: Section =
    Section { name: "values", about: "memory of one SET and one GET of a large value", measure };

/// What redis-server takes for a SET, and a little for all that is not the value.
const PEAK_MAX: f64 = 3.05;
/// Bytes of the value.
const LARGE: usize = 256 << 20;
/// The same of a short run: still so large that the allocator asks the kernel for it and gives it back.
const SMALL: usize = 64 << 20;
const TINY: usize = 1 << 20;

fn measure(stage: &Stage<'_>) -> Result<Part> {
    let mut part = Part::new(
        "The most that is resident while the value is on its way, beyond what was before, over the size of the value. The JSON object goes \
         to the session table, the other value to `sojourn_keys`.",
    );
    let bytes = match stage.options.scope.extent {
        Extent::Full => LARGE,
        Extent::Quick => SMALL,
        Extent::Smoke => TINY,
    };
    // Each value has a database of its own: a server that finds the other one there warms it up meanwhile.
    let url = |name: &str, key: &str| match name {
        "Sojourn on PostgreSQL" => stage.postgres.url(&stage.postgres.create_database()),
        "Sojourn on SQLite" => stage.sqlite(&format!("values-{}.db", key.replace(':', "-"))),
        _ => "memory://".to_owned(),
    };
    let mut rows = Vec::new();
    for name in ["Sojourn on PostgreSQL", "Sojourn on SQLite", "Sojourn, memory://"] {
        for (key, value) in [("sess:large", json(bytes)), ("large", vec![b'x'; bytes])] {
            let server = Server::sojourn(&url(name, key), &["--maxmemory", "0"])?.ready()?;
            let [set, get] = peaks(&server, key, &value)?;
            // memory:// keeps what it holds twice, as its own database.
            if name != "Sojourn, memory://" {
                part.want(format!("{name}, {key}: peak of a SET"), set, Wanted::AtMost(PEAK_MAX));
                part.want(format!("{name}, {key}: peak of a GET"), get, Wanted::AtMost(PEAK_MAX));
            }
            rows.push(vec![name.to_owned(), key.to_owned(), number_text(set), number_text(get)]);
        }
    }
    let redis = Server::redis(&stage.data.join("values-redis"), &["--appendonly", "yes"])?.ready()?;
    let [set, get] = peaks(&redis, "large", &vec![b'x'; bytes])?;
    rows.push(vec!["redis".to_owned(), "large".to_owned(), number_text(set), number_text(get)]);
    let title = format!("A value of {} MiB: times its size", bytes as f64 / MIB);
    part.table(&title, &["", "key", "SET", "GET"], rows);
    Ok(part)
}

fn json(bytes: usize) -> Vec<u8> {
    let mut json = b"{\"a\":\"".to_vec();
    json.resize(bytes - 2, b'x');
    json.extend_from_slice(b"\"}");
    json
}

/// Of one SET and, with nothing else to do, one GET of it.
fn peaks(server: &Server, key: &str, value: &[u8]) -> Result<[f64; 2]> {
    let mut connection = server.connect()?;
    let set = server.peak_bytes(|| expect_ok("SET", &send(&mut connection, key, value)?))?;
    // A commit that takes longer than the lease leaves the server unsure of its database until the next one.
    server.settle()?;
    let get = server.peak_bytes(|| {
        let reply = connection.call(&["GET", key])?;
        match reply.bytes() {
            Some(bytes) if bytes == value => Ok(()),
            Some(bytes) => Err(format!("GET was answered by {} other bytes", bytes.len()).into()),
            None => Err(format!("GET was answered by {reply:?}").into()),
        }
    })?;
    Ok([set / value.len() as f64, get / value.len() as f64])
}

/// Without a copy of the value, which would be this process's, but takes its time.
fn send(connection: &mut Connection, key: &str, value: &[u8]) -> Result<Frame> {
    connection.send(format!("*3\r\n$3\r\nSET\r\n${}\r\n{key}\r\n${}\r\n", key.len(), value.len()).as_bytes())?;
    connection.send(value)?;
    connection.send(b"\r\n")?;
    Ok(connection.read()?)
}
