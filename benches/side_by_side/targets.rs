//! What Sojourn wants to reach: ratios, each within one run.

use super::contestants::Kind;
use super::measuring::{Figures, Metric, Record};
use super::ratios;
use crate::stage::median::median;
use crate::stage::wanted::Wanted;

/// One target.
#[derive(Clone, Copy, Debug)]
pub struct Target {
    /// What it is about, in the words of the table.
    pub name: &'static str,
    step: &'static str,
    /// Whose number, and over whose.
    pub kinds: (Kind, Kind),
    metric: Metric,
    wanted: Wanted,
}

/// What a run says of a target.
#[derive(Clone, Debug)]
pub struct Verdict {
    /// The median of the ratios, if both took part.
    pub ratio: Option<f64>,
    /// The least and the greatest of them.
    pub range: Option<(f64, f64)>,
    /// `≥ 1.00` or `≤ 1.50`.
    pub wanted: String,
    /// Whether it is met.
    pub is_met: Option<bool>,
}

const fn least(name: &'static str, step: &'static str, kinds: (Kind, Kind), ratio: f64) -> Target {
    Target { name, step, kinds, metric: Metric::Throughput, wanted: Wanted::AtLeast(ratio) }
}

const fn most(name: &'static str, step: &'static str, kinds: (Kind, Kind), metric: Metric, ratio: f64) -> Target {
    Target { name, step, kinds, metric, wanted: Wanted::AtMost(ratio) }
}

const DURABLE: Kind = Kind::SojournPostgres;
const RELAXED: Kind = Kind::SojournEverysec;

/// All targets.
pub const TARGETS: &[Target] = &[
    least("durable SET, c=50", "SET c=50", (DURABLE, Kind::RedisAlways), 1.0),
    least("durable SET, c=256", "SET c=256", (DURABLE, Kind::RedisAlways), 0.75),
    least("durable SET, c=1 P=64", "SET c=1 P=64", (DURABLE, Kind::RedisAlways), 0.7),
    least("durable SET, c=50", "SET c=50", (DURABLE, Kind::PgSimple), 4.0),
    least("web requests", "web requests", (DURABLE, Kind::RedisEverysec), 0.9),
    least("web requests", "web requests", (DURABLE, Kind::PgSimple), 10.0),
    most("GET, c=50: server CPU per operation", "GET c=50", (DURABLE, Kind::RedisMemory), Metric::ServerCpu, 0.9),
    most("GET, c=50: server CPU per operation", "GET c=50", (DURABLE, Kind::Echo), Metric::ServerCpu, 1.25),
    least("GET `everysec`, c=50 P=16", "GET c=50 P=16", (RELAXED, Kind::RedisMemory), 1.3),
    least("SET `everysec`, c=50 P=16", "SET c=50 P=16", (RELAXED, Kind::RedisMemory), 1.3),
    most(
        "p99 of GET beside 10 000 durable SET/s",
        "GET beside 10 000 SET/s",
        (DURABLE, Kind::RedisAlways),
        Metric::P99,
        1.5,
    ),
];

impl Target {
    /// What these measurements say of it.
    pub fn judge(&self, records: &[Record]) -> Verdict {
        let number = |figures: &Figures| figures.get(self.metric);
        let ratios = ratios::by_round(records, self.step, self.kinds, number);
        let range = ratios.iter().copied().map(|ratio| (ratio, ratio));
        let range = range.reduce(|all, one| (all.0.min(one.0), all.1.max(one.1)));
        let ratio = median(ratios);
        let wanted = self.wanted.text(|bound| format!("{bound:.2}"));
        Verdict { ratio, range, wanted, is_met: ratio.map(|ratio| self.wanted.is_met_by(ratio)) }
    }
}

#[cfg(test)]
mod tests {
    use super::super::loads;
    use super::*;

    fn records(step: &'static str, numbers: &[(Kind, f64)]) -> Vec<Record> {
        let record = |&(kind, value): &(Kind, f64)| {
            let figures =
                Metric::ALL.iter().fold(Figures::default(), |figures, metric| figures.with(*metric, Some(value)));
            Record { round: 0, step, kind, figures }
        };
        numbers.iter().map(record).collect()
    }

    #[test]
    fn every_target_is_about_a_step_that_is_measured_for_both() {
        let steps = loads::steps(&[1, 2, 3, 4]);
        for target in TARGETS {
            let step = steps.iter().find(|step| step.name == target.step);
            assert!(step.is_some_and(|step| step.suits(target.kinds.0) && step.suits(target.kinds.1)), "{target:?}");
        }
    }

    #[test]
    fn a_target_is_met_on_its_side_only() {
        let set = TARGETS.iter().find(|target| target.step == "SET c=256").expect("a target");
        let is_met = |ours| set.judge(&records("SET c=256", &[(DURABLE, ours), (Kind::RedisAlways, 100.0)])).is_met;
        assert_eq!((is_met(75.0), is_met(74.0)), (Some(true), Some(false)));
        let get = TARGETS.iter().find(|target| target.metric == Metric::P99).expect("a target");
        let is_met = |ours| get.judge(&records(get.step, &[(DURABLE, ours), (Kind::RedisAlways, 100.0)])).is_met;
        assert_eq!((is_met(150.0), is_met(151.0)), (Some(true), Some(false)));
        assert_eq!(get.judge(&[]).is_met, None);
    }
}
