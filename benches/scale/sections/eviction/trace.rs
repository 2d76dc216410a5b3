//! A session-like trace: users come by a Zipf law and by the hour of the day, a visit is a burst of requests, some log
//! out, robots leave sessions that nobody reads again, and a crawler reads everything once. It never repeats by itself:
//! the same seed gives the same trace.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use fastrand::Rng;

const MINUTE_S: u32 = 60;
const DAY_S: u32 = 24 * 60 * MINUTE_S;

/// People who have an account.
const USERS: usize = 60_000;
/// How unevenly they come: the exponent of the Zipf law, as web logs show it.
const ZIPF_EXPONENT: f64 = 0.9;
/// So many of them change their habits each day.
const CHANGED_A_DAY: f64 = 0.03;
const VISITS_A_DAY: f64 = 40_000.0;
/// How far the busiest hour and the calmest one lie from the mean.
const DAILY_SWING: f64 = 0.8;
/// A visit is followed by another one of the same user the same day.
const RETURNS: f64 = 0.4;
const RETURN_AFTER_MEAN_S: f64 = 3.0 * 3_600.0;
const REQUESTS_A_VISIT_MEAN: f64 = 8.0;
const THINKING_MEAN_S: f64 = 25.0;
/// Requests that change the session.
const WRITES: f64 = 0.1;
/// Visits that end with a logout.
const LOGOUTS: f64 = 0.15;
/// Sessions made by clients that keep no cookie.
const ROBOTS_A_DAY: f64 = 3_000.0;
const TTL_S: u32 = 7 * DAY_S;
const DAYS: u32 = 14;
/// Until here the caches fill, and nothing is counted.
pub const COUNTED_FROM_S: u32 = 7 * DAY_S;
/// When the crawler begins, at night and by day; each time it takes half an hour.
const CRAWLS_S: [u32; 2] = [8 * DAY_S + 3 * 3_600, 11 * DAY_S + 15 * 3_600];
const CRAWL_MINUTES: u32 = 30;

/// What happens to a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// The first request of a visit reads it.
    First,
    /// A later request reads it.
    Read,
    /// Its value is written, be it new or known.
    Write,
    /// The crawler reads it.
    Crawl,
    /// It ends, by a logout or of age.
    End,
}

/// Something that happens.
#[derive(Clone, Copy, Debug)]
pub struct Event {
    /// Which session, numbered from 0.
    pub key: u32,
    /// When, in seconds since the trace began.
    pub at_s: u32,
    /// What.
    pub kind: Kind,
}

/// All that happens.
#[derive(Debug)]
pub struct Trace {
    /// In the order of time.
    pub events: Vec<Event>,
    /// How many sessions there ever are.
    pub keys: usize,
    /// How many live at the same time at most.
    pub live_max: usize,
}

/// What is planned: when, whose, and whether it is the first or the last request of a visit.
type Planned = Reverse<(u32, u32, bool, bool)>;

#[derive(Debug)]
struct Making {
    company: Company,
    random: Rng,
    events: Vec<Event>,
    planned: BinaryHeap<Planned>,
    /// Sessions by the time at which they may have ended.
    ends: BinaryHeap<Reverse<(u32, u32)>>,
    /// The user's session.
    session: Vec<Option<u32>>,
    /// When each session is used last, as far as known, and whose it is; `None` once it has ended.
    used: Vec<Option<(u32, Option<u32>)>>,
    live: usize,
    live_max: usize,
    /// Which user stands at which place of the law.
    ranks: Vec<u32>,
    /// The law summed up.
    weights: Vec<f64>,
}

/// Who comes besides the people.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Company {
    /// Nobody.
    None,
    /// Robots, and the crawler.
    Machines,
}

/// The trace of a seed.
pub fn make(seed: u64, company: Company) -> Trace {
    let mut making = Making::new(seed, company);
    for minute in 0..DAYS * DAY_S / MINUTE_S {
        making.minute(minute * MINUTE_S);
    }
    Trace { keys: making.used.len(), live_max: making.live_max, events: making.events }
}

impl Making {
    fn new(seed: u64, company: Company) -> Self {
        let mut sum = 0.0;
        #[expect(clippy::cast_precision_loss, reason = "ranks are small")]
        let weigh = |rank: usize| ((rank + 1) as f64).powf(-ZIPF_EXPONENT);
        let summed = |rank| {
            sum += weigh(rank);
            sum
        };
        let weights = (0..USERS).map(summed).collect();
        let mut random = Rng::with_seed(seed);
        let mut ranks: Vec<u32> = (0..USERS as u32).collect();
        random.shuffle(&mut ranks);
        let (events, planned, ends) = (Vec::new(), BinaryHeap::new(), BinaryHeap::new());
        let (session, used) = (vec![None; USERS], Vec::new());
        Self { company, random, events, planned, ends, session, used, live: 0, live_max: 0, ranks, weights }
    }

    fn minute(&mut self, at_s: u32) {
        if at_s.is_multiple_of(DAY_S) {
            self.change_habits();
        }
        let share = f64::from(MINUTE_S) / f64::from(DAY_S);
        let hour = f64::from(at_s % DAY_S) / f64::from(DAY_S) * std::f64::consts::TAU;
        let busy = 1.0 - DAILY_SWING * hour.cos();
        for _ in 0..self.count(VISITS_A_DAY * share * busy) {
            let user = self.user();
            self.plan_visit(user, at_s);
        }
        if self.company == Company::Machines {
            self.machines(at_s, share);
        }
        while self.planned.peek().is_some_and(|Reverse((due_s, ..))| *due_s < at_s + MINUTE_S) {
            let Some(Reverse((due_s, user, is_first, is_last))) = self.planned.pop() else { break };
            self.request(due_s, user, is_first, is_last);
        }
        self.end_old(at_s + MINUTE_S);
    }

    fn machines(&mut self, at_s: u32, share_of_day: f64) {
        for _ in 0..self.count(ROBOTS_A_DAY * share_of_day) {
            self.open(at_s, None);
        }
        for begun_s in CRAWLS_S {
            if (begun_s..begun_s + CRAWL_MINUTES * MINUTE_S).contains(&at_s) {
                self.crawl((at_s - begun_s) / MINUTE_S, at_s);
            }
        }
    }

    /// A whole number that is `mean` on the average.
    fn count(&mut self, mean: f64) -> u32 {
        (mean + self.random.f64()) as u32
    }

    fn after(&mut self, mean_s: f64) -> u32 {
        (-mean_s * (1.0 - self.random.f64()).ln()) as u32
    }

    fn user(&mut self) -> u32 {
        let all = self.weights.last().copied().unwrap_or_default();
        let drawn = self.random.f64() * all;
        self.ranks[self.weights.partition_point(|sum| *sum < drawn).min(USERS - 1)]
    }

    fn change_habits(&mut self) {
        for _ in 0..self.count(USERS as f64 * CHANGED_A_DAY / 2.0) {
            let (one, other) = (self.random.usize(..USERS), self.random.usize(..USERS));
            self.ranks.swap(one, other);
        }
    }

    fn plan_visit(&mut self, user: u32, at_s: u32) {
        let mut due_s = at_s + self.random.u32(..MINUTE_S);
        let mut is_first = true;
        loop {
            let is_last = self.random.f64() < 1.0 / REQUESTS_A_VISIT_MEAN;
            self.planned.push(Reverse((due_s, user, is_first, is_last)));
            if is_last {
                break;
            }
            is_first = false;
            due_s += 1 + self.after(THINKING_MEAN_S);
        }
    }

    fn request(&mut self, at_s: u32, user: u32, is_first: bool, is_last: bool) {
        match self.session[user as usize] {
            None => self.open(at_s, Some(user)),
            Some(key) => {
                self.used[key as usize] = Some((at_s, Some(user)));
                self.tell(key, at_s, if is_first { Kind::First } else { Kind::Read });
                if self.random.f64() < WRITES {
                    self.tell(key, at_s, Kind::Write);
                }
            }
        }
        if is_last && self.random.f64() < LOGOUTS {
            self.session[user as usize].into_iter().for_each(|key| self.end(key, at_s));
        }
        if is_last && self.random.f64() < RETURNS {
            let later_s = at_s + self.after(RETURN_AFTER_MEAN_S);
            self.plan_visit(user, later_s);
        }
    }

    fn open(&mut self, at_s: u32, user: Option<u32>) {
        let key = self.used.len() as u32;
        self.used.push(Some((at_s, user)));
        if let Some(user) = user {
            self.session[user as usize] = Some(key);
        }
        self.ends.push(Reverse((at_s + TTL_S, key)));
        self.live += 1;
        self.live_max = self.live_max.max(self.live);
        self.tell(key, at_s, Kind::Write);
    }

    fn end(&mut self, key: u32, at_s: u32) {
        if let Some((_, user)) = self.used[key as usize].take() {
            user.into_iter().for_each(|user| self.session[user as usize] = None);
            self.live -= 1;
            self.tell(key, at_s, Kind::End);
        }
    }

    fn end_old(&mut self, now_s: u32) {
        while self.ends.peek().is_some_and(|Reverse((due_s, _))| *due_s <= now_s) {
            let Some(Reverse((_, key))) = self.ends.pop() else { break };
            let Some((used_s, _)) = self.used[key as usize] else { continue };
            if used_s + TTL_S <= now_s {
                self.end(key, now_s);
            } else {
                self.ends.push(Reverse((used_s + TTL_S, key)));
            }
        }
    }

    /// One minute's part of all that live, in the order of the hash, as SCAN gives them.
    fn crawl(&mut self, part: u32, at_s: u32) {
        let slice = u64::MAX / u64::from(CRAWL_MINUTES);
        let is_due = |key: u32| super::hash(key) / slice == u64::from(part);
        let mut due: Vec<u32> =
            (0..self.used.len() as u32).filter(|&key| self.used[key as usize].is_some() && is_due(key)).collect();
        due.sort_unstable_by_key(|&key| super::hash(key));
        due.into_iter().for_each(|key| self.tell(key, at_s, Kind::Crawl));
    }

    fn tell(&mut self, key: u32, at_s: u32, kind: Kind) {
        self.events.push(Event { key, at_s, kind });
    }
}
