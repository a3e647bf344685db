//! The findings of a benchmark, for people and for scripts.

use std::collections::BTreeMap;
use std::fs;

use comfy_table::{CellAlignment, Table, presets};
use serde_json::{Value, json};

/// The figures of one benchmark with one set of parameters.
pub(crate) struct Report {
    name: &'static str,
    params: Value,
    /// Of this program, and of the servers.
    versions: BTreeMap<&'static str, String>,
    /// Each figure's value in every run.
    values: BTreeMap<&'static str, Vec<f64>>,
}

impl Report {
    pub(crate) fn new(name: &'static str, params: Value) -> Self {
        let versions = BTreeMap::from([("bench", env!("CARGO_PKG_VERSION").to_owned())]);
        Self { name, params, versions, values: BTreeMap::new() }
    }

    /// Adds a run's value of a figure.
    pub(crate) fn add(&mut self, figure: &'static str, value: f64) {
        self.values.entry(figure).or_default().push(value);
    }

    /// Adds the most memory that this process has had resident.
    pub(crate) fn add_peak_memory(&mut self, figure: &'static str) {
        if let Some(mib) = crate::usage::own_peak_rss_mib() {
            self.add(figure, mib);
        }
    }

    /// Adds a parameter.
    pub(crate) fn add_param(&mut self, name: &str, value: impl Into<Value>) {
        self.params[name] = value.into();
    }

    /// Names the version of a server.
    pub(crate) fn add_version(&mut self, server: &'static str, version: String) {
        self.versions.insert(server, version);
    }

    /// The median of a figure; not a number where there is none.
    pub(crate) fn median(&self, figure: &str) -> f64 {
        self.values.get(figure).map_or(f64::NAN, |runs| spread(runs).1)
    }

    pub(crate) fn print(&self, json: bool) {
        if json {
            println!("{}", self.as_json());
        } else {
            println!("{} {}\n{}\n", self.name, self.params, self.as_table());
        }
    }

    fn as_json(&self) -> Value {
        let values: BTreeMap<_, _> = self
            .values
            .iter()
            .map(|(figure, runs)| {
                let (least, median, most) = spread(runs);
                (*figure, json!({ "median": median, "min": least, "max": most, "runs": runs.len() }))
            })
            .collect();
        json!({
            "name": self.name, "params": self.params, "machine": machine(), "versions": self.versions, "values": values,
        })
    }

    fn as_table(&self) -> Table {
        let mut table = Table::new();
        table.load_style(presets::NOTHING);
        table.set_header(["figure", "median", "min", "max", "runs"]);
        for (figure, runs) in &self.values {
            let (least, median, most) = spread(runs);
            let row = [median, least, most].map(shown);
            let cells = [(*figure).to_owned()].into_iter().chain(row).chain([runs.len().to_string()]);
            table.add_row(cells.collect::<Vec<_>>());
        }
        for column in table.column_iter_mut().skip(1) {
            column.set_cell_alignment(CellAlignment::Right);
        }
        table
    }
}

/// A value with the digits that say something.
fn shown(value: f64) -> String {
    match value.abs() {
        size if size == 0.0 || size >= 10.0 => format!("{value:.1}"),
        size if size >= 1.0 => format!("{value:.2}"),
        _ => format!("{value:.3}"),
    }
}

/// The smallest, the median and the largest.
fn spread(runs: &[f64]) -> (f64, f64, f64) {
    let mut sorted = runs.to_vec();
    sorted.sort_by(f64::total_cmp);
    let at = |index: usize| sorted.get(index).copied().unwrap_or(f64::NAN);
    (at(0), at(sorted.len() / 2), at(sorted.len().saturating_sub(1)))
}

/// The value below which this share of them lies, in milliseconds.
pub(crate) fn percentile(sorted_ms: &[f64], share: f64) -> f64 {
    let index = (sorted_ms.len() as f64 * share).ceil() as usize;
    sorted_ms.get(index.saturating_sub(1)).copied().unwrap_or(f64::NAN)
}

fn machine() -> Value {
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    let cpu = line_of("/proc/cpuinfo", "model name").unwrap_or_default();
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    json!({ "cores": cores, "cpu": cpu, "kernel": kernel.trim() })
}

/// Returns the text behind the colon in the first line that begins so.
fn line_of(path: &str, begins: &str) -> Option<String> {
    let text = fs::read_to_string(path).ok()?;
    let line = text.lines().find(|line| line.starts_with(begins))?;
    Some(line.split_once(':')?.1.trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_medians_with_their_spread() {
        assert_eq!(spread(&[3.0, 1.0, 2.0]), (1.0, 2.0, 3.0));
        let mut report = Report::new("x", json!({}));
        [3.0, 1.0, 2.0].into_iter().for_each(|value| report.add("ms", value));
        let shown = report.as_json();
        assert_eq!(shown["values"]["ms"], json!({ "median": 2.0, "min": 1.0, "max": 3.0, "runs": 3 }));
    }

    #[test]
    fn percentiles_are_values_that_were_measured() {
        let sorted: Vec<f64> = (1..=100).map(f64::from).collect();
        assert_eq!((percentile(&sorted, 0.5), percentile(&sorted, 0.99)), (50.0, 99.0));
        assert_eq!(percentile(&[7.0], 0.99), 7.0);
    }
}
