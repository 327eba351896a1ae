//! `cargo xtask lint`, `ci` and `nightly`: what must pass before a change is taken, and what takes longer.

use xshell::{Shell, cmd};

use crate::test::{self, Scope};
use crate::{
    Result, api, bench, book, clients, cluster, codegen, dependencies, differential, foreign_types,
    fuzz, model, mutants, packages, sim, texts, tidy,
};

/// How many worlds the gate simulates.
const WORLDS: u64 = 20_000;

/// How many random walks of the state machine the gate takes.
const WALKS: u64 = 20_000;

/// How many deliberate bugs the gate tries.
const DELIBERATE_BUGS: usize = 3;

/// How many worlds are simulated at night.
const NIGHTLY_WORLDS: u64 = 1_000_000;

/// How many random walks of the state machine are taken at night.
const NIGHTLY_WALKS: u64 = 5_000_000;

/// For how many minutes each target is fuzzed at night.
const NIGHTLY_FUZZING: u64 = 2;

/// For how many minutes the in-memory etcd is compared with each real one at night.
const NIGHTLY_MINUTES: u64 = 30;

/// The gate: what must pass before a change is taken. All of it, or the one part that is named.
pub(crate) fn run(sh: &Shell, with_tests: bool, only: Option<&str>) -> Result {
    let parts: [(&str, &dyn Fn() -> Result); 11] = [
        ("lint", &|| lint(sh)),
        ("features", &|| packages::features(sh)),
        ("packages", &|| packages::pack(sh)),
        ("foreign-types", &|| foreign_types::check(sh)),
        ("oldest-rust", &|| api::oldest_rust(sh)),
        ("semver", &|| api::semver(sh)),
        ("test", &|| test::run(sh, Scope::Gate)),
        ("model", &|| model::run(sh)),
        ("walks", &|| model::walk(sh, WALKS, None)),
        ("sim", &|| sim::run(sh, WORLDS, None)),
        ("mutants", &|| mutants::some(sh, DELIBERATE_BUGS)),
    ];
    let mut wanted = parts.into_iter().filter(|(name, _)| match only {
        Some(only) => *name == only,
        None => with_tests || *name != "test",
    });
    let first = wanted.next().ok_or("the gate has no such part")?;
    for (name, part) in std::iter::once(first).chain(wanted) {
        step(name, part)?;
    }
    Ok(())
}

/// All that takes longer than anybody waits for.
pub(crate) fn nightly(sh: &Shell) -> Result {
    step("test", || test::run(sh, Scope::All))?;
    step("newer etcds", || test::newer(sh))?;
    step("clusters", || cluster::run(sh))?;
    step("clients", || clients::run(sh))?;
    step("deliberate bugs", || mutants::run(sh, &[], None))?;
    step("walks", || model::walk(sh, NIGHTLY_WALKS, None))?;
    step("sim", || sim::run(sh, NIGHTLY_WORLDS, None))?;
    step("fuzz", || fuzz::run(sh, None, NIGHTLY_FUZZING))?;
    step("differential", || differential::all(sh, NIGHTLY_MINUTES))?;
    step("bench", || bench::run(sh, &[]))
}

/// All that can be said of the code without running it.
pub(crate) fn lint(sh: &Shell) -> Result {
    codegen::run(sh, true)?;
    cmd!(sh, "cargo fmt --all --check").run()?;
    clippy(sh)?;
    doc(sh)?;
    dependencies::check(sh)?;
    texts::check(sh)?;
    book::build(sh)?;
    tidy::run(sh)
}

/// With everything on, and the facade with everything off: what one set of features hides, the other shows.
fn clippy(sh: &Shell) -> Result {
    cmd!(
        sh,
        "cargo clippy --workspace --all-targets --all-features -- -D warnings"
    )
    .run()?;
    // Left out of "all targets", since they are no tests of every run.
    cmd!(
        sh,
        "cargo clippy --workspace --test cluster --test pictures --all-features -- -D warnings"
    )
    .run()?;
    cmd!(
        sh,
        "cargo clippy --package etcd-lock --no-default-features -- -D warnings"
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
