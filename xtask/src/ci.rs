//! `cargo xtask lint` and `cargo xtask ci`: what must pass before a change is taken.

use xshell::{Shell, cmd};

use crate::{Result, codegen, test, tidy};

/// Everything: [`lint`], then all tests.
pub(crate) fn run(sh: &Shell) -> Result {
    lint(sh)?;
    test::run(sh)
}

/// All that can be said of the code without running it.
pub(crate) fn lint(sh: &Shell) -> Result {
    codegen::run(sh, true)?;
    cmd!(sh, "cargo fmt --all --check").run()?;
    clippy(sh)?;
    doc(sh)?;
    deny(sh)?;
    tidy::run(sh)
}

/// With everything on, and the facade with everything off: what one set of features hides, the other shows.
fn clippy(sh: &Shell) -> Result {
    cmd!(
        sh,
        "cargo clippy --workspace --all-targets --all-features -- -D warnings"
    )
    .run()?;
    // Left out of "all targets", since it is no test of every run.
    cmd!(
        sh,
        "cargo clippy --package etcd-lock-testkit --test cluster --all-features -- -D warnings"
    )
    .run()?;
    cmd!(
        sh,
        "cargo clippy --package etcd-lock --no-default-features -- -D warnings"
    )
    .run()?;
    Ok(())
}

fn doc(sh: &Shell) -> Result {
    let _flags = sh.push_env("RUSTDOCFLAGS", "-D warnings");
    cmd!(sh, "cargo doc --workspace --all-features --no-deps").run()?;
    Ok(())
}

/// Advisories are left out: their database can't be had everywhere, and a new one is no fault of a change.
fn deny(sh: &Shell) -> Result {
    let asked = cmd!(sh, "cargo deny --version").quiet();
    if asked.ignore_stdout().ignore_stderr().run().is_err() {
        eprintln!(
            "cargo-deny is not installed: licences, doubled and foreign crates are NOT checked \
             (`cargo install cargo-deny --locked` gets it)"
        );
        return Ok(());
    }
    cmd!(sh, "cargo deny check bans licenses sources").run()?;
    Ok(())
}
