//! `cargo xtask model`: the lock protocol, checked exhaustively and by random walks.

use xshell::{Shell, cmd};

use crate::{Result, seeds};

/// Prints how many states there are, what holds in them, and what deliberate bugs break.
pub(crate) fn run(sh: &Shell) -> Result {
    model(sh, &[])
}

/// Walks through a number of worlds from a first seed on. Without one, half of them are those from 0 on and half the
/// commit's. The first that fails is printed with how to replay it.
pub(crate) fn walk(sh: &Shell, walks: u64, start: Option<u64>) -> Result {
    let Some(start) = start else {
        walks_from(sh, walks / 2, 0)?;
        return walks_from(sh, walks - walks / 2, seeds::of_commit(sh));
    };
    walks_from(sh, walks, start)
}

/// Prints all that happens in the walk of one seed, made shorter where it fails.
pub(crate) fn replay(sh: &Shell, seed: u64) -> Result {
    model(sh, &[format!("--replay={seed}")])
}

fn walks_from(sh: &Shell, walks: u64, start: u64) -> Result {
    println!("{walks} walks; the same again: cargo xtask model --walks {walks} --start {start}");
    model(
        sh,
        &[format!("--walks={walks}"), format!("--start={start}")],
    )
}

fn model(sh: &Shell, arguments: &[String]) -> Result {
    cmd!(
        sh,
        "cargo run --quiet --release --package etcd-lock-testkit --bin model -- {arguments...}"
    )
    .quiet()
    .run()?;
    Ok(())
}
