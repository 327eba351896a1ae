//! What users of the published crates compile against: the oldest Rust, and what changed since the last release.

use xshell::{Shell, cmd};

use crate::Result;
use crate::tools::Tool;

const SEMVER_CHECKS: Tool = Tool::from_cargo("cargo-semver-checks", "0.51.0");

/// Builds everything with the oldest Rust that the manifests promise. Where that is the one of this run, it has built all.
pub(crate) fn oldest_rust(sh: &Shell) -> Result {
    let root = sh.read_file("Cargo.toml")?;
    let stated = crate::tidy::package_value(&root, "rust-version").to_owned();
    let here = cmd!(sh, "rustc --version").quiet().read()?;
    if here.starts_with(&format!("rustc {stated}.")) {
        eprintln!("{here} is the oldest that is supported, and built everything here");
        return Ok(());
    }
    let program = ["run", "--install", stated.as_str(), "cargo"];
    cmd!(
        sh,
        "rustup {program...} check --workspace --all-targets --all-features"
    )
    .run()?;
    Ok(())
}

/// Compares the interface of each published crate with that of the last release, once there is one.
pub(crate) fn semver(sh: &Shell) -> Result {
    let last = cmd!(sh, "git describe --tags --abbrev=0 --match v*");
    let Ok(last) = last.quiet().ignore_stderr().read() else {
        eprintln!("nothing was released yet, so there is no interface to compare with");
        return Ok(());
    };
    let program = SEMVER_CHECKS.provide(sh)?;
    cmd!(
        sh,
        "{program} semver-checks --workspace --all-features --baseline-rev {last}"
    )
    .run()?;
    Ok(())
}
