//! What a client sends at once is answered whole, however large the replies are.

use crate::support::resp::{Connection, encode};
use crate::support::sojourn::Sojourn;

/// The replies in all are far more than the server keeps for a connection, and each time that it stops for that, the
/// socket takes all of them at once.
#[test]
fn a_pipeline_of_large_replies_is_answered_whole() {
    let server = Sojourn::in_memory();
    let mut connection = Connection::open(server.address()).expect("a connection");
    for (value_bytes, gets) in [(400_000, 60), (40_000, 600), (1_000, 5_000)] {
        let value = vec![b'x'; value_bytes];
        connection.call(&[&b"SET"[..], b"large", &value]).expect("a reply");
        connection.send(&encode(&["GET", "large"]).repeat(gets)).expect("a pipeline");
        for reply in 0..gets {
            let answer = connection.read().unwrap_or_else(|error| panic!("reply {reply} of {gets}: {error}"));
            assert_eq!(answer.bytes(), Some(&value[..]));
        }
    }
}
