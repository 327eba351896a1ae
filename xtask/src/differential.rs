//! `cargo xtask differential`: whether the small etcd answers as a real one does.

use std::path::Path;

use xshell::{Shell, cmd};

use crate::Result;

/// Compares for some minutes; the first sequence that differs is printed with its seed.
pub(crate) fn run(sh: &Shell, minutes: u64, etcd: &Path, seed: Option<u64>) -> Result {
    let minutes = minutes.to_string();
    let seed = seed.map(|seed| format!("--seed={seed}"));
    cmd!(
        sh,
        "cargo run --quiet --release --package etcd-lock-testkit --bin differential -- --minutes {minutes} --etcd {etcd} {seed...}"
    )
    .run()?;
    Ok(())
}
