//! The measured values, as a table and as JSON.

use std::fmt;

use comfy_table::{CellAlignment, Table, presets};
use serde_json::json;

use crate::rounds::Rounds;

/// A measure: our values, beside those that they are compared with.
#[derive(Debug)]
pub(crate) struct Row {
    pub(crate) measure: String,
    pub(crate) unit: &'static str,
    /// Ours, and the baseline or the peer, in the same unit.
    pub(crate) rounds: Rounds,
    pub(crate) must: Must,
}

/// The bound on the ratio of value and reference.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Must {
    AtLeast(f64),
    AtMost(f64),
    /// No bound: the row shows where the limit is.
    Tell,
}

impl Row {
    fn is_met(&self) -> bool {
        let ratio = self.rounds.ratio();
        match self.must {
            Must::AtLeast(bound) => ratio >= bound,
            Must::AtMost(bound) => ratio <= bound,
            Must::Tell => true,
        }
    }

    fn met(&self) -> &'static str {
        match (self.must, self.is_met()) {
            (Must::Tell, _) => "",
            (_, true) => "yes",
            (_, false) => "NO",
        }
    }

    fn spread(&self) -> String {
        let (least, greatest) = self.rounds.spread();
        format!("{least:.3}–{greatest:.3}")
    }
}

impl fmt::Display for Must {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::AtLeast(bound) => write!(f, "≥ {bound:.3}"),
            Self::AtMost(bound) => write!(f, "≤ {bound:.3}"),
            Self::Tell => f.write_str(""),
        }
    }
}

/// All rows of a run.
#[derive(Debug, Default)]
pub(crate) struct Report(Vec<Row>);

impl Report {
    pub(crate) fn add(&mut self, row: Row) {
        eprintln!(
            "  {:.1} {}, reference {:.1}: ratio {:.3} ({}), must be {}",
            row.rounds.ours(),
            row.unit,
            row.rounds.reference(),
            row.rounds.ratio(),
            row.spread(),
            row.must
        );
        self.0.push(row);
    }

    /// Whether every bar was met.
    pub(crate) fn is_met(&self) -> bool {
        self.0.iter().all(Row::is_met)
    }

    pub(crate) fn to_json(&self) -> String {
        let rows: Vec<_> = self
            .0
            .iter()
            .map(|row| {
                json!({
                    "measure": row.measure,
                    "value": row.rounds.ours(),
                    "unit": row.unit,
                    "reference": row.rounds.reference(),
                    "ratio": row.rounds.ratio(),
                    "spread": row.rounds.spread(),
                    "rounds": row.rounds.count(),
                    "cores": cores(),
                    "must": row.must.to_string(),
                    "met": row.is_met(),
                })
            })
            .collect();
        format!("{:#}\n", json!(rows))
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut table = Table::new();
        table.load_style(presets::ASCII_MARKDOWN);
        table.set_header([
            "measure",
            "value",
            "reference",
            "unit",
            "ratio",
            "spread",
            "must",
            "met",
            "cores",
        ]);
        for row in &self.0 {
            table.add_row([
                row.measure.clone(),
                format!("{:.1}", row.rounds.ours()),
                format!("{:.1}", row.rounds.reference()),
                row.unit.to_owned(),
                format!("{:.3}", row.rounds.ratio()),
                row.spread(),
                row.must.to_string(),
                row.met().to_owned(),
                format!("{}, shared by client and etcd", cores()),
            ]);
        }
        for number in [1, 2, 4] {
            if let Some(column) = table.column_mut(number) {
                column.set_cell_alignment(CellAlignment::Right);
            }
        }
        table.fmt(f)
    }
}

/// How many there are, for etcd and all its clients together.
fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, std::num::NonZero::get)
}
