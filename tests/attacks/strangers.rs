//! Attacks by clients that do not know the password.

use std::io::{Read as _, Write as _};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use crate::connections::hold;
use crate::pace::paced;
use crate::rig::{Aftermath, Attack, connections_at_most, count_open, duration, over_and_over, so_many};
use crate::support::resp::{Frame, encode};
use crate::support::server::wait_until;

const PASSWORD: &[&str] = &["--requirepass", "a password that nobody guesses"];

/// Both servers answer more (here 5 900 and 8 000 connections).
const GUESSERS_PER_SECOND: u32 = 4_000;

/// A few, each of which costs the attacker two connections.
const DECLARED_PER_SECOND: u32 = 500;

/// They come for as long as the attacker likes; in the longer form almost as many as `maxclients` lets in.
#[test]
fn half_open() {
    let (rate, lasts) = so_many((300, Duration::from_secs(1)), (1_000, Duration::from_secs(9)));
    let what = format!(
        "{rate} connections a second for {lasts:?} that never say a password (`auth-timeout` 2 s instead of 60 s)"
    );
    let attack = Attack {
        settings: PASSWORD,
        own_settings: &["--auth-timeout", "2s"],
        ..Attack::new("half_open", what, |subject| {
            let streams = Mutex::new(Vec::new());
            paced((1, rate), lasts, || (), |(), _| streams.lock().expect("no panic").push(subject.stream()));
            let streams = streams.into_inner().expect("no panic");
            if subject.is_sojourn() {
                wait_until("strangers are closed", || count_open(&streams) == 0);
            }
            let held = count_open(&streams);
            let attacker = if held == 0 { "closed at `auth-timeout`" } else { "held for ever" };
            Aftermath { attacker: attacker.to_owned(), held }
        })
    };
    let (sojourn, _) = attack.carry_out();
    assert_eq!(sojourn.aftermath.held, 0);
}

#[test]
fn strangers_that_pipeline() {
    let count = connections_at_most(so_many(100, 1_000));
    let what = format!("{count} connections without password that pipeline 1 MiB of GETs each and read nothing");
    let attack = Attack {
        settings: PASSWORD,
        ..Attack::new("strangers_that_pipeline", what, |subject| {
            let requests = encode(&["GET", "sess:neighbour"]).repeat(1_024);
            let streams = hold(subject, so_many(100, 1_000));
            let end = Instant::now() + duration();
            for mut stream in &streams {
                stream.set_nonblocking(true).expect("an open socket");
                // The server stops to read, or closes.
                for _ in 0..32 {
                    let _full = stream.write(&requests);
                }
            }
            std::thread::sleep(end.saturating_duration_since(Instant::now()));
            let held = count_open(&streams);
            Aftermath { attacker: format!("{} closed", streams.len() - held), held }
        })
    };
    let (sojourn, redis) = attack.carry_out();
    assert_eq!(sojourn.aftermath.held, 0);
    let each_bytes = sojourn.grown_bytes / count as u64;
    assert!(each_bytes < 64 * 1024, "{each_bytes} bytes for a stranger ({:?})", redis.map(|redis| redis.grown_bytes));
}

#[test]
fn strangers_that_declare_much() {
    let attack = Attack {
        settings: PASSWORD,
        ..Attack::repeating(
            "strangers_that_declare_much",
            format!(
                "{DECLARED_PER_SECOND} requests a second without password of more than 10 words, and as many of a word above \
                 16 KiB"
            ),
            |subject| {
                let rate = over_and_over(subject, DECLARED_PER_SECOND, || {
                    for (request, refusal) in [
                        ("*11\r\n", "ERR Protocol error: unauthenticated multibulk length"),
                        ("*2\r\n$4\r\nAUTH\r\n$16385\r\n", "ERR Protocol error: unauthenticated bulk length"),
                    ] {
                        let mut connection = subject.connect();
                        connection.send(request.as_bytes()).expect("sent");
                        assert_eq!(connection.read().expect("a reply"), Frame::Line(b'-', refusal.as_bytes().to_vec()));
                        assert!(connection.is_closed());
                    }
                });
                let attacker = format!("{:.0} a second refused by the declaration alone, and closed", 2.0 * rate);
                Aftermath { attacker, held: 0 }
            },
        )
    };
    attack.carry_out();
}

/// The guesses that a connection is answered within the longer form of the attack: three at once, and then one each after
/// 0.1, 0.2, 0.4, 0.8 and 1.6 s.
const GUESSES_ANSWERED_MAX: usize = 8;

#[test]
fn password_guessing() {
    let what = format!("16 connections that guess passwords, 16 at a time, for {:?}", duration());
    let attack = Attack {
        settings: PASSWORD,
        ..Attack::new("password_guessing", what, |subject| {
            let address = subject.address();
            let guessers: Vec<_> = (0..16).map(|seed| std::thread::spawn(move || guess(address, seed))).collect();
            let guesses: usize = guessers.into_iter().map(|guesser| guesser.join().expect("it ends")).sum();
            let mut attacker =
                format!("{:.0} guesses answered a second, none right", guesses as f64 / duration().as_secs_f64());
            if subject.is_sojourn() {
                assert!((16 * 3..=16 * GUESSES_ANSWERED_MAX).contains(&guesses), "{guesses} guesses were answered");
                attacker.push_str("; after its third each waits 0.1 to 2 s");
            }
            Aftermath { attacker, held: 16 }
        })
    };
    attack.carry_out();
}

/// What is left to those who guess: the connection is slowed, and not its address, which many may share.
#[test]
fn password_guessing_anew() {
    let what = format!("3 guesses a connection, then a new one, {GUESSERS_PER_SECOND} of them a second");
    let attack = Attack {
        settings: PASSWORD,
        ..Attack::repeating("password_guessing_anew", what, |subject| {
            let rate = over_and_over(subject, GUESSERS_PER_SECOND, || {
                let mut connection = subject.connect();
                for guess in ["one", "two", "three"] {
                    let reply = connection.call(&["AUTH", guess]).expect("a reply");
                    assert!(matches!(reply, Frame::Line(b'-', _)), "{reply:?}");
                }
            });
            Aftermath { attacker: format!("{:.0} guesses answered a second, none right", 3.0 * rate), held: 0 }
        })
    };
    attack.carry_out();
}

/// Answers how many guesses were answered, each with a refusal.
fn guess(address: std::net::SocketAddr, seed: usize) -> usize {
    let mut stream = std::net::TcpStream::connect(address).expect("a connection");
    stream.set_read_timeout(Some(Duration::from_millis(200))).expect("an open socket");
    let (end, mut answered, mut piece) = (Instant::now() + duration(), 0, vec![0; 64 * 1024]);
    let guesses: Vec<u8> = (0..16).flat_map(|guess| encode(&["AUTH", &format!("guess {seed} {guess}")])).collect();
    let mut due = 0_usize;
    while Instant::now() < end {
        if due == 0 {
            if stream.write_all(&guesses).is_err() {
                break;
            }
            due = 16;
        }
        match stream.read(&mut piece) {
            Ok(0) => break,
            Ok(count) => {
                let text = &piece[..count];
                assert!(!text.contains(&b'+'), "a wrong password was taken");
                let lines = text.iter().filter(|byte| **byte == b'\n').count();
                due = due.saturating_sub(lines);
                answered += lines;
            }
            // A server may answer slowly, but only those who guess.
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {}
            Err(_closed) => break,
        }
    }
    answered
}
