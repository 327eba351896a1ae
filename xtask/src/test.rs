//! `cargo xtask test`: every test there is, on real etcds, too.

use std::fs;

use xshell::{Shell, cmd};

use crate::etcd::{self, Server};
use crate::{Result, seeds};

/// Tells tests of an etcd that they may share: of one member, and of three.
const SHARED_VARIABLE: &str = "ETCD_LOCK_SHARED_ETCD";
const SHARED_CLUSTER_VARIABLE: &str = "ETCD_LOCK_SHARED_CLUSTER";

/// Names a file that gets a line for each etcd process that a test starts.
const STARTS_VARIABLE: &str = "ETCD_LOCK_STARTS";

/// Which tests are run.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Scope {
    /// All but those of whole clusters and of processes that are killed: `.config/nextest.toml` says which.
    Gate,
    /// All.
    All,
}

/// Gets an etcd where there is none, runs the tests, and says how many etcd processes that took.
pub(crate) fn run(sh: &Shell, scope: Scope) -> Result {
    etcd::provide(sh)?;
    etcd::provide_35(sh)?;
    seeds::provide(sh);
    let starts = tempfile::NamedTempFile::new()?;
    sh.set_var(STARTS_VARIABLE, starts.path());
    let shared = Server::start(sh, &etcd::server(), 1)?;
    sh.set_var(SHARED_VARIABLE, shared.addresses());
    let cluster = Server::start(sh, &etcd::server(), 3)?;
    sh.set_var(SHARED_CLUSTER_VARIABLE, cluster.addresses());

    let result = tests(sh, scope);

    let started = fs::read_to_string(starts.path())?.lines().count();
    eprintln!(
        "{} etcd processes were started, 4 of them shared by many tests",
        started + 4
    );
    result
}

/// Takes and releases locks on each newer etcd that Debian has: the suite of conformance, on processes of its own.
pub(crate) fn newer(sh: &Shell) -> Result {
    for etcd in etcd::newer(sh)? {
        let _etcd = sh.push_env(etcd::SERVER_VARIABLE, &etcd);
        eprintln!("conformance on {}", etcd.display());
        cmd!(
            sh,
            "cargo test --quiet --package etcd-lock-testkit --test conformance --all-features -- on_etcd"
        )
        .run()?;
    }
    Ok(())
}

fn tests(sh: &Shell, scope: Scope) -> Result {
    if !has_nextest(sh) {
        cmd!(sh, "cargo test --workspace --all-features --no-fail-fast").run()?;
        return Ok(());
    }
    let profile = match scope {
        Scope::Gate => "gate",
        Scope::All => "default",
    };
    cmd!(
        sh,
        "cargo nextest run --workspace --all-features --no-fail-fast --profile {profile}"
    )
    .run()?;
    // nextest runs no examples of the documentation.
    cmd!(sh, "cargo test --workspace --all-features --doc").run()?;
    Ok(())
}

/// Whether cargo-nextest is installed.
pub(crate) fn has_nextest(sh: &Shell) -> bool {
    let asked = cmd!(sh, "cargo nextest --version").quiet();
    asked.ignore_stdout().ignore_stderr().run().is_ok()
}
