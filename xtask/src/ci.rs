//! `cargo xtask lint`, `ci` and `nightly`: what must pass before a change is taken, and what takes longer.

use xshell::{Shell, cmd};

use crate::test::{self, Scope};
use crate::{
    Result, bench, clients, cluster, codegen, deny, differential, features, model, mutants, sim,
    tidy,
};

/// How many worlds the gate simulates.
const WORLDS: u64 = 20_000;

/// How many deliberate bugs the gate tries.
const DELIBERATE_BUGS: usize = 4;

/// How many worlds are simulated at night.
const NIGHTLY_WORLDS: u64 = 1_000_000;

/// For how many minutes the in-memory etcd is compared with each real one at night.
const NIGHTLY_MINUTES: u64 = 30;

/// The gate: what must pass before a change is taken.
pub(crate) fn run(sh: &Shell) -> Result {
    step("lint", || lint(sh))?;
    step("test", || test::run(sh, Scope::Gate))?;
    step("model", || model::run(sh))?;
    step("sim", || sim::run(sh, WORLDS, None))?;
    step("deliberate bugs", || mutants::some(sh, DELIBERATE_BUGS))
}

/// All that takes longer than anybody waits for.
pub(crate) fn nightly(sh: &Shell) -> Result {
    step("test", || test::run(sh, Scope::All))?;
    step("newer etcds", || test::newer(sh))?;
    step("clusters", || cluster::run(sh))?;
    step("clients", || clients::run(sh))?;
    step("deliberate bugs", || mutants::run(sh, &[], None))?;
    step("sim", || sim::run(sh, NIGHTLY_WORLDS, None))?;
    step("differential", || differential::all(sh, NIGHTLY_MINUTES))?;
    step("bench", || bench::run(sh, &[]))
}

/// All that can be said of the code without running it.
pub(crate) fn lint(sh: &Shell) -> Result {
    codegen::run(sh, true)?;
    cmd!(sh, "cargo fmt --all --check").run()?;
    clippy(sh)?;
    features::check(sh)?;
    doc(sh)?;
    deny::check(sh)?;
    tidy::run(sh)
}

/// What the features of one crate hide from another is seen by `features`.
fn clippy(sh: &Shell) -> Result {
    cmd!(
        sh,
        "cargo clippy --workspace --all-targets --all-features -- -D warnings"
    )
    .run()?;
    // Left out of "all targets", since it is no test of every run.
    cmd!(
        sh,
        "cargo clippy --package etcd-lock-testkit --test cluster --all-features -- -D warnings"
    )
    .run()?;
    Ok(())
}

fn doc(sh: &Shell) -> Result {
    let _flags = sh.push_env("RUSTDOCFLAGS", "-D warnings");
    cmd!(sh, "cargo doc --workspace --all-features --no-deps").run()?;
    Ok(())
}

/// Says how long a part took: the gate must stay short.
#[expect(
    clippy::disallowed_methods,
    reason = "there is no tokio here, and no clock to pause"
)]
fn step(name: &str, run: impl FnOnce() -> Result) -> Result {
    let started = std::time::Instant::now();
    eprintln!("== {name}");
    run()?;
    eprintln!("== {name}: {} s", started.elapsed().as_secs());
    Ok(())
}
