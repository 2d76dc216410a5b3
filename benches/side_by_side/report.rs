//! The report: the targets, the ratios, a table for each step, charts, and the machine.

use std::fs;

use super::contestants::store::POOL;
use super::contestants::{AGED_SHARE, AGED_TIMES, Kind};
use super::generator::{LANES, UNDER_WAY};
use super::loads::{LOAD_SHARE, Step, WEB_RATE};
use super::measuring::{Metric, Record};
use super::options::Options;
use super::ratios;
use super::targets::TARGETS;
use crate::stage::Result;
use crate::stage::charts::{self, Group, number_text};
use crate::stage::machine::Machine;
use crate::stage::median::median;
use crate::stage::session::{PREFIX, VALUE_BYTES};
use crate::stage::tables::table;

/// Whose ratios to all others are shown.
const OURS: Kind = Kind::SojournPostgres;

/// What is drawn: file, title, unit, number, and the steps.
const CHARTS: &[(&str, &str, &str, Metric, &[&str])] = &[
    (
        "get",
        "GET",
        "operations a second",
        Metric::Throughput,
        &["GET c=50", "GET c=256", "GET c=1 P=64", "GET c=50 P=16"],
    ),
    (
        "set",
        "SET",
        "operations a second",
        Metric::Throughput,
        &["SET c=50", "SET c=256", "SET c=1 P=64", "SET c=50 P=16"],
    ),
    ("web", "Web requests", "requests a second", Metric::Throughput, &["web requests", "web requests that all write"]),
    (
        "p99",
        "p99 at a fixed rate",
        "milliseconds",
        Metric::P99,
        &["GET beside 10 000 SET/s", "web requests, paced", "web requests that all write, paced"],
    ),
    ("cpu", "Processor time of the server", "microseconds an operation", Metric::ServerCpu, &["GET c=50", "SET c=50"]),
];

/// A finished run.
#[derive(Clone, Copy, Debug)]
pub struct Report<'a> {
    /// What was asked for.
    pub options: &'a Options,
    /// Where it ran.
    pub machine: &'a Machine,
    /// The steps.
    pub steps: &'a [Step],
    /// What was measured.
    pub records: &'a [Record],
}

impl Report<'_> {
    /// The machine, the targets and the ratios, for the terminal.
    pub fn summary(&self) -> String {
        [self.about(), self.targets(), self.ratios()].join("\n")
    }

    /// Writes the report and its charts into their folder, and says where.
    ///
    /// # Errors
    /// When the folder cannot be written.
    pub fn write(&self) -> Result<()> {
        let folder = &self.options.scope.report;
        fs::create_dir_all(folder)?;
        let mut images = String::new();
        for (file, title, unit, metric, steps) in CHARTS {
            let groups: Vec<_> = steps.iter().filter_map(|step| self.group(step, *metric)).collect();
            if !groups.is_empty() {
                fs::write(folder.join(format!("{file}.svg")), charts::bars(title, unit, &groups))?;
                images.push_str(&format!("![{title}: {unit}]({file}.svg)\n\n"));
            }
        }
        let parts = [
            "# Side by side\n".to_owned(),
            format!("Made by `cargo bench --bench side_by_side`.\n\n{}", self.about()),
            format!("## Targets\n\n{}", self.targets()),
            format!("## Charts\n\n{images}## How it is measured\n\n{}", how()),
            format!("## Ratios: {} to the others\n\n{}", OURS.title(), self.ratios()),
            format!("## Figures\n\nThose of each round are in [figures.csv](figures.csv).\n\n{}", self.figures()),
        ];
        fs::write(folder.join("figures.csv"), self.rows())?;
        let page = folder.join("REPORT.md");
        fs::write(&page, parts.join("\n"))?;
        println!("the report: {}", page.display());
        Ok(())
    }

    fn about(&self) -> String {
        let length = self.options.measured.as_secs_f64();
        let run =
            format!("{} rounds, each measurement {length} s, {} sessions", self.options.rounds, self.options.keys);
        let all = [("run", run)].into_iter().chain(self.machine.0.iter().cloned());
        all.map(|(name, value)| format!("- {name}: {value}\n")).collect()
    }

    fn targets(&self) -> String {
        let row = |target: &super::targets::Target| {
            let verdict = target.judge(self.records);
            let is_met = match verdict.is_met {
                Some(true) => "met",
                Some(false) => "**not met**",
                None => "not measured",
            };
            vec![
                format!("{}: {}", target.kinds.0.title(), target.name),
                target.kinds.1.title().to_owned(),
                verdict.ratio.map_or_else(missing, |ratio| format!("{ratio:.2}")),
                verdict.range.map_or_else(missing, |(least, most)| format!("{least:.2} to {most:.2}")),
                verdict.wanted,
                is_met.to_owned(),
            ]
        };
        let rows: Vec<_> = TARGETS.iter().map(row).collect();
        table(&["load", "against", "ratio", "rounds", "wanted", ""], &rows)
    }

    /// Ours to each other contestant, under each step.
    fn ratios(&self) -> String {
        let mut rows = Vec::new();
        for step in self.steps {
            for &other in self.options.contestants.iter().filter(|kind| **kind != OURS) {
                let ratio = |metric: &Metric| {
                    let number = |figures: &super::measuring::Figures| figures.get(*metric);
                    let ratio = median(ratios::by_round(self.records, step.name, (OURS, other), number));
                    ratio.map_or_else(missing, |ratio| format!("{ratio:.2}"))
                };
                let ratios: Vec<_> = Metric::ALL.iter().map(ratio).collect();
                if ratios.iter().any(|ratio| *ratio != missing()) {
                    rows.push([vec![step.name.to_owned(), other.title().to_owned()], ratios].concat());
                }
            }
        }
        table(&[&["load", "against"][..], &titles()].concat(), &rows)
    }

    fn figures(&self) -> String {
        let mut text = String::new();
        for step in self.steps {
            let mut rows = Vec::new();
            for &kind in self.options.contestants.iter().filter(|kind| step.suits(**kind)) {
                let number = |metric: &Metric| {
                    ratios::median_of(self.records, step.name, kind, *metric).map_or_else(missing, number_text)
                };
                rows.push([vec![kind.title().to_owned()], Metric::ALL.iter().map(number).collect()].concat());
            }
            let head = [&[""][..], &titles()].concat();
            text.push_str(&format!("### {}\n\n{}\n", step.name, table(&head, &rows)));
        }
        text
    }

    /// Every measurement, for whoever wants to reckon otherwise.
    fn rows(&self) -> String {
        let mut text = format!("round,load,contestant,{}\n", titles().join(","));
        for Record { round, step, kind, figures } in self.records {
            let number = |metric: &Metric| figures.get(*metric).map(|number| number.to_string()).unwrap_or_default();
            let numbers: Vec<_> = Metric::ALL.iter().map(number).collect();
            text.push_str(&format!("{},\"{step}\",{},{}\n", round + 1, kind.name(), numbers.join(",")));
        }
        text
    }

    fn group(&self, step: &&str, metric: Metric) -> Option<Group> {
        let bar = |(place, kind): (usize, &Kind)| {
            let number = ratios::median_of(self.records, step, *kind, metric)?;
            Some((kind.title().to_owned(), place, number))
        };
        let bars: Vec<_> = Kind::ALL.iter().enumerate().filter_map(bar).collect();
        (!bars.is_empty()).then(|| Group { title: (*step).to_owned(), bars })
    }
}

fn how() -> String {
    let (web_rate, share) = (number_text(WEB_RATE), LOAD_SHARE * 100.0);
    let under_way = number_text((LANES * UNDER_WAY) as f64);
    format!(
        "\
Each contestant starts afresh in each round, on the same disk and with the same sessions ({VALUE_BYTES} bytes of JSON under \
`{PREFIX}`, with a TTL); tables in PostgreSQL are like those of an application that has run for a while: {AGED_TIMES} times \
{:.0} % of the rows were written anew, as they were, and the table vacuumed. The contestants take turns under each load, each round \
beginning with another, while the others are idle. The numbers are medians over the rounds; a ratio is taken within each round, and its median is quoted. Generator and servers share \
the cores, and nothing is pinned to one.

GET and SET are sent by redis-benchmark, every SET with another value; connect-pg-simple's are sent by this program. A *web request* \
is a GET and then an EXPIRE; one in ten also SETs its session, one in a hundred SETs a new one and one in a hundred DELs such a one. They \
come over {LANES} connections, as from so many Node processes: {under_way} under way for throughput, and *paced* at {web_rate} a second \
(or {share:.0} % of what the contestant can do) for latencies, which count from the moment at which the request was to be sent. \
Where GETs come beside as many SETs, on the same {LANES} connections, the latencies are those of the GETs, and the costs those of both. \
connect-pg-simple's SQL runs over a pool of {POOL} connections that prepare each statement once, which is better than node-pg does, \
and the processor time of the application that it runs in is not counted. The echo answers each request with a fixed reply and \
does nothing else: it shows what the generator and the sockets cost.

Processor time and WAL are counted until all that was acknowledged is committed, gathered touches included; so is the time of SETs \
with `everysec`, which is as fast as it commits. Nobody tidies up while somebody is measured: autovacuum is off, VACUUM runs before each \
measurement, the only checkpoint of a round stands at its start, and redis-server does not rewrite its AOF. The rows that changed in \
PostgreSQL equal the acknowledged SETs less those that a batch replaced, or there would be no report.
",
        AGED_SHARE * 100.0
    )
}

fn titles() -> Vec<&'static str> {
    Metric::ALL.iter().map(|metric| metric.title()).collect()
}

fn missing() -> String {
    "–".to_owned()
}
#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_drawn_is_measured() {
        let steps = super::super::loads::steps(&[1, 2, 3, 4]);
        for step in CHARTS.iter().flat_map(|chart| chart.4) {
            assert!(steps.iter().any(|known| known.name == *step), "{step}");
        }
    }
}
