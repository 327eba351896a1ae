//! The judge of histories: pure rules, one a file, that read what etcd did and what its clients claimed, and say where the two don't fit.
//!
//! It runs nothing and knows no clock but those of the records, so that it judges the simulation and real etcds alike.
//! A rule has no exemption but those in its own file, each with the reason for which a real client would need it and a test of its bound.
//!
//! | rule | what must hold |
//! | --- | --- |
//! | [`Rule::Exclusion`] | a client that claims a lock has its oldest entry, or had it until just now |
//! | [`Rule::Order`] | only the oldest entry is granted |
//! | [`Rule::Tokens`] | every grant has a greater token than all before |
//! | [`Rule::Fencing`] | a fenced write commits under the last grant only |
//! | [`Rule::Write`] | a fenced write is done once, and its end is true |
//! | [`Rule::Deletion`] | a client deletes its own entries only |
//! | [`Rule::Place`] | a waiter keeps its entry |
//! | [`Rule::HandOver`] | others are passed over within the limit |
//! | [`Rule::Error`] | a wait fails for a reason that the history tells |
//! | [`Rule::Loss`] | a loss is true, and for good |
//! | [`Rule::Standstill`], [`Rule::Progress`] | the queue comes on, every wait ends |
//! | [`Rule::Leak`] | unwanted things are gone soon |

mod bounds;
mod cleanup;
mod deletion;
mod errors;
mod exclusion;
mod fencing;
mod handover;
mod losses;
mod order;
mod place;
mod progress;
mod report;
mod state;
#[cfg(test)]
mod testing;
mod tokens;
mod writes;

use std::collections::BTreeMap;

use self::report::Report;
use self::state::State;
use crate::history::{Client, Entry, Micros, Record};

/// Judges a whole history.
#[must_use]
pub fn judge(history: &[Record]) -> Vec<Violation> {
    let mut checker = Checker::new();
    for record in history {
        checker.feed(record);
    }
    checker.into_violations()
}

/// A rule that must hold.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
#[non_exhaustive]
#[allow(missing_docs, reason = "the table of this module says it")]
pub enum Rule {
    Deletion,
    Error,
    Exclusion,
    Fencing,
    HandOver,
    Leak,
    /// The run goes round in circles.
    Livelock,
    Loss,
    Order,
    /// A client panicked.
    Panic,
    Place,
    Progress,
    Standstill,
    Tokens,
    Write,
}

impl Rule {
    /// The rule in one word, for reports and for what a deliberate bug is expected to break.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Deletion => "deletion",
            Self::Error => "error",
            Self::Exclusion => "exclusion",
            Self::Fencing => "fencing",
            Self::HandOver => "hand-over",
            Self::Leak => "leak",
            Self::Livelock => "livelock",
            Self::Loss => "loss",
            Self::Order => "order",
            Self::Panic => "panic",
            Self::Place => "place",
            Self::Progress => "progress",
            Self::Standstill => "standstill",
            Self::Tokens => "tokens",
            Self::Write => "write",
        }
    }
}

/// A rule that was broken: where, by whom, and in words.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct Violation {
    /// Which rule.
    pub rule: Rule,
    /// When, by the observer's clock.
    pub at: Micros,
    /// The event that broke it, in words.
    pub text: String,
    /// The client, where it is one's doing.
    pub client: Option<Client>,
    /// The lock and the entry that it is about, where there is one.
    pub entry: Option<(String, Entry)>,
    /// The wait that it is about, where there is one.
    pub wait: Option<u64>,
}

impl Violation {
    /// A violation that is about nothing in particular.
    pub fn new(rule: Rule, at: Micros, text: impl Into<String>) -> Self {
        Self {
            rule,
            at,
            text: text.into(),
            client: None,
            entry: None,
            wait: None,
        }
    }

    pub(crate) fn by(mut self, client: Client) -> Self {
        self.client = Some(client);
        self
    }

    pub(crate) fn of_entry(mut self, lock: &str, entry: &Entry) -> Self {
        self.entry = Some((lock.to_owned(), entry.clone()));
        self
    }

    pub(crate) const fn of_wait(mut self, wait: u64) -> Self {
        self.wait = Some(wait);
        self
    }
}

impl std::fmt::Display for Violation {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: {}", self.rule.as_str(), self.text)
    }
}

/// Reads a history record by record.
#[derive(Clone, Debug, Default)]
pub struct Checker {
    state: State,
    rules: Rules,
    report: Report,
}

/// Each rule's own memory. The state after a record is known to all.
#[derive(Clone, Debug, Default)]
struct Rules {
    cleanup: cleanup::Cleanup,
    exclusion: exclusion::Exclusion,
    handover: handover::HandOvers,
    progress: progress::Progress,
    tokens: tokens::Tokens,
    writes: writes::Writes,
}

impl Checker {
    /// One that has read nothing.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Reads the next record. Records come in the order of their times.
    pub fn feed(&mut self, record: &Record) {
        self.advance(record.at);
        self.state.apply(record);
        let Self {
            state,
            rules,
            report,
        } = self;
        let fact = &record.fact;
        deletion::check(state, fact, report);
        errors::check(state, fact, report);
        fencing::check(state, fact, &rules.writes, report);
        losses::check(state, fact, report);
        order::check(state, fact, report);
        place::check(state, fact, report);
        rules.exclusion.check(state, fact, report);
        rules.handover.check(state, fact, report);
        rules.tokens.check(state, fact, report);
        rules.writes.check(state, fact, report);
    }

    /// Time passes without anything that happens.
    pub fn advance(&mut self, now: Micros) {
        self.state.now = self.state.now.max(now);
        self.rules.cleanup.check(&self.state, &mut self.report);
        self.rules.progress.check(&self.state, &mut self.report);
    }

    /// Adds a violation that its source has noticed by itself.
    pub fn violated(&mut self, violation: Violation) {
        self.report.violated(violation);
    }

    /// The violations, in the order in which they were noticed.
    #[must_use]
    pub fn violations(&self) -> &[Violation] {
        &self.report.violations
    }

    /// The same, for good.
    #[must_use]
    pub fn into_violations(self) -> Vec<Violation> {
        self.report.violations
    }

    /// How often each branch of the rules was reached that a good run must reach.
    #[must_use]
    pub const fn marks(&self) -> &BTreeMap<&'static str, u64> {
        &self.report.marks
    }
}
