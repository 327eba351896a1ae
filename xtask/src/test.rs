//! `cargo xtask test`: every test there is, on a real etcd, too.

use xshell::{Shell, cmd};

use crate::{Result, etcd};

/// Gets an etcd where there is none, and runs unit, conformance, end-to-end and documentation tests.
pub(crate) fn run(sh: &Shell) -> Result {
    etcd::provide(sh)?;
    etcd::provide_35(sh)?;
    if has_nextest(sh) {
        cmd!(
            sh,
            "cargo nextest run --workspace --all-features --no-fail-fast"
        )
        .run()?;
        // nextest runs no examples of the documentation.
        cmd!(sh, "cargo test --workspace --all-features --doc").run()?;
    } else {
        cmd!(sh, "cargo test --workspace --all-features --no-fail-fast").run()?;
    }
    Ok(())
}

/// Whether cargo-nextest is installed.
pub(crate) fn has_nextest(sh: &Shell) -> bool {
    let asked = cmd!(sh, "cargo nextest --version").quiet();
    asked.ignore_stdout().ignore_stderr().run().is_ok()
}
