//! `cargo xtask pictures`: the pictures of the documentation, each of a real run.

use xshell::{Shell, cmd};

use crate::Result;

/// Draws all of them.
pub(crate) fn run(sh: &Shell) -> Result {
    timelines(sh)?;
    recordings(sh)
}

/// Timelines of runs on a paused clock. The tests draw them, and compare them with the files where they don't write them.
fn timelines(sh: &Shell) -> Result {
    let _update = sh.push_env("UPDATE_EXPECT", "1");
    cmd!(
        sh,
        "cargo test --quiet --package etcd-lock-testkit --test timelines"
    )
    .run()?;
    Ok(())
}

/// Recordings of the program at a terminal, which are a little different each time.
fn recordings(sh: &Shell) -> Result {
    let directory = sh.current_dir().join("docs/pictures");
    cmd!(
        sh,
        "cargo test --quiet --package etcd-lock-cli --test pictures -- {directory}"
    )
    .run()?;
    Ok(())
}
