//! The well-behaved neighbour: one connection that GETs and SETs its session every so often, attack or not.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use crate::support::resp::{Connection, Frame};
use crate::support::server::wait_until;

/// A request every so often, or as soon as the one before it is answered.
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
        let took = self.worker.join().expect("the neighbour was served throughout");
        let mut took: Vec<Duration> = took.into_iter().flat_map(with_those_behind).collect();
        took.sort_unstable();
        let at = |hundredth: usize| took[(took.len() - 1) * hundredth / 100];
        Latencies { p50: at(50), p99: at(99), max: at(100) }
    }
}

/// A request that takes long keeps those back that were due meanwhile; each of them would have waited for the rest of it. Without
/// them a server that stands still for a second would seem to have answered a single request late.
fn with_those_behind(took: Duration) -> impl Iterator<Item = Duration> {
    std::iter::successors(Some(took), |left| left.checked_sub(PACE))
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

#[test]
fn a_late_answer_counts_as_often_as_requests_were_due_meanwhile() {
    let milliseconds =
        |took| with_those_behind(Duration::from_millis(took)).map(|took| took.as_millis()).collect::<Vec<_>>();
    assert_eq!(milliseconds(7), [7, 5, 3, 1]);
    assert_eq!(milliseconds(1), [1]);
}
