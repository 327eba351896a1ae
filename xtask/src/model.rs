//! `cargo xtask model`: the lock protocol, checked exhaustively.

use xshell::{Shell, cmd};

use crate::Result;

/// Prints how many states there are, what holds in them, and what deliberate bugs break.
pub(crate) fn run(sh: &Shell) -> Result {
    cmd!(
        sh,
        "cargo run --quiet --release --package etcd-lock-testkit --bin model"
    )
    .quiet()
    .run()?;
    Ok(())
}
