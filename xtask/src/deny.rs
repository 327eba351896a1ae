//! `cargo deny`: licences, doubled crates and foreign sources.

use xshell::{Shell, cmd};

use crate::Result;

const VERSION: &str = "0.20.2";

/// Where it is installed: below `target`, so that nothing outside of this tree changes.
const ROOT: &str = "target/tools";

/// Checks the dependency tree. Advisories are left out: their database can't be had everywhere, and a new one is no fault of
/// a change.
pub(crate) fn check(sh: &Shell) -> Result {
    let program = sh.current_dir().join(ROOT).join("bin/cargo-deny");
    if !program.is_file() {
        install(sh)?;
    }
    cmd!(sh, "{program} --all-features check bans licenses sources").run()?;
    Ok(())
}

/// Two minutes of two cores, once. A program that runs for a second need not be optimized.
fn install(sh: &Shell) -> Result {
    eprintln!("no cargo-deny in {ROOT}, so version {VERSION} is built and installed there");
    let target = tempfile::tempdir()?;
    let target = target.path();
    cmd!(
        sh,
        "cargo install cargo-deny --debug --version {VERSION} --locked --quiet --root {ROOT} --target-dir {target}"
    )
    .run()
    .map_err(|error| format!("{error}\nWithout cargo-deny the dependencies can't be checked."))?;
    Ok(())
}
