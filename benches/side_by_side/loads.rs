//! The loads: what is asked of every contestant, each in steps of which one is measured at a time.

use super::contestants::Kind;

/// One thing that is measured.
#[derive(Clone, Debug, PartialEq)]
pub struct Step {
    /// The number of its load.
    pub load: u8,
    /// Its name in the tables.
    pub name: &'static str,
    /// What is asked.
    pub work: Work,
}

/// What is asked of a contestant.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Work {
    /// Single commands over all sessions, as many as it can answer.
    Commands {
        /// SET of another value each time, or GET.
        command: Command,
        /// Connections.
        connections: u32,
        /// Requests under way on each.
        pipeline: u32,
    },
    /// Web requests: GET, then EXPIRE and what else the request does.
    Web {
        /// One in how many writes its session.
        write_one_in: u32,
        /// How fast they come.
        pace: Pace,
    },
    /// As many reads as writes on the same connections, at this rate of each.
    Mixed {
        /// Of each, a second.
        rate: f64,
    },
}

/// GET or SET.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Command {
    /// GET.
    Get,
    /// SET with a life.
    Set,
}

/// How fast web requests come.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Pace {
    /// As fast as they are answered, with a fixed number under way: for throughput.
    Closed,
    /// At this rate whatever happens, or at [`LOAD_SHARE`] of what the contestant can do if that is less: for latency.
    Open {
        /// Requests a second.
        rate_max: f64,
    },
}

/// Above it, queues and not servers are measured.
pub const LOAD_SHARE: f64 = 0.6;

/// Web requests a second of the paced steps: what a few busy Node processes have.
pub const WEB_RATE: f64 = 5_000.0;

const fn commands(name: &'static str, command: Command, connections: u32, pipeline: u32) -> Step {
    Step { load: 1, name, work: Work::Commands { command, connections, pipeline } }
}

const fn web(load: u8, name: &'static str, write_one_in: u32, pace: Pace) -> Step {
    Step { load, name, work: Work::Web { write_one_in, pace } }
}

/// All steps, in the order in which they are run: first those in which every write is a SET, so that rows can be counted.
const STEPS: &[Step] = &[
    commands("GET c=50", Command::Get, 50, 1),
    commands("GET c=256", Command::Get, 256, 1),
    commands("GET c=1 P=64", Command::Get, 1, 64),
    commands("GET c=50 P=16", Command::Get, 50, 16),
    commands("SET c=50", Command::Set, 50, 1),
    commands("SET c=256", Command::Set, 256, 1),
    commands("SET c=1 P=64", Command::Set, 1, 64),
    commands("SET c=50 P=16", Command::Set, 50, 16),
    Step { load: 4, name: "GET beside 10 000 SET/s", work: Work::Mixed { rate: 10_000.0 } },
    web(2, "web requests", 10, Pace::Closed),
    web(2, "web requests, paced", 10, Pace::Open { rate_max: WEB_RATE }),
    web(3, "web requests that all write", 1, Pace::Closed),
    web(3, "web requests that all write, paced", 1, Pace::Open { rate_max: WEB_RATE }),
];

/// The steps of these loads.
pub fn steps(loads: &[u8]) -> Vec<Step> {
    STEPS.iter().filter(|step| loads.contains(&step.load)).cloned().collect()
}

impl Step {
    /// Whether every write in its load is a SET of a session.
    pub fn writes_sets_only(&self) -> bool {
        match self.work {
            Work::Commands { .. } | Work::Mixed { .. } => true,
            Work::Web { .. } => false,
        }
    }

    /// Whether the throughput of this contestant counts what it has committed, not what it has acknowledged: otherwise a
    /// short measurement would only fill its queue. (Web requests leave gathered touches too, which are meant to wait.)
    pub fn counts_until_settled(&self, kind: Kind) -> bool {
        kind == Kind::SojournEverysec && matches!(self.work, Work::Commands { command: Command::Set, .. })
    }

    /// Whether it says anything about this contestant. More connections or requests under way than its pool has change
    /// nothing for connect-pg-simple, and 10 000 commits a second are beyond it.
    pub fn suits(&self, kind: Kind) -> bool {
        match self.work {
            Work::Commands { connections, pipeline, .. } => {
                kind != Kind::PgSimple || (connections, pipeline) == (50, 1)
            }
            Work::Mixed { .. } => kind != Kind::PgSimple,
            Work::Web { .. } => true,
        }
    }
}
