//! Attacks by those who subscribe: to more than they read, and to patterns that are hard to compare.

use std::io::Write as _;

use crate::pace::paced;
use crate::rig::{Aftermath, Attack, Subject, so_many};
use crate::support::resp::{Connection, encode};
use crate::support::server::wait_until;

/// Both servers compare more (here 720 and 570).
const MESSAGES_PER_SECOND: u32 = 400;

/// One who reads what comes, on a connection of its own.
fn attentive(subject: &Subject) -> Connection {
    let mut listener = subject.connect();
    listener.call(&["SUBSCRIBE", "news"]).expect("a reply");
    listener
}

#[test]
fn subscribers_that_never_read() {
    let (count, messages) = (so_many(10, 50), so_many(600, 2_000));
    let attack = Attack {
        settings: &["--client-output-buffer-limit", "pubsub 8mb 2mb 60"],
        ..Attack::new(
            "subscribers_that_never_read",
            format!(
                "{count} subscribers that read nothing of {messages} messages of 64 KiB, with a limit of 8 MiB each"
            ),
            |subject| {
                let slow: Vec<_> = (0..so_many(10, 50)).map(|_| subject.stream()).collect();
                for mut stream in &slow {
                    stream.write_all(&encode(&["SUBSCRIBE", "news"])).expect("sent");
                }
                let mut listener = attentive(subject);
                let mut publisher = subject.connect();
                wait_until("the subscriptions", || {
                    let counted = publisher.call(&["PUBSUB", "NUMSUB", "news"]).expect("a reply");
                    counted.items()[1].integer() == i64::try_from(slow.len() + 1).ok()
                });
                let payload = vec![b'x'; 64 * 1024];
                for _ in 0..so_many(600, 2_000) {
                    publisher.call(&[&b"PUBLISH"[..], b"news", &payload]).expect("a reply");
                    // Who reads gets every message, whoever else does not.
                    assert_eq!(listener.read().expect("a message").items()[2].bytes(), Some(&payload[..]));
                }
                wait_until("the slow ones to be closed", || {
                    let counted = publisher.call(&["PUBSUB", "NUMSUB", "news"]).expect("a reply");
                    counted.items()[1].integer() == Some(1)
                });
                Aftermath { attacker: "all closed; who reads missed nothing".to_owned(), held: 0 }
            },
        )
    };
    let (sojourn, _) = attack.carry_out();
    assert!(sojourn.grown_bytes < so_many(128, 512) << 20, "{} bytes", sojourn.grown_bytes);
}

fn subscribe_to_hard_patterns(subject: &Subject) -> Connection {
    let mut listener = subject.connect();
    for number in 0..so_many(100, 1_000) {
        let pattern = format!("{}b{number}", "a*".repeat(if subject.is_sojourn() { 250 } else { 4 }));
        listener.call(&["PSUBSCRIBE", &pattern]).expect("a reply");
    }
    listener
}

#[test]
fn patterns_that_are_hard_to_compare() {
    let patterns = so_many(100, 1_000);
    let what = format!(
        "{patterns} patterns like `a*a*a*…b` of 500 bytes (of 10 at redis-server, which would not come to an end), and \
         {MESSAGES_PER_SECOND} messages a second to a channel of 500 times `a`"
    );
    Attack::new("patterns_that_are_hard_to_compare", what, |subject| {
        let _listener = subscribe_to_hard_patterns(subject);
        let channel = "a".repeat(500);
        let rate = paced(
            (1, MESSAGES_PER_SECOND),
            subject.lasts(),
            || subject.connect(),
            |publisher, _| {
                publisher.call(&["PUBLISH", &channel, "x"]).expect("a reply");
            },
        );
        Aftermath { attacker: format!("{rate:.0} messages a second were compared"), held: 1 }
    })
    .carry_out();
}
