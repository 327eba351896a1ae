//! `cargo xtask sim`: simulated worlds, and whether they notice deliberate bugs.

use std::fs;
use std::path::{Path, PathBuf};

use xshell::{Shell, cmd};

use crate::Result;

/// Each file changes one thing for the worse; its name says what.
const MUTANTS: &str = "crates/etcd-lock-testkit/mutants";

/// How many seeds a deliberate bug may live.
const SEEDS: &str = "10000";

/// Simulates a number of seeds; the first that fails is printed with how to replay it.
pub(crate) fn run(sh: &Shell, seeds: u64, start: u64) -> Result {
    let (seeds, start) = (seeds.to_string(), start.to_string());
    build(sh)?;
    cmd!(sh, "target/release/sim --seeds {seeds} --start {start}")
        .quiet()
        .run()?;
    Ok(())
}

/// Prints all that happens in one seed, made smaller where it fails.
pub(crate) fn replay(sh: &Shell, seed: u64) -> Result {
    let seed = seed.to_string();
    build(sh)?;
    cmd!(sh, "target/release/sim --replay {seed}")
        .quiet()
        .run()?;
    Ok(())
}

/// Builds the simulation with one deliberate bug after the other, from a copy of the sources, and has it find each: those
/// that are named, or all.
pub(crate) fn mutants(sh: &Shell, names: &[String]) -> Result {
    let mut patches = if names.is_empty() {
        sh.read_dir(MUTANTS)?
    } else {
        let path = |name| sh.current_dir().join(MUTANTS).join(format!("{name}.patch"));
        names.iter().map(path).collect()
    };
    patches.sort();
    let root = sh.current_dir();
    let copy = root.join("target/mutants/source");
    let mut escaped = 0;
    println!("{:<32} caught by seed, as", "deliberate bug");
    for patch in patches {
        let name = patch
            .file_stem()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned();
        copy_sources(sh, &root, &copy)?;
        let _inside = sh.push_dir(&copy);
        // Without this git would take the copy for a part of this project's own work tree, and pass over it in silence.
        let _outside = sh.push_env("GIT_CEILING_DIRECTORIES", root.join("target/mutants"));
        cmd!(sh, "git apply -C1 --recount {patch}").quiet().run()?;
        let verdict = verdict(sh, &root)?;
        escaped += u32::from(verdict.is_none());
        let seed = verdict.unwrap_or_else(|| format!("NOT within {SEEDS} seeds"));
        println!("{name:<32} {seed}");
    }
    if escaped == 0 {
        Ok(())
    } else {
        Err(format!("{escaped} deliberate bugs were not noticed").into())
    }
}

fn build(sh: &Shell) -> Result {
    cmd!(
        sh,
        "cargo build --quiet --release --package etcd-lock-testkit --bin sim"
    )
    .quiet()
    .run()?;
    Ok(())
}

/// What the simulation of the copy says: the seed and the sort of violation, or nothing where it found none.
fn verdict(sh: &Shell, root: &Path) -> Result<Option<String>> {
    let target = root.join("target/mutants/target");
    cmd!(
        sh,
        "cargo build --quiet --release --package etcd-lock-testkit --bin sim --target-dir {target}"
    )
    // From one deliberate bug to the next little changes.
    .env("CARGO_INCREMENTAL", "1")
    .quiet()
    .run()?;
    let sim = target.join("release/sim");
    let output = cmd!(sh, "{sim} --seeds {SEEDS}")
        .quiet()
        .ignore_status()
        .output()?;
    let text = String::from_utf8(output.stdout)?;
    let found = text.lines().find_map(|line| line.strip_prefix("seed "));
    Ok(found.map(|found| {
        let mut words = found.split([':', ' ']).filter(|word| !word.is_empty());
        let (seed, sort) = (words.next(), words.next());
        format!(
            "{:>6} {}",
            seed.unwrap_or_default(),
            sort.unwrap_or_default()
        )
    }))
}

/// The files under version control as they are now, and nothing else; files that did not change keep their times, so that
/// little has to be built.
fn copy_sources(sh: &Shell, root: &Path, copy: &Path) -> Result {
    let files = cmd!(sh, "git ls-files").quiet().read()?;
    for file in files.lines() {
        let (from, to): (PathBuf, PathBuf) = (root.join(file), copy.join(file));
        let Ok(now) = fs::read(&from) else { continue };
        if fs::read(&to).is_ok_and(|before| before == now) {
            continue;
        }
        if let Some(folder) = to.parent() {
            fs::create_dir_all(folder)?;
        }
        fs::write(&to, now)?;
    }
    Ok(())
}
