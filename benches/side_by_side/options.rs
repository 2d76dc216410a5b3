//! What can be asked of a run.

use std::ffi::OsString;
use std::time::Duration;

use clap::{Arg, Command, value_parser};

use super::contestants::Kind;
use crate::stage::scope::{Extent, Scope};

const ABOUT: &str =
    "Measures Sojourn beside redis-server and connect-pg-simple's SQL, on servers that it starts itself.";

/// Rounds and seconds of a run, each chosen for how long it takes in all on two cores.
struct Length {
    rounds: u32,
    seconds: f64,
}

/// About 20 minutes.
const FULL: Length = Length { rounds: 5, seconds: 1.5 };
/// Within two minutes.
const QUICK: Length = Length { rounds: 1, seconds: 0.4 };
/// A few seconds.
const SMOKE: Length = Length { rounds: 1, seconds: 0.02 };

/// The keys that each contestant holds.
pub const KEYS: u32 = 100_000;
const SMOKE_KEYS: u32 = 500;

/// The options of a run.
#[derive(Clone, Debug)]
pub struct Options {
    /// How often each contestant is measured under each load.
    pub rounds: u32,
    /// How long each measurement takes.
    pub measured: Duration,
    /// How many sessions are loaded beforehand.
    pub keys: u32,
    /// The numbers of the loads.
    pub loads: Vec<u8>,
    /// Who takes part.
    pub contestants: Vec<Kind>,
    /// How much is run, and where.
    pub scope: Scope,
}

impl Options {
    /// Reads the command line; help, and what is wrong with it, end the process.
    pub fn read(arguments: impl IntoIterator<Item = OsString>) -> Self {
        let matches = command().get_matches_from(arguments);
        let scope = Scope::of(&matches, "side_by_side");
        let length = match scope.extent {
            Extent::Full => FULL,
            Extent::Quick => QUICK,
            Extent::Smoke => SMOKE,
        };
        let seconds = matches.get_one("seconds").copied().unwrap_or(length.seconds);
        Self {
            rounds: matches.get_one("rounds").copied().unwrap_or(length.rounds),
            measured: Duration::from_secs_f64(seconds),
            keys: if scope.is_smoke() { SMOKE_KEYS } else { KEYS },
            loads: many(&matches, "loads").unwrap_or_else(|| vec![1, 2, 3, 4]),
            contestants: many(&matches, "contestants").unwrap_or_else(|| Kind::ALL.to_vec()),
            scope,
        }
    }
}

fn many<T: Clone + Send + Sync + 'static>(matches: &clap::ArgMatches, name: &str) -> Option<Vec<T>> {
    matches.get_many(name).map(|values| values.cloned().collect())
}

fn command() -> Command {
    let value = |name: &'static str, shown: &'static str, help: &'static str| {
        Arg::new(name).long(name).value_name(shown).help(help)
    };
    let names: Vec<_> = Kind::ALL.iter().map(|kind| kind.name()).collect();
    Command::new("side_by_side").about(ABOUT).args(Scope::arguments("one short round, within two minutes")).args([
        value("rounds", "N", "how often each contestant is measured under each load")
            .value_parser(value_parser!(u32).range(1..=100)),
        value("seconds", "S", "how long each measurement takes").value_parser(parse_seconds),
        value(
            "loads",
            "LIST",
            "which loads, such as 1,4: 1 GET and SET, 2 web requests, 3 web requests that all write, \
            4 reads beside 10 000 writes a second",
        )
        .value_delimiter(',')
        .value_parser(value_parser!(u8).range(1..=4)),
        value("contestants", "LIST", "who takes part").value_delimiter(',').value_parser(move |name: &str| {
            Kind::named(name).ok_or_else(|| format!("expected one of {}", names.join(", ")))
        }),
    ])
}

fn parse_seconds(text: &str) -> Result<f64, String> {
    text.parse()
        .ok()
        .filter(|seconds| (0.01..=600.0).contains(seconds))
        .ok_or_else(|| "expected 0.01 to 600".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(words: &[&str]) -> Options {
        Options::read(["side_by_side"].iter().chain(words).map(OsString::from))
    }

    #[test]
    fn what_cargo_test_runs_is_a_smoke_test_and_what_cargo_bench_runs_is_not() {
        assert!(read(&[]).scope.is_smoke());
        assert!(!read(&["--bench"]).scope.is_smoke());
        assert!(read(&["--bench", "--quick"]).measured < read(&["--bench"]).measured);
    }

    #[test]
    fn loads_and_contestants_can_be_chosen() {
        let options =
            read(&["--bench", "--loads", "1,4", "--contestants", "echo,redis-aof-always", "--seconds", "0.5"]);
        assert_eq!(options.loads, [1, 4]);
        assert_eq!(options.contestants, [Kind::Echo, Kind::RedisAlways]);
        assert_eq!(options.measured, Duration::from_millis(500));
    }
}
