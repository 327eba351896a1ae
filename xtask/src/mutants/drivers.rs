//! The drivers that notice deliberate bugs: each runs on the copy of the sources, with the bug and without it.

use std::ops::Range;
use std::path::{Path, PathBuf};

use xshell::{Shell, cmd};

use super::copy::Copy;
use super::patch::{Driver, Patch};
use super::verdict::{Tests, Verdict, broken, violation};
use crate::{Result, seeds};

/// How many worlds a deliberate bug may live, half of them the same in each run and half the commit's.
const WORLDS: u64 = 10_000;

/// A program that goes through random worlds.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
struct Worlds {
    program: &'static str,
    /// Its option for how many.
    option: &'static str,
}

const SIM: Worlds = Worlds {
    program: "sim",
    option: "--seeds",
};

const WALKS: Worlds = Worlds {
    program: "model",
    option: "--walks",
};

/// The drivers, on a copy of the sources.
pub(super) struct Drivers<'a> {
    sh: &'a Shell,
    copy: &'a Copy,
    /// The programs without a bug that were needed.
    clean: Vec<(Worlds, PathBuf)>,
}

impl<'a> Drivers<'a> {
    pub(super) fn new(sh: &'a Shell, copy: &'a Copy) -> Self {
        Self {
            sh,
            copy,
            clean: Vec::new(),
        }
    }

    /// Whether the driver of a deliberate bug notices it, as what it is.
    pub(super) fn judge(&mut self, patch: &Patch) -> Result<Verdict> {
        match &patch.driver {
            Driver::Sim => self.by_worlds(patch, SIM),
            Driver::Walks => self.by_worlds(patch, WALKS),
            Driver::Explorer => self.by_exploration(patch),
            Driver::Test { package, filter } => self.by_tests(patch, package, filter),
        }
    }

    /// Goes on after a violation of another rule, and after one that the world has without the bug as well.
    fn by_worlds(&mut self, patch: &Patch, worlds: Worlds) -> Result<Verdict> {
        let clean = self.clean(worlds)?;
        let first = |program: &Path, seeds| self.first_violation(worlds, program, seeds);
        self.copy.patched(self.sh, &patch.path, || {
            let program = self.build(worlds, "with-a-bug")?;
            let fresh = seeds::of_commit(self.sh);
            let mut others = Vec::new();
            let mut gone_by = 0;
            for range in [0..WORLDS / 2, fresh..fresh + WORLDS / 2] {
                let mut left = range.clone();
                while let Some((seed, rule)) = first(&program, left)? {
                    let is_false_alarm = first(&clean, seed..seed + 1)?.is_some();
                    if !is_false_alarm && patch.expected.contains(&rule) {
                        let worlds = gone_by + (seed - range.start) + 1;
                        let after = format!("{worlds} worlds (seed {seed})");
                        return Ok(Verdict::Caught { rule, after });
                    }
                    let note = if is_false_alarm {
                        " without it, too"
                    } else {
                        ""
                    };
                    others.push(format!("{rule}{note}"));
                    left = seed + 1..range.end;
                }
                gone_by += range.end - range.start;
            }
            Ok(Verdict::escaped(&format!("{WORLDS} worlds"), others))
        })
    }

    /// All of the tests must fail with the bug: one that doesn't has no reason to be named.
    fn by_tests(&self, patch: &Patch, package: &str, filter: &str) -> Result<Verdict> {
        let without = self.test(package, filter)?;
        if without.passed == 0 || without.failed > 0 {
            return Ok(Verdict::escaped("without the bug", [without.to_string()]));
        }
        let with = self
            .copy
            .patched(self.sh, &patch.path, || self.test(package, filter))?;
        if with.passed == 0 && with.failed == without.passed {
            let rule = patch.expected.join(", ");
            let after = with.to_string();
            return Ok(Verdict::Caught { rule, after });
        }
        Ok(Verdict::escaped("with the bug", [with.to_string()]))
    }

    fn by_exploration(&self, patch: &Patch) -> Result<Verdict> {
        let with = self.copy.patched(self.sh, &patch.path, || self.explore())?;
        match with.iter().find(|rule| patch.expected.contains(rule)) {
            Some(rule) if !self.explore()?.contains(rule) => Ok(Verdict::Caught {
                rule: rule.clone(),
                after: "1 exploration".to_owned(),
            }),
            _ => Ok(Verdict::escaped("1 exploration", with)),
        }
    }

    fn clean(&mut self, worlds: Worlds) -> Result<PathBuf> {
        let mut built = self.clean.iter();
        if let Some((_, clean)) = built.find(|(of, _)| *of == worlds) {
            return Ok(clean.clone());
        }
        let clean = self.build(worlds, "without-a-bug")?;
        self.clean.push((worlds, clean.clone()));
        Ok(clean)
    }

    fn build(&self, worlds: Worlds, what: &str) -> Result<PathBuf> {
        let program = worlds.program;
        let _inside = self.sh.push_dir(self.copy.sources());
        let target = self.copy.target();
        cmd!(
            self.sh,
            "cargo build --quiet --release --package etcd-lock-testkit --bin {program} --target-dir {target}"
        )
        // From one deliberate bug to the next little changes.
        .env("CARGO_INCREMENTAL", "1")
        .quiet()
        .run()?;
        self.copy
            .keep(self.sh, program, &format!("{program}-{what}"))
    }

    /// The seed and the rule of the first world that violates one.
    fn first_violation(
        &self,
        worlds: Worlds,
        program: &Path,
        seeds: Range<u64>,
    ) -> Result<Option<(u64, String)>> {
        let count = seeds.end.saturating_sub(seeds.start);
        if count == 0 {
            return Ok(None);
        }
        let (count, start) = (count.to_string(), seeds.start.to_string());
        let option = worlds.option;
        let ran = cmd!(self.sh, "{program} {option} {count} --start {start}")
            .quiet()
            .ignore_stderr()
            .ignore_status()
            .output()?;
        let output = String::from_utf8_lossy(&ran.stdout);
        let found = violation(&output);
        // A few worlds fail as well for what they never reach.
        let has_ended = output.contains("violations 0");
        if found.is_none() && !has_ended && !ran.status.success() {
            return Err(format!(
                "{} failed without a violation: {}",
                worlds.program, ran.status
            )
            .into());
        }
        Ok(found)
    }

    /// A copy that can't be built ends the run: that is no failed test.
    fn test(&self, package: &str, filter: &str) -> Result<Tests> {
        let _inside = self.sh.push_dir(self.copy.sources());
        let target = self.copy.target();
        let options = ["--all-features", "--no-fail-fast", "--cargo-quiet"];
        let ran = cmd!(
            self.sh,
            "cargo nextest run {options...} --package {package} --target-dir {target} --filterset {filter}"
        )
        .quiet()
        .ignore_stdout()
        .ignore_status()
        .output()?;
        let text = String::from_utf8_lossy(&ran.stderr);
        Tests::of(&text).ok_or_else(|| format!("no tests of {package} ran:\n{text}").into())
    }

    /// The rules that the explorer finds broken.
    fn explore(&self) -> Result<Vec<String>> {
        let _inside = self.sh.push_dir(self.copy.sources());
        let target = self.copy.target();
        let ran = cmd!(
            self.sh,
            "cargo run --quiet --release --package etcd-lock-testkit --bin model --target-dir {target}"
        )
        .env("CARGO_INCREMENTAL", "1")
        .quiet()
        .ignore_status()
        .output()?;
        let broken = broken(&String::from_utf8_lossy(&ran.stdout));
        if broken.is_empty() && !ran.status.success() {
            let text = String::from_utf8_lossy(&ran.stderr);
            return Err(format!("the explorer failed without a broken rule:\n{text}").into());
        }
        Ok(broken)
    }
}
