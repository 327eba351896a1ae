//! A deliberate bug: a patch of the sources, with a header that says what must notice it.
//!
//! ```text
//! # expect: exclusion, order
//! # driver: sim
//! --- a/crates/…
//! ```
//!
//! A third line, `# escapes: REASON`, is for one that its driver is known not to notice yet.

use std::fs;
use std::path::{Path, PathBuf};

use crate::Result;

/// Where they are. The name of each file says what its patch changes for the worse.
const FOLDER: &str = "crates/etcd-lock-testkit/mutants";

/// A deliberate bug.
#[derive(Debug)]
pub(super) struct Patch {
    pub(super) name: String,
    pub(super) path: PathBuf,
    /// The rules of which one must be violated.
    pub(super) expected: Vec<String>,
    pub(super) driver: Driver,
    /// It is known not to be caught yet: a gap that is to be closed.
    pub(super) escapes: bool,
}

/// The kind of test that must notice a deliberate bug.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) enum Driver {
    /// Random worlds of the whole.
    Sim,
    /// Random walks of the state machine.
    Walks,
    /// Tests of a package, as a filter for nextest.
    Test { package: String, filter: String },
    /// The exhaustive exploration of the protocol.
    Explorer,
}

/// The deliberate bugs of these names, or all, in the order of their names.
pub(super) fn read(root: &Path, names: &[String]) -> Result<Vec<Patch>> {
    let mut patches = Vec::new();
    for file in fs::read_dir(root.join(FOLDER))? {
        let path = file?.path();
        let name = path.file_stem().unwrap_or_default().to_string_lossy();
        if path.extension().is_some_and(|end| end == "patch")
            && (names.is_empty() || names.iter().any(|wanted| *wanted == name))
        {
            let header = fs::read_to_string(&path)?;
            let (expected, driver) =
                parse(&header).map_err(|reason| format!("{}: {reason}", path.display()))?;
            patches.push(Patch {
                name: name.into_owned(),
                path: path.clone(),
                expected,
                driver,
                escapes: field(&header, "# escapes:").is_some(),
            });
        }
    }
    patches.sort_by(|one, other| one.name.cmp(&other.name));
    let missing = |name: &&String| !patches.iter().any(|patch| patch.name == **name);
    match names.iter().find(missing) {
        Some(name) => Err(format!("there is no {name}.patch in {FOLDER}").into()),
        None => Ok(patches),
    }
}

fn parse(text: &str) -> Result<(Vec<String>, Driver)> {
    let expected =
        field(text, "# expect:").ok_or("the line `# expect: RULE[, RULE]` is missing")?;
    let expected = expected.split(',').map(|rule| rule.trim().to_owned());
    let driver = field(text, "# driver:").ok_or("the line `# driver: …` is missing")?;
    Ok((expected.collect(), driver.trim().parse()?))
}

/// The rest of the header line that begins with `name`.
fn field<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    let mut header = text.lines().take_while(|line| !line.starts_with("--- "));
    header.find_map(|line| line.strip_prefix(name))
}

impl std::str::FromStr for Driver {
    type Err = String;

    fn from_str(text: &str) -> std::result::Result<Self, String> {
        let mut words = text.splitn(3, ' ');
        match (words.next(), words.next(), words.next()) {
            (Some("sim"), None, None) => Ok(Self::Sim),
            (Some("walks"), None, None) => Ok(Self::Walks),
            (Some("explorer"), None, None) => Ok(Self::Explorer),
            (Some("test"), Some(package), Some(filter)) => Ok(Self::Test {
                package: package.to_owned(),
                filter: filter.trim().to_owned(),
            }),
            _ => Err(format!(
                "`# driver: {text}` is none of: sim, walks, explorer, test PACKAGE FILTER"
            )),
        }
    }
}

impl std::fmt::Display for Driver {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Sim => f.write_str("sim"),
            Self::Walks => f.write_str("walks"),
            Self::Explorer => f.write_str("explorer"),
            Self::Test { package, .. } => write!(f, "test of {package}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_names_rules_and_a_driver() {
        let (expected, driver) =
            parse("# expect: order, exclusion\n# driver: sim\n--- a/x\n+++ b/x\n").unwrap();
        assert_eq!(expected, ["order", "exclusion"]);
        assert_eq!(driver, Driver::Sim);
    }

    #[test]
    fn a_driver_of_tests_names_a_package_and_a_filter() {
        let driver = "test etcd-lock-session test(a_b) or test(c)".parse();
        let expected = Driver::Test {
            package: "etcd-lock-session".into(),
            filter: "test(a_b) or test(c)".into(),
        };
        assert_eq!(driver, Ok(expected));
    }

    #[test]
    fn a_header_that_is_incomplete_or_comes_late_is_refused() {
        for text in [
            "--- a/x\n",
            "# expect: order\n--- a/x\n",
            "# driver: sim\n--- a/x\n# expect: order\n",
            "# expect: order\n# driver: chance\n--- a/x\n",
        ] {
            assert!(parse(text).is_err(), "{text}");
        }
    }
}
