//! The report: the targets, and what each section found.

use std::fs;

use super::options::Options;
use super::sections::Section;
use crate::stage::Result;
use crate::stage::charts::number_text;
use crate::stage::machine::Machine;
use crate::stage::tables::table;
use crate::stage::wanted::Wanted;

/// A number that was wanted.
#[derive(Clone, Debug)]
pub struct Target {
    /// What it is, with its unit.
    pub name: String,
    /// What was found.
    pub found: f64,
    /// What is wanted.
    pub wanted: Wanted,
}

/// What a section found.
#[derive(Clone, Debug, Default)]
pub struct Part {
    /// How it was measured.
    pub how: String,
    /// Title, head and rows of each table.
    pub tables: Vec<(String, Vec<String>, Vec<Vec<String>>)>,
    /// File, title and SVG of each chart.
    pub charts: Vec<(&'static str, &'static str, String)>,
    /// What was wanted.
    pub targets: Vec<Target>,
    /// What could not be measured, and why.
    pub missing: Vec<String>,
    /// How long the section took.
    pub seconds: f64,
}

impl Part {
    /// A part that is measured so.
    pub fn new(how: &str) -> Self {
        Self { how: how.to_owned(), ..Self::default() }
    }

    /// That of a section that did not come to its end.
    pub fn failed(error: &str) -> Self {
        Self { missing: vec![format!("all of it: {error}")], ..Self::default() }
    }

    /// Adds a table.
    pub fn table(&mut self, title: &str, head: &[&str], rows: Vec<Vec<String>>) {
        self.tables.push((title.to_owned(), head.iter().map(|&word| word.to_owned()).collect(), rows));
    }

    /// Adds a number that is wanted.
    pub fn want(&mut self, name: impl Into<String>, found: f64, wanted: Wanted) {
        self.targets.push(Target { name: name.into(), found, wanted });
    }

    /// Says what is missing.
    pub fn miss(&mut self, what: impl Into<String>) {
        self.missing.push(what.into());
    }

    /// All but the charts.
    pub fn text(&self) -> String {
        let mut text = if self.how.is_empty() { String::new() } else { format!("{}\n\n", self.how) };
        for (title, head, rows) in &self.tables {
            let head: Vec<&str> = head.iter().map(String::as_str).collect();
            text.push_str(&format!("{title}\n\n{}\n", table(&head, rows)));
        }
        for missing in &self.missing {
            text.push_str(&format!("Not measured: {missing}\n\n"));
        }
        text
    }
}

impl Target {
    fn row(&self) -> Vec<String> {
        let verdict = if self.wanted.is_met_by(self.found) { "met" } else { "**not met**" };
        vec![self.name.clone(), number_text(self.found), self.wanted.text(number_text), verdict.to_owned()]
    }
}

/// A finished run.
#[derive(Debug)]
pub struct Report<'a> {
    /// What was asked for.
    pub options: &'a Options,
    /// Where it ran.
    pub machine: &'a Machine,
    /// What was found.
    pub parts: &'a [(&'a Section, Part)],
}

impl Report<'_> {
    /// Prints the targets, writes the report and its charts into their folder, and says where.
    ///
    /// # Errors
    /// When the folder cannot be written.
    pub fn write(&self) -> Result<()> {
        let folder = &self.options.scope.report;
        fs::create_dir_all(folder)?;
        let mut page = format!(
            "# Scale\n\nMade by `cargo bench --bench scale`.\n\n{}\n## Targets\n\n{}\n",
            self.about(),
            self.targets()
        );
        for (section, part) in self.parts {
            page.push_str(&format!("## {}: {}\n\n{}", section.name, section.about, part.text()));
            for (file, title, svg) in &part.charts {
                fs::write(folder.join(format!("{file}.svg")), svg)?;
                page.push_str(&format!("![{title}]({file}.svg)\n\n"));
            }
        }
        println!("{}\n{}", self.about(), self.targets());
        let path = folder.join("REPORT.md");
        fs::write(&path, page.trim_end().to_owned() + "\n")?;
        println!("the report: {}", path.display());
        Ok(())
    }

    fn about(&self) -> String {
        let seconds: f64 = self.parts.iter().map(|(_, part)| part.seconds).sum();
        let Options { sessions, large, .. } = self.options;
        let run = format!(
            "{} sessions, {} at most, {seconds:.0} s",
            number_text(f64::from(*sessions)),
            number_text(f64::from(*large))
        );
        let all = [("run", run)].into_iter().chain(self.machine.0.iter().cloned());
        all.map(|(name, value)| format!("- {name}: {value}\n")).collect()
    }

    fn targets(&self) -> String {
        let rows: Vec<_> = self.parts.iter().flat_map(|(_, part)| &part.targets).map(Target::row).collect();
        table(&["what", "found", "wanted", ""], &rows)
    }
}
