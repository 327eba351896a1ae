//! `cargo xtask differential`: whether the in-memory etcd answers as a real one does.

use std::ffi::OsStr;

use xshell::{Shell, cmd};

use crate::{Result, etcd, seeds};

/// Compares for some minutes; the first sequence that differs is printed with its seed.
pub(crate) fn run(sh: &Shell, minutes: u64, etcd: impl AsRef<OsStr>, seed: Option<u64>) -> Result {
    let (minutes, etcd) = (minutes.to_string(), etcd.as_ref());
    let seed = seed.map(|seed| format!("--seed={seed}"));
    cmd!(
        sh,
        "cargo run --quiet --release --package etcd-lock-testkit --bin differential -- --minutes {minutes} --etcd {etcd} {seed...}"
    )
    .run()?;
    Ok(())
}

/// Compares with each of the etcds that the tests use, from the commit's seed on.
pub(crate) fn all(sh: &Shell, minutes: u64) -> Result {
    etcd::provide(sh)?;
    etcd::provide_35(sh)?;
    let seed = Some(seeds::of_commit(sh));
    for etcd in [etcd::server(), etcd::server_35(sh)?] {
        run(sh, minutes, &etcd, seed)?;
    }
    Ok(())
}
