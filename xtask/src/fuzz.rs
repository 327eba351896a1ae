//! `cargo xtask fuzz`: inputs that reach new code in what reads bytes from outside.

use std::fs;
use std::path::Path;

use xshell::{Shell, cmd};

use crate::tools::Tool;
use crate::{Result, seeds};

const CARGO_FUZZ: Tool = Tool::from_cargo("cargo-fuzz", "0.13.2");

/// The program that has a target run by libFuzzer.
const PROGRAM: &str = "crates/etcd-lock-fuzz/libfuzzer";

/// A folder for each target, with inputs.
const CORPORA: &str = "crates/etcd-lock-fuzz/corpora";

/// What is built and found. Inputs that reach new code are kept there for the next run.
const FUZZ: &str = "target/fuzz";

/// Tells the program which target to run.
const VARIABLE: &str = "ETCD_LOCK_FUZZ_TARGET";

/// An input for which a target takes so many seconds is as bad as one that fails.
const HANGS: u32 = 10;

/// Runs one target, or all of them, each for so many minutes. The first input that fails ends it.
pub(crate) fn run(sh: &Shell, target: Option<&str>, minutes: u64) -> Result {
    let targets = chosen(&targets(sh)?, target)?;
    let tool = CARGO_FUZZ.provide(sh)?;
    for target in targets {
        eprintln!("{target}: {minutes} minutes");
        one(sh, &tool, &target, minutes)?;
    }
    Ok(())
}

/// The names of all targets: each has a corpus, as a test makes sure.
fn targets(sh: &Shell) -> Result<Vec<String>> {
    let corpora = sh.read_dir(CORPORA)?;
    let names = corpora.iter().filter_map(|corpus| corpus.file_name());
    Ok(names.map(|name| name.to_string_lossy().into()).collect())
}

fn chosen(all: &[String], target: Option<&str>) -> Result<Vec<String>> {
    match target {
        None => Ok(all.to_vec()),
        Some(target) if all.iter().any(|known| known == target) => Ok(vec![target.to_owned()]),
        Some(target) => {
            Err(format!("there is no target {target:?}, but: {}", all.join(", ")).into())
        }
    }
}

fn one(sh: &Shell, tool: &Path, target: &str, minutes: u64) -> Result {
    let found = sh.create_dir(Path::new(FUZZ).join("found").join(target))?;
    let failed = sh.create_dir(Path::new(FUZZ).join("failed"))?.join(target);
    let flags = [
        format!("-artifact_prefix={}-", failed.display()),
        format!("-max_total_time={}", minutes * 60),
        format!("-seed={}", seed(sh)),
        format!("-timeout={HANGS}"),
        "-print_final_stats=1".to_owned(),
        "-verbosity=0".to_owned(),
    ];
    let _target = sh.push_env(VARIABLE, target);
    // Rust without `unsafe` needs no sanitizer, and stable Rust has none.
    cmd!(
        sh,
        "{tool} run --fuzz-dir {PROGRAM} --target-dir {FUZZ} --sanitizer none target {found} {CORPORA}/{target} -- {flags...}"
    )
    .run()
    .map_err(|error| {
        format!(
            "{error}\nThe input is in {FUZZ}/failed. Copied into {CORPORA}/{target}, the tests try it from then on."
        )
    })?;
    let inputs = fs::read_dir(&found)?.count();
    eprintln!("{target}: {inputs} inputs reach code that those of its corpus don't");
    Ok(())
}

/// The commit's. libFuzzer takes numbers of 32 bits, and for 0 one by chance.
fn seed(sh: &Shell) -> u64 {
    (seeds::of_commit(sh) % u64::from(u32::MAX)).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_target_is_chosen_by_its_name_and_all_without_one() {
        let all = ["lock_key".to_owned(), "lock_name".to_owned()];
        assert_eq!(chosen(&all, None).unwrap(), all);
        assert_eq!(chosen(&all, Some("lock_key")).unwrap(), ["lock_key"]);
        let error = chosen(&all, Some("lock")).unwrap_err().to_string();
        assert!(error.ends_with("but: lock_key, lock_name"), "{error}");
    }
}
