//! `cargo xtask sim --mutants`: whether deliberate bugs are noticed, each as what it is and by the driver that must.

mod copy;
mod drivers;
mod patch;
mod verdict;

use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::Path;

use xshell::Shell;

use self::copy::Copy;
use self::drivers::Drivers;
use self::patch::Patch;
use crate::{Result, seeds};

/// Tries the deliberate bugs that are named, or all; writes a table in Markdown where a file is given.
pub(crate) fn run(sh: &Shell, names: &[String], table: Option<&Path>) -> Result {
    let patches = patch::read(&sh.current_dir(), names)?;
    let copy = Copy::of(sh, &sh.current_dir())?;
    judge(sh, &copy, patches, table)
}

/// Tries so many deliberate bugs, chosen by the commit from those that are known to be caught: the others fail [`run`].
pub(crate) fn some(sh: &Shell, count: usize) -> Result {
    let mut patches = patch::read(&sh.current_dir(), &[])?;
    for patch in patches.extract_if(.., |patch| patch.escapes) {
        println!("known not to be caught yet: {}", patch.name);
    }
    // All must fit, also those that this commit doesn't draw.
    let copy = Copy::of(sh, &sh.current_dir())?;
    for patch in &patches {
        copy.check(sh, &patch.path)?;
    }
    let seed = seeds::of_commit(sh);
    patches.sort_by_key(|patch| {
        let mut hasher = DefaultHasher::new();
        (seed, &patch.name).hash(&mut hasher);
        hasher.finish()
    });
    patches.truncate(count);
    judge(sh, &copy, patches, None)
}

fn judge(sh: &Shell, copy: &Copy, patches: Vec<Patch>, table: Option<&Path>) -> Result {
    let mut drivers = Drivers::new(sh, copy);
    let mut verdicts = Vec::new();
    println!(
        "{:<36} {:<18} {:<32} by",
        "deliberate bug", "caught as", "after"
    );
    for patch in patches {
        let verdict = drivers.judge(&patch)?;
        println!("{}", verdict::line(&patch, &verdict));
        verdicts.push((patch, verdict));
    }
    if let Some(file) = table {
        sh.write_file(file, verdict::table(&verdicts))?;
    }
    let caught = verdicts.iter().filter(|(_, verdict)| verdict.is_caught());
    match verdicts.len() - caught.count() {
        0 => Ok(()),
        escaped => Err(format!("{escaped} deliberate bugs were not caught").into()),
    }
}
