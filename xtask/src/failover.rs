//! `cargo xtask bench failover`: how long lock cycles stop when the leader dies, beside other clients.

use xshell::{Shell, cmd};

use crate::{Result, clients, peers};

/// Builds the other clients, and measures. The arguments are the measuring program's.
pub(crate) fn run(sh: &Shell, arguments: &[String]) -> Result {
    clients::provide_packages(sh)?;
    let programs = [
        format!(
            "etcd-client={}",
            peers::rust(sh, "etcd-client-cycles")?.display()
        ),
        format!(
            "Go's concurrency={}",
            peers::go(sh, ".", "cycles")?.display()
        ),
    ];
    let peers = programs.iter().flat_map(|peer| ["--peer", peer.as_str()]);
    cmd!(
        sh,
        "cargo run --release --quiet --package etcd-lock-bench --bin failover -- {peers...} {arguments...}"
    )
    .run()?;
    Ok(())
}
