//! The same loads as connect-pg-simple's SQL: each step of a web request waits for a connection of the pool, as an
//! application's does.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use fastrand::Rng;
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use super::pacing::Schedule;
use super::visits::{Visit, Visits};
use super::{LANES, Seen, Tally, UNDER_WAY};
use crate::side_by_side::contestants::store::{Statements, Store};
use crate::side_by_side::loads::Command;
use crate::stage::Result;
use crate::stage::session::{login_sid, sid, value};

/// What the callers of a load have in common.
#[derive(Clone)]
struct Callers {
    statements: Statements,
    tally: Arc<Mutex<Tally>>,
    /// New sessions that stand.
    logged_in: Arc<Mutex<VecDeque<u64>>>,
    begin: Instant,
}

/// Single statements, with so many callers.
///
/// # Errors
/// Whatever PostgreSQL says.
pub fn commands(store: &Store, command: Command, callers: u32, seed: u64, keys: u32, length: Duration) -> Result<Seen> {
    let common = Callers::new(store);
    let end = common.begin + length;
    store.runtime.block_on(async {
        let mut tasks = JoinSet::new();
        for caller in 0..callers {
            let random = Rng::with_seed(seed.wrapping_add(u64::from(caller)));
            tasks.spawn(common.clone().call(command, random, keys, end));
        }
        common.join(tasks).await
    })
}

/// Web requests, at a rate or as fast as they are answered.
///
/// # Errors
/// Whatever PostgreSQL says.
pub fn web(store: &Store, visits: impl Fn(usize) -> Visits, rate: Option<f64>, length: Duration) -> Result<Seen> {
    let common = Callers::new(store);
    store.runtime.block_on(async {
        let mut tasks = JoinSet::new();
        match rate {
            None => {
                for caller in 0..LANES * UNDER_WAY {
                    tasks.spawn(common.clone().visit_until(visits(caller), common.begin + length));
                }
            }
            Some(rate) => {
                let (sender, mut moments) = mpsc::unbounded_channel();
                let schedule = Schedule::new(common.begin, rate, length);
                tasks.spawn_blocking(move || Ok(schedule.keep(|_, moment| sender.send(moment))?));
                let mut visits = visits(0);
                while let (Some(moment), Some(visit)) = (moments.recv().await, visits.next()) {
                    let common = common.clone();
                    tasks.spawn(async move { common.make(visit, moment).await });
                }
            }
        }
        common.join(tasks).await
    })
}

impl Callers {
    fn new(store: &Store) -> Self {
        Self {
            statements: store.statements(),
            tally: Arc::new(Mutex::new(Tally::new())),
            logged_in: Arc::default(),
            begin: Instant::now(),
        }
    }

    async fn call(self, command: Command, mut random: Rng, keys: u32, end: Instant) -> Result<()> {
        while Instant::now() < end {
            let (sid, begun) = (sid(random.u32(0..keys)), Instant::now());
            match command {
                Command::Get => {
                    self.statements.get(&sid).await?;
                    self.count(0, begun);
                }
                Command::Set => {
                    self.statements.set(&sid, &value(random.u64(..))).await?;
                    self.count(1, begun);
                }
            }
        }
        Ok(())
    }

    async fn visit_until(self, visits: Visits, end: Instant) -> Result<()> {
        for visit in visits {
            let now = Instant::now();
            if now >= end {
                break;
            }
            self.make(visit, now).await?;
        }
        Ok(())
    }

    async fn make(&self, visit: Visit, scheduled: Instant) -> Result<()> {
        let session = sid(visit.key);
        self.statements.get(&session).await?;
        self.statements.touch(&session).await?;
        if visit.writes {
            self.statements.set(&session, &value(visit.nonce)).await?;
        }
        if visit.logs_in {
            self.statements.set(&login_sid(visit.nonce), &value(visit.nonce)).await?;
            lock(&self.logged_in).push_back(visit.nonce);
        }
        let gone = lock(&self.logged_in).pop_front_if(|_| visit.logs_out);
        if let Some(nonce) = gone {
            self.statements.destroy(&login_sid(nonce)).await?;
        }
        self.count(u64::from(visit.writes) + u64::from(visit.logs_in), scheduled);
        Ok(())
    }

    fn count(&self, sets: u64, scheduled: Instant) {
        let mut tally = lock(&self.tally);
        tally.sets += sets;
        tally.record(scheduled.elapsed());
    }

    async fn join(&self, mut tasks: JoinSet<Result<()>>) -> Result<Seen> {
        while let Some(ended) = tasks.join_next().await {
            ended??;
        }
        Ok(lock(&self.tally).seen(self.begin.elapsed()))
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Whoever panicked ends the run.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
