//! `cargo xtask sim`: simulated worlds, one for each seed.

use xshell::{Shell, cmd};

use crate::{Result, seeds};

/// Simulates a number of seeds from a first one on. Without one, half of them are those from 0 on and half the commit's.
/// The first that fails is printed with how to replay it.
pub(crate) fn run(sh: &Shell, seeds: u64, start: Option<u64>) -> Result {
    let Some(start) = start else {
        worlds(sh, seeds / 2, 0)?;
        return worlds(sh, seeds - seeds / 2, seeds::of_commit(sh));
    };
    worlds(sh, seeds, start)
}

/// Prints all that happens in one seed, made smaller where it fails.
pub(crate) fn replay(sh: &Shell, seed: u64) -> Result {
    simulate(sh, &[format!("--replay={seed}")])
}

fn worlds(sh: &Shell, seeds: u64, start: u64) -> Result {
    println!("{seeds} worlds; the same again: cargo xtask sim --seeds {seeds} --start {start}");
    simulate(
        sh,
        &[format!("--seeds={seeds}"), format!("--start={start}")],
    )
}

fn simulate(sh: &Shell, arguments: &[String]) -> Result {
    cmd!(
        sh,
        "cargo run --quiet --release --package etcd-lock-testkit --bin sim -- {arguments...}"
    )
    .quiet()
    .run()?;
    Ok(())
}
