//! `cargo xtask bench`: how fast it is beside its peers, on an etcd of its own.

use xshell::{Shell, cmd};

use crate::{Result, etcd, failover};

/// Gets an etcd where there is none, and measures. The arguments are the measuring program's.
pub(crate) fn run(sh: &Shell, arguments: &[String]) -> Result {
    etcd::provide(sh)?;
    if let [first, arguments @ ..] = arguments
        && first == "failover"
    {
        return failover::run(sh, arguments);
    }
    // Its own cycle is measured, too.
    cmd!(sh, "cargo build --release --quiet --package etcd-lock-cli").run()?;
    cmd!(
        sh,
        "cargo run --release --quiet --package etcd-lock-bench -- {arguments...}"
    )
    .run()?;
    Ok(())
}
