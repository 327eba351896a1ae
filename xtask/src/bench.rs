//! `cargo xtask bench`: how fast it is beside its peers, on an etcd of its own.

use xshell::{Shell, cmd};

use crate::{Result, clients, etcd, failover, peers};

/// Gets an etcd where there is none, and measures. The arguments are the measuring program's.
pub(crate) fn run(sh: &Shell, arguments: &[String]) -> Result {
    etcd::provide(sh)?;
    if let [first, arguments @ ..] = arguments
        && first == "failover"
    {
        return failover::run(sh, arguments);
    }
    // Its own cycle is measured, too, and Go's beside ours.
    cmd!(sh, "cargo build --release --quiet --package etcd-lock-cli").run()?;
    clients::provide_packages(sh)?;
    let go = peers::go(sh, "distinct", "distinct")?;
    cmd!(
        sh,
        "cargo run --release --quiet --package etcd-lock-bench -- --go {go} {arguments...}"
    )
    .run()?;
    Ok(())
}
