//! The violations that the rules have found, and the branches that they came through.

use std::collections::{BTreeMap, BTreeSet};

use super::Violation;

#[derive(Clone, Debug, Default)]
pub(super) struct Report {
    pub(super) violations: Vec<Violation>,
    pub(super) marks: BTreeMap<&'static str, u64>,
    said: BTreeSet<String>,
}

impl Report {
    /// Adds a violation.
    pub(super) fn violated(&mut self, violation: Violation) {
        self.violations.push(violation);
    }

    /// Adds a violation once: a violation that lasts is noticed again and again.
    pub(super) fn violated_once(&mut self, what: impl Into<String>, violation: Violation) {
        if self.said.insert(what.into()) {
            self.violations.push(violation);
        }
    }

    /// A branch was reached.
    pub(super) fn mark(&mut self, branch: &'static str) {
        *self.marks.entry(branch).or_default() += 1;
    }
}
