//! Medians over rounds, and ratios within a round: the machine's weather falls on both sides of a ratio.

use super::contestants::Kind;
use super::measuring::{Figures, Metric, Record};
use crate::stage::median::median;

/// The median of a number over all rounds.
pub fn median_of(records: &[Record], step: &str, kind: Kind, metric: Metric) -> Option<f64> {
    let own = records.iter().filter(|record| record.step == step && record.kind == kind);
    median(own.filter_map(|record| record.figures.get(metric)).collect())
}

/// The ratio of one contestant to another in each round in which both have the number.
pub fn by_round(
    records: &[Record],
    step: &str,
    kinds: (Kind, Kind),
    number: impl Fn(&Figures) -> Option<f64>,
) -> Vec<f64> {
    let of = |round: u32, kind: Kind| {
        let is_it = |record: &&Record| record.round == round && record.step == step && record.kind == kind;
        records.iter().find(is_it).and_then(|record| number(&record.figures))
    };
    let rounds =
        records.iter().filter(|record| record.step == step && record.kind == kinds.0).map(|record| record.round);
    let both = rounds.filter_map(|round| of(round, kinds.0).zip(of(round, kinds.1)));
    both.filter(|(_, other)| *other > 0.0).map(|(one, other)| one / other).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(round: u32, kind: Kind, throughput: Option<f64>) -> Record {
        Record { round, step: "s", kind, figures: Figures::default().with(Metric::Throughput, throughput) }
    }

    #[test]
    fn ratios_pair_what_ran_in_the_same_round() {
        let (one, other) = (Kind::SojournPostgres, Kind::RedisAlways);
        let records = [
            record(0, one, Some(10.0)),
            record(0, other, Some(5.0)),
            record(1, one, Some(9.0)),
            record(1, other, Some(9.0)),
            record(2, one, Some(7.0)),
            record(2, other, None),
        ];
        let throughput = |figures: &Figures| figures.get(Metric::Throughput);
        assert_eq!(by_round(&records, "s", (one, other), throughput), [2.0, 1.0]);
        assert!(by_round(&records, "other", (one, other), throughput).is_empty());
        assert_eq!(median_of(&records, "s", one, Metric::Throughput), Some(9.0));
    }
}
