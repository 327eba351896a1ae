//! How deliberate bugs fare, and what the drivers print of it.

use std::collections::BTreeSet;
use std::fmt;

use super::patch::Patch;

/// How a deliberate bug fared.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) enum Verdict {
    /// It violated a rule that it must violate.
    Caught { rule: String, after: String },
    /// It was not noticed, or not as what it is, or the code without it fails as well.
    Escaped { reason: String },
}

impl Verdict {
    pub(super) fn escaped(extent: &str, others: impl IntoIterator<Item = String>) -> Self {
        let others: BTreeSet<_> = others.into_iter().collect();
        let others: Vec<_> = others.into_iter().collect();
        let reason = if others.is_empty() {
            format!("not in {extent}")
        } else {
            format!("not in {extent}, only {}", others.join("; "))
        };
        Self::Escaped { reason }
    }

    pub(super) const fn is_caught(&self) -> bool {
        matches!(self, Self::Caught { .. })
    }
}

/// A line for people.
pub(super) fn line(patch: &Patch, verdict: &Verdict) -> String {
    let (name, driver) = (&patch.name, patch.driver.to_string());
    match verdict {
        Verdict::Caught { rule, after } => {
            format!("{name:<36} {rule:<18} {after:<32} {driver}")
        }
        Verdict::Escaped { reason } => {
            let expected = patch.expected.join(" or ");
            format!("{name:<36} NOT caught as {expected}: {reason} ({driver})")
        }
    }
}

/// All of them, in Markdown.
pub(super) fn table(verdicts: &[(Patch, Verdict)]) -> String {
    let mut text =
        String::from("| deliberate bug | caught as | after | by |\n| --- | --- | --- | --- |\n");
    for (patch, verdict) in verdicts {
        let (name, driver) = (&patch.name, &patch.driver);
        text += &match verdict {
            Verdict::Caught { rule, after } => {
                format!("| `{name}` | `{rule}` | {after} | {driver} |\n")
            }
            Verdict::Escaped { reason } => {
                format!("| `{name}` | **not** | {reason} | {driver} |\n")
            }
        };
    }
    text
}

/// The first violation that the simulation prints: its seed and the rule.
pub(super) fn violation(output: &str) -> Option<(u64, String)> {
    let found = output.lines().find_map(|line| line.strip_prefix("seed "))?;
    let (seed, found) = found.split_once(": ")?;
    let rule = found.split([':', ' ']).next()?;
    Some((seed.parse().ok()?, rule.to_owned()))
}

/// The rules that the explorer prints as broken.
pub(super) fn broken(output: &str) -> Vec<String> {
    output
        .lines()
        .filter_map(|line| line.trim_start().strip_prefix("BROKEN "))
        .map(|rule| rule.split(':').next().unwrap_or(rule).trim().to_owned())
        .collect()
}

/// How a run of tests ended.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Tests {
    pub(super) passed: u64,
    pub(super) failed: u64,
}

impl Tests {
    /// From the summary that nextest prints: `Summary [0.1s] 3 tests run: 1 passed, 1 failed, 1 timed out, 8 skipped`.
    pub(super) fn of(output: &str) -> Option<Self> {
        let summary = output
            .lines()
            .filter(|line| line.trim_start().starts_with("Summary ["))
            .find_map(|line| line.split_once(" run: "))?;
        let count = |kind: &str| {
            let counts = summary.1.split(", ");
            counts
                .filter_map(|count| count.split_once(' '))
                .filter(|(_, name)| {
                    name.split(' ')
                        .collect::<Vec<_>>()
                        .join(" ")
                        .starts_with(kind)
                })
                .filter_map(|(count, _)| count.parse::<u64>().ok())
                .sum::<u64>()
        };
        Some(Self {
            passed: count("passed"),
            failed: count("failed") + count("timed out"),
        })
    }
}

impl fmt::Display for Tests {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { passed, failed } = self;
        write!(f, "{failed} of {} tests failed", passed + failed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_violation_is_a_seed_and_a_rule() {
        let output = "seed 7: order: 4 before 3\nreplay: …\n8 seeds";
        assert_eq!(violation(output), Some((7, "order".to_owned())));
        assert_eq!(violation("10000 seeds, violations 0"), None);
    }

    #[test]
    fn tests_are_counted_from_the_summary() {
        let output =
            "  Summary [   0.3s] 3 tests run: 1 passed (1 slow), 1 failed, 1 timed out, 8 skipped";
        let tests = Tests::of(output);
        assert_eq!(
            tests,
            Some(Tests {
                passed: 1,
                failed: 2
            })
        );
        assert_eq!(Tests::of("error: could not compile"), None);
    }

    #[test]
    fn broken_rules_are_found() {
        let output = "12 states\n  ok     order\n  BROKEN exclusion: in 7 steps\n";
        assert_eq!(broken(output), ["exclusion"]);
    }

    #[test]
    fn a_bug_that_is_noticed_as_something_else_has_escaped() {
        let verdict = Verdict::escaped("9 worlds", ["leak".to_owned(), "leak".to_owned()]);
        let reason = "not in 9 worlds, only leak".to_owned();
        assert_eq!(verdict, Verdict::Escaped { reason });
    }
}
