//! The well-behaved neighbour: one connection that GETs and SETs its session every so often, attack or not.

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use crate::rig::wait_until;
use crate::support::resp::{Connection, Frame};

/// A request every so often, or as soon as the one before it is answered: in three seconds its p99 is the fifteenth worst, and
/// not what the machine did once.
const PACE: Duration = Duration::from_millis(2);

/// It makes as many, however short the attack.
const REQUESTS_MIN: usize = 50;

/// A neighbour at work.
pub struct Neighbour {
    done: Arc<AtomicBool>,
    worker: JoinHandle<Vec<Duration>>,
}

/// How long its requests took.
#[derive(Clone, Copy, Debug)]
pub struct Latencies {
    pub p50: Duration,
    pub p99: Duration,
    pub max: Duration,
}

impl Neighbour {
    /// Moves in; with a password if the server wants one.
    pub fn move_in(address: SocketAddr, password: Option<&str>) -> Self {
        let mut connection = Connection::open(address).expect("the neighbour connects");
        if let Some(password) = password {
            assert_eq!(connection.call(&["AUTH", password]).expect("a reply"), ok());
        }
        let set = |connection: &mut Connection| connection.call(&["SET", "sess:neighbour", "{}"]);
        wait_until("the server has read its keys", || set(&mut connection).is_ok_and(|reply| reply == ok()));
        let done = Arc::new(AtomicBool::new(false));
        let told = Arc::clone(&done);
        let worker = thread::spawn(move || live(&mut connection, &told));
        Self { done, worker }
    }

    /// Moves out; fails if a request of its own was not answered as it should be.
    pub fn move_out(self) -> Latencies {
        self.done.store(true, Ordering::Relaxed);
        let mut took = self.worker.join().expect("the neighbour was served throughout");
        took.sort_unstable();
        let at = |hundredth: usize| took[(took.len() - 1) * hundredth / 100];
        Latencies { p50: at(50), p99: at(99), max: at(100) }
    }
}

impl fmt::Display for Latencies {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ms = |duration: Duration| duration.as_secs_f64() * 1_000.0;
        write!(formatter, "{:.1} / {:.1} / {:.0}", ms(self.p50), ms(self.p99), ms(self.max))
    }
}

fn live(connection: &mut Connection, done: &AtomicBool) -> Vec<Duration> {
    let (mut took, mut due) = (Vec::new(), Instant::now());
    for visit in 0_u64.. {
        thread::sleep(due.saturating_duration_since(Instant::now()));
        let begun = Instant::now();
        let value = format!("{{\"visits\":{}}}", visit / 2);
        let (reply, expected) = if visit % 2 == 0 {
            (connection.call(&["SET", "sess:neighbour", &value, "EX", "3600"]), ok())
        } else {
            (connection.call(&["GET", "sess:neighbour"]), Frame::Bulk(b'$', Some(value.into_bytes())))
        };
        assert_eq!(reply.expect("the neighbour is answered"), expected);
        took.push(begun.elapsed());
        due = Instant::now().max(due + PACE);
        if done.load(Ordering::Relaxed) && took.len() >= REQUESTS_MIN {
            break;
        }
    }
    took
}

fn ok() -> Frame {
    Frame::Line(b'+', b"OK".to_vec())
}
