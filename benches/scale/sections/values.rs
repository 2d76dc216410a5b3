//! Large values: how much memory a SET, a GET, and a GET of a cold one take on their way, over the size of the value.

use std::time::{Duration, Instant};

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
pub const SECTION: Section = Section { name: "values", about: "memory of a SET and a GET of a large value", measure };

/// What redis-server takes for a SET, and a little for all that is not the value.
const PEAK_MAX: f64 = 3.05;
/// Bytes of the value.
const LARGE: usize = 256 << 20;
/// The same of a short run: still so large that the allocator asks the kernel for it and gives it back.
const SMALL: usize = 64 << 20;
const TINY: usize = 1 << 20;
const EVICTED_WITHIN: Duration = Duration::from_secs(30);
const EVICTED_EVERY: Duration = Duration::from_millis(50);

/// The URL of a database for the value of a key.
type UrlOf<'a> = &'a dyn Fn(&str) -> String;

fn measure(stage: &Stage<'_>) -> Result<Part> {
    let mut part = Part::new(
        "The most that is resident while the value is on its way, beyond what was before, over the size of the value. The cold \
         GET is that of a value which was evicted. The JSON object goes to the session table, \
         the other value to `sojourn_keys`.",
    );
    let bytes = match stage.options.scope.extent {
        Extent::Full => LARGE,
        Extent::Quick => SMALL,
        Extent::Smoke => TINY,
    };
    // Each value has a database of its own: a server that finds the other one there warms it up meanwhile.
    let urls: [(&str, UrlOf<'_>); 3] = [
        ("Sojourn on PostgreSQL", &|_| stage.postgres.url(&stage.postgres.create_database())),
        ("Sojourn on SQLite", &|key| stage.sqlite(&format!("values-{}.db", key.replace(':', "-")))),
        ("Sojourn, memory://", &|_| "memory://".to_owned()),
    ];
    let mut rows = Vec::new();
    for (name, url) in urls {
        for (key, value) in [("sess:large", json(bytes)), ("large", vec![b'x'; bytes])] {
            let server = Server::sojourn(&url(key), &["--maxmemory", "0"])?.ready()?;
            let [set, get] = peaks(stage, &server, key, &value)?;
            // memory:// keeps what it holds twice, as its own database.
            if name != "Sojourn, memory://" {
                part.want(format!("{name}, {key}: peak of a SET"), set, Wanted::AtMost(PEAK_MAX));
                part.want(format!("{name}, {key}: peak of a GET"), get, Wanted::AtMost(PEAK_MAX));
                evict_all(&server)?;
                stage.bytes_at_rest(&server)?;
                let cold = peak_of_get(&server, key, &value)?;
                part.want(format!("{name}, {key}: peak of a cold GET"), cold, Wanted::AtMost(PEAK_MAX));
                rows.push(row(name, key, &[set, get, cold]));
            } else {
                rows.push(row(name, key, &[set, get]));
            }
        }
    }
    let redis = Server::redis(&stage.data.join("values-redis"), &["--appendonly", "yes"])?.ready()?;
    rows.push(row("redis", "large", &peaks(stage, &redis, "large", &vec![b'x'; bytes])?));
    let title = format!("A value of {} MiB: times its size", bytes as f64 / MIB);
    part.table(&title, &["", "key", "SET", "GET", "cold GET"], rows);
    Ok(part)
}

fn json(bytes: usize) -> Vec<u8> {
    let mut json = b"{\"a\":\"".to_vec();
    json.resize(bytes - 2, b'x');
    json.extend_from_slice(b"\"}");
    json
}

fn row(name: &str, key: &str, peaks: &[f64]) -> Vec<String> {
    let mut row = vec![name.to_owned(), key.to_owned()];
    row.extend(peaks.iter().map(|peak| number_text(*peak)));
    row.resize(5, "–".to_owned());
    row
}

/// Of one SET and, once all that was made for it is given back, one GET of it.
fn peaks(stage: &Stage<'_>, server: &Server, key: &str, value: &[u8]) -> Result<[f64; 2]> {
    let mut connection = server.connect()?;
    let set = server.peak_bytes(|| expect_ok("SET", &send(&mut connection, key, value)?))?;
    stage.bytes_at_rest(server)?;
    Ok([set / value.len() as f64, peak_of_get(server, key, value)?])
}

fn peak_of_get(server: &Server, key: &str, value: &[u8]) -> Result<f64> {
    let mut connection = server.connect()?;
    let get = server.peak_bytes(|| {
        let reply = connection.call(&["GET", key])?;
        match reply.bytes() {
            Some(bytes) if bytes == value => Ok(()),
            Some(bytes) => Err(format!("GET was answered by {} other bytes", bytes.len()).into()),
            None => Err(format!("GET was answered by {reply:?}").into()),
        }
    })?;
    Ok(get / value.len() as f64)
}

/// Lets all values go cold, and then as many be hot as come.
fn evict_all(server: &Server) -> Result<()> {
    server.set("maxmemory", "1mb")?;
    let begun = Instant::now();
    while server.info("hot_values")? != Some(0.0) {
        if begun.elapsed() > EVICTED_WITHIN {
            return Err("the value was not evicted".into());
        }
        std::thread::sleep(EVICTED_EVERY);
    }
    server.set("maxmemory", "0")
}

/// Without a copy of the value, which would be this process's, but takes its time.
fn send(connection: &mut Connection, key: &str, value: &[u8]) -> Result<Frame> {
    connection.send(format!("*3\r\n$3\r\nSET\r\n${}\r\n{key}\r\n${}\r\n", key.len(), value.len()).as_bytes())?;
    connection.send(value)?;
    connection.send(b"\r\n")?;
    Ok(connection.read()?)
}
