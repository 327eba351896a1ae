//! What was measured, as a table and as JSON.

use std::fmt;

use comfy_table::{CellAlignment, Table, presets};
use serde_json::json;

/// One measured value beside the one that it is compared with.
#[derive(Debug)]
pub(crate) struct Row {
    pub(crate) measure: String,
    pub(crate) value: f64,
    pub(crate) unit: &'static str,
    /// The floor or the peer, in the same unit.
    pub(crate) reference: f64,
    pub(crate) must: Must,
}

/// What the ratio of value and reference must reach.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Must {
    AtLeast(f64),
    AtMost(f64),
}

impl Row {
    fn ratio(&self) -> f64 {
        self.value / self.reference
    }

    fn is_met(&self) -> bool {
        match self.must {
            Must::AtLeast(bound) => self.ratio() >= bound,
            Must::AtMost(bound) => self.ratio() <= bound,
        }
    }
}

impl fmt::Display for Must {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::AtLeast(bound) => write!(f, "≥ {bound:.3}"),
            Self::AtMost(bound) => write!(f, "≤ {bound:.3}"),
        }
    }
}

/// All rows of a run.
#[derive(Debug, Default)]
pub(crate) struct Report(Vec<Row>);

impl Report {
    pub(crate) fn add(&mut self, row: Row) {
        eprintln!(
            "  {:.1} {}, reference {:.1}: ratio {:.3}, must be {}",
            row.value,
            row.unit,
            row.reference,
            row.ratio(),
            row.must
        );
        self.0.push(row);
    }

    pub(crate) fn to_json(&self) -> String {
        let rows: Vec<_> = self
            .0
            .iter()
            .map(|row| {
                json!({
                    "measure": row.measure,
                    "value": row.value,
                    "unit": row.unit,
                    "reference": row.reference,
                    "ratio": row.ratio(),
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
            "must",
            "met",
        ]);
        for row in &self.0 {
            table.add_row([
                row.measure.clone(),
                format!("{:.1}", row.value),
                format!("{:.1}", row.reference),
                row.unit.to_owned(),
                format!("{:.3}", row.ratio()),
                row.must.to_string(),
                if row.is_met() { "yes" } else { "NO" }.to_owned(),
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
