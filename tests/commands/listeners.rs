//! Who listens to channels: what others see of it, and how much one client may listen to.

use std::net::SocketAddr;

use crate::support::redis::Redis;
use crate::support::resp::{Connection, Frame};
use crate::support::server::wait_until;
use crate::support::sojourn::Sojourn;

fn connect(address: SocketAddr) -> Connection {
    Connection::open(address).expect("a connection")
}

fn text(connection: &mut Connection, words: &[&str]) -> String {
    let reply = connection.call(words).expect("a reply");
    String::from_utf8_lossy(reply.bytes().unwrap_or_default()).into_owned()
}

/// These fields of a text whose fields stand between `separator`s.
fn fields(text: &str, separator: &[char], names: &[&str]) -> Vec<String> {
    let fields = text.split(separator).filter(|field| names.iter().any(|name| field.starts_with(name)));
    fields.map(str::to_owned).collect()
}

/// What CLIENT LIST and INFO say of one who listens, and of nobody.
fn seen(address: SocketAddr) -> Vec<Vec<String>> {
    let (mut listener, mut other) = (connect(address), connect(address));
    let mut look = || {
        let list = text(&mut other, &["CLIENT", "LIST", "TYPE", "pubsub"]);
        let info = text(&mut other, &["INFO", "stats"]);
        [
            fields(&list, &[' ', '\n'], &["flags=", "sub=", "psub=", "ssub="]),
            fields(&info, &['\r', '\n'], &["pubsub_channels", "pubsub_patterns", "pubsubshard_channels"]),
        ]
    };
    let mut seen = Vec::from(look());
    for words in [&["SUBSCRIBE", "a"][..], &["SUBSCRIBE", "b"], &["PSUBSCRIBE", "a*"]] {
        listener.call(words).expect("a reply");
    }
    seen.extend(look());
    for words in [&["UNSUBSCRIBE", "a"][..], &["UNSUBSCRIBE", "b"], &["PUNSUBSCRIBE", "a*"]] {
        listener.call(words).expect("a reply");
        seen.extend(look());
    }
    seen
}

#[test]
fn others_see_what_a_client_listens_to_as_in_redis() {
    let (redis, sojourn) = (Redis::start(), Sojourn::in_memory());
    let seen_in_redis = seen(redis.address());
    assert_eq!(seen_in_redis[2], ["flags=P", "sub=2", "psub=1", "ssub=0"]);
    assert_eq!(seen(sojourn.address()), seen_in_redis);
}

#[test]
fn one_client_listens_to_a_bounded_number_of_names_of_bounded_length() {
    let sojourn = Sojourn::in_memory();
    let mut listener = connect(sojourn.address());
    let names = |word: &str, count: usize| -> Vec<String> {
        std::iter::once(word.to_owned()).chain((0..count).map(|number| format!("name-{number}"))).collect()
    };
    let refused = |reply: Frame, part: &str| {
        let Frame::Line(b'-', line) = reply else { panic!("{reply:?}") };
        assert!(String::from_utf8_lossy(&line).contains(part), "{}", line.escape_ascii());
    };
    refused(listener.call(&names("PSUBSCRIBE", 1_025)).expect("a reply"), "at most 1024 patterns");
    refused(listener.call(&names("SUBSCRIBE", 65_537)).expect("a reply"), "at most 65536 channels");
    refused(listener.call(&["SUBSCRIBE", &"x".repeat(2_049)]).expect("a reply"), "longer than key-bytes-max");
    // Nothing of it has taken effect: the client may do everything.
    assert_eq!(listener.call(&["PUBSUB", "NUMPAT"]).expect("a reply").integer(), Some(0));
    listener.call(&names("PSUBSCRIBE", 1_024)).expect("a reply");
    (1..1_024).for_each(|_| assert_eq!(listener.read().expect("a confirmation").items().len(), 3));
    refused(listener.call(&["PSUBSCRIBE", "more"]).expect("a reply"), "at most 1024 patterns");
    // Those that come to an end by themselves leave nothing behind.
    drop(listener);
    let mut other = connect(sojourn.address());
    let mut left = || other.call(&["PUBSUB", "NUMPAT"]).expect("a reply").integer();
    wait_until("one that is gone to listen no more", || left() == Some(0));
}

/// A user loses its channels at the moment at which it begins to listen: whichever comes first, it does not go on listening.
#[test]
fn nobody_slips_in_while_its_user_loses_the_channel() {
    let sojourn = Sojourn::in_memory();
    let address = sojourn.address();
    let (mut admin, mut seen) = (connect(address), connect(address));
    for round in 0..300 {
        admin.call(&["ACL", "SETUSER", "u", "on", "nopass", "+@all", "resetchannels", "&c"]).expect("a reply");
        let mut listener = connect(address);
        listener.call(&["AUTH", "u", "any"]).expect("a reply");
        let start = std::sync::Barrier::new(2);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                start.wait();
                // It is refused, expelled before or after the reply, or cut off while it asks.
                let _ = listener.call(&["SUBSCRIBE", "c"]);
            });
            start.wait();
            // Now a little earlier, now a little later.
            (0..round * 50).for_each(|_| std::hint::spin_loop());
            admin.call(&["ACL", "SETUSER", "u", "resetchannels"]).expect("a reply");
        });
        let mut listens = || seen.call(&["PUBSUB", "NUMSUB", "c"]).expect("a reply").items()[1].integer() == Some(1);
        wait_until(&format!("round {round}: one that lost the channel to listen no more"), || !listens());
    }
}
