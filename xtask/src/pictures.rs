//! `cargo xtask pictures`: recordings of the program at a terminal, for the documentation.

use xshell::{Shell, cmd};

use crate::Result;

/// Records real runs on the embedded server, and writes an SVG for each.
pub(crate) fn run(sh: &Shell) -> Result {
    let directory = sh.current_dir().join("docs/pictures");
    cmd!(
        sh,
        "cargo test --quiet --package etcd-lock-cli --test pictures -- {directory}"
    )
    .run()?;
    Ok(())
}
