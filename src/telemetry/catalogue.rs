//! What is known of each number: its name, kind, unit, labels and help. Prometheus, the table in `dashboards/METRICS.md` and the tests
//! all walk these declarations. A label is never something that a client sent.

use std::borrow::Cow;
use std::fmt::Write as _;

use ::metrics::Unit;

use super::labelled;
use super::metrics::SINGLE;

/// Whether a number only grows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// It does.
    Counter,
    /// It goes up and down.
    Gauge,
    /// It is many numbers: how often a measurement was how large.
    Histogram,
}

impl Kind {
    /// Its word in Prometheus's text format.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Counter => "counter",
            Self::Gauge => "gauge",
            Self::Histogram => "histogram",
        }
    }
}

/// What is known of a number.
#[derive(Clone, Copy, Debug)]
pub struct Described {
    /// Its name for Prometheus.
    pub name: &'static str,
    /// Its kind.
    pub kind: Kind,
    /// The unit in which it is kept; Prometheus gets seconds for all times.
    pub unit: Unit,
    /// The labels that tell its series apart, all from closed sets.
    pub labels: &'static [&'static str],
    /// What it means.
    pub help: &'static str,
}

/// The units of time, each with how many of it make a second.
const TIMES: [(Unit, f64); 4] =
    [(Unit::Seconds, 1.0), (Unit::Milliseconds, 1e3), (Unit::Microseconds, 1e6), (Unit::Nanoseconds, 1e9)];

impl Described {
    /// The value for Prometheus of one in the unit in which it is kept.
    #[must_use]
    pub fn exported(&self, kept: u64) -> f64 {
        #[expect(clippy::cast_precision_loss, reason = "2^53 of anything we measure is beyond any machine")]
        let kept = kept as f64;
        let per_second = TIMES.iter().find(|(unit, _)| *unit == self.unit).map(|(_, per_second)| *per_second);
        kept / per_second.unwrap_or(1.0)
    }

    /// The word for its unit in the documentation; none for what is counted.
    #[must_use]
    pub fn unit_word(&self) -> &'static str {
        if TIMES.iter().any(|(unit, _)| *unit == self.unit) {
            "seconds"
        } else if self.unit == Unit::Bytes {
            "bytes"
        } else if self.unit == Unit::CountPerSecond {
            "per second"
        } else {
            ""
        }
    }
}

/// A number with all its series at one moment.
#[derive(Clone, Debug)]
pub struct Family<'a> {
    /// What is known of it.
    pub described: &'static Described,
    /// Its series.
    pub samples: Vec<Sample<'a>>,
}

/// One series at one moment.
#[derive(Clone, Debug)]
pub struct Sample<'a> {
    /// The values of the labels, in the order of [`Described::labels`].
    pub labels: Vec<Cow<'a, str>>,
    /// Its value.
    pub value: Value,
}

/// The value of a series, in the unit in which it is kept: only who shows it may scale it, by [`Described::exported`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Value {
    /// Of a counter or a gauge.
    Number(u64),
    /// Of a histogram.
    Distribution(Distribution),
}

impl From<u64> for Value {
    fn from(number: u64) -> Self {
        Self::Number(number)
    }
}

impl From<Distribution> for Value {
    fn from(distribution: Distribution) -> Self {
        Self::Distribution(distribution)
    }
}

/// How often a measurement was how large.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Distribution {
    /// Upper bounds that rise, each with how many measurements lie below it or on it.
    pub up_to: Vec<(u64, u64)>,
    /// How many measurements there were.
    pub count: u64,
    /// Their sum.
    pub sum: u64,
}

/// Everything in the catalogue.
pub fn described() -> impl Iterator<Item = &'static Described> {
    SINGLE.iter().chain(labelled::described())
}

/// The table of all metrics.
#[must_use]
pub fn markdown() -> String {
    let mut table = "| metric | kind | unit | labels | meaning |\n|---|---|---|---|---|\n".to_owned();
    for number in described() {
        let labels: Vec<String> = number.labels.iter().map(|label| format!("`{label}`")).collect();
        let (name, kind, unit, help) = (number.name, number.kind.word(), number.unit_word(), number.help);
        let labels = labels.join(", ");
        let written = writeln!(table, "| `{name}` | {kind} | {unit} | {labels} | {help} |");
        debug_assert!(written.is_ok(), "a string takes all that is written");
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The end of a name says the unit, as Prometheus's own conventions want it.
    fn fits_its_unit(number: &Described) -> bool {
        let stem = number.name.strip_suffix("_total").unwrap_or(number.name);
        match number.unit_word() {
            "seconds" => stem.ends_with("_seconds"),
            "bytes" => stem.ends_with("_bytes"),
            _ => !stem.ends_with("_seconds") && !stem.ends_with("_bytes"),
        }
    }

    #[test]
    fn every_number_has_a_name_of_its_own_in_prometheus_style() {
        let names: Vec<&str> = described().map(|number| number.name).collect();
        for (position, number) in described().enumerate() {
            assert!(number.name.starts_with("sojourn_"), "{}", number.name);
            assert_eq!(number.name.ends_with("_total"), number.kind == Kind::Counter, "{}", number.name);
            assert!(fits_its_unit(number), "{} is in {}", number.name, number.unit_word());
            assert!(!names[..position].contains(&number.name), "{} twice", number.name);
            assert!(!number.help.ends_with('.') && !number.help.contains(['|', '\n']), "{}", number.help);
        }
    }

    #[test]
    fn times_are_exported_in_seconds() {
        let of = |unit| Described { name: "x", kind: Kind::Gauge, unit, labels: &[], help: "" }.exported(1500);
        assert_eq!([of(Unit::Milliseconds), of(Unit::Microseconds), of(Unit::Seconds)], [1.5, 0.0015, 1500.0]);
        assert_eq!([of(Unit::Bytes), of(Unit::Count)], [1500.0, 1500.0]);
    }
}
