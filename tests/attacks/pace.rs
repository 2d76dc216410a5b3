//! As many of something a second as both servers can serve: of two neighbours, that of the faster server must not bear more of
//! it. It never offers more, and a server that cannot keep up is offered less.

use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use std::time::{Duration, Instant};

/// Turns that several threads take, evenly over a time.
pub struct Pace {
    begun: Instant,
    lasts: Duration,
    between: Duration,
    taken: AtomicU32,
}

impl Pace {
    /// So many turns a second for so long, from now on.
    pub fn new(per_second: u32, lasts: Duration) -> Self {
        let between = Duration::from_secs(1) / per_second;
        Self { begun: Instant::now(), lasts, between, taken: AtomicU32::new(0) }
    }

    /// Waits for the next turn, and answers its number; `None` when the time is over.
    pub fn turn(&self) -> Option<u32> {
        let number = self.taken.fetch_add(1, Ordering::Relaxed);
        let due = self.begun + self.between * number;
        if due < self.begun + self.lasts {
            thread::sleep(due.saturating_duration_since(Instant::now()));
        }
        (Instant::now().max(due) < self.begun + self.lasts).then_some(number)
    }
}

/// Does the same over and over in some threads, `per_second` times together for as long as it `lasts`; each thread has what
/// `begin` gave it. Answers how often a second it was done.
pub fn paced<T>(
    (threads, per_second): (usize, u32),
    lasts: Duration,
    begin: impl Fn() -> T + Sync,
    once: impl Fn(&mut T, u32) + Sync,
) -> f64 {
    let pace = Pace::new(per_second, lasts);
    let work = || {
        let mut own = begin();
        let turns = std::iter::from_fn(|| pace.turn());
        turns.map(|number| once(&mut own, number)).count()
    };
    let done: usize = thread::scope(|scope| {
        let threads: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
        threads.into_iter().map(|thread| thread.join().expect("it ends")).sum()
    });
    done as f64 / lasts.as_secs_f64()
}

#[test]
fn no_more_is_offered_than_the_pace() {
    let done = paced((4, 200), Duration::from_millis(500), || (), |(), _| {});
    assert!((1.0..=200.0).contains(&done), "{done} a second");
    let slow = paced((1, 1_000), Duration::from_millis(200), || (), |(), _| thread::sleep(Duration::from_millis(50)));
    assert!(slow <= 25.0, "{slow} a second of a server that takes 50 ms");
}
