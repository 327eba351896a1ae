//! `cargo xtask bench`: how fast it is beside its peers, on an etcd of its own.

use xshell::{Shell, cmd};

use crate::{Result, clients, etcd, failover, peers};

/// Gets an etcd where there is none, and measures. The arguments are the measuring program's.
pub(crate) fn run(sh: &Shell, arguments: &[String]) -> Result {
    match arguments {
        [first, arguments @ ..] if first == "failover" => {
            etcd::provide(sh)?;
            failover::run(sh, arguments)
        }
        // What an earlier run wrote is only drawn.
        [plot, _file] if plot == "--plot" => measure(sh, arguments),
        _ => {
            let peers = provide(sh)?;
            measure(sh, &[&peers, arguments].concat())
        }
    }
}

/// Builds and gets what is measured, and returns the arguments that name the peers.
fn provide(sh: &Shell) -> Result<Vec<String>> {
    etcd::provide(sh)?;
    if !etcd::is_on_path("strace") {
        etcd::install(sh, &["strace"])?;
    }
    clients::provide_packages(sh)?;
    // Our program's own cycle is measured, too.
    cmd!(sh, "cargo build --release --quiet --package etcd-lock-cli").run()?;
    let go = peers::go(sh, "distinct", "distinct")?;
    let etcd_client = peers::rust(sh, "distinct")?;
    let peers = [("--go", go), ("--etcd-client", etcd_client)];
    let named = peers.map(|(name, program)| [name.to_owned(), program.display().to_string()]);
    Ok(named.concat())
}

fn measure(sh: &Shell, arguments: &[String]) -> Result {
    cmd!(
        sh,
        "cargo run --release --quiet --package etcd-lock-bench -- {arguments...}"
    )
    .run()?;
    Ok(())
}
