//! `cargo xtask bench failover`: how long lock cycles stop when the leader dies, beside other clients.

use std::path::PathBuf;

use xshell::{Shell, cmd};

use crate::{Result, clients};

/// Where the other clients' programs are, and where they are built.
const SOURCES: &str = "crates/etcd-lock-bench/peers";
const TARGET: &str = "target/failover";

/// Builds the other clients, and measures. The arguments are the measuring program's.
pub(crate) fn run(sh: &Shell, arguments: &[String]) -> Result {
    clients::provide_packages(sh)?;
    let peers = [
        format!("etcd-client={}", rust(sh)?.display()),
        format!("Go's concurrency={}", go(sh, ".", "cycles")?.display()),
    ];
    let peers = peers.iter().flat_map(|peer| ["--peer", peer.as_str()]);
    cmd!(
        sh,
        "cargo run --release --quiet --package etcd-lock-bench --bin failover -- {peers...} {arguments...}"
    )
    .run()?;
    Ok(())
}

/// Builds the program around Rust's `etcd-client`: in a workspace of its own, since it needs protoc.
fn rust(sh: &Shell) -> Result<PathBuf> {
    let folder = copy(sh, "rust")?;
    let _inside = sh.push_dir(&folder);
    cmd!(
        sh,
        "cargo build --release --quiet --locked --target-dir target"
    )
    .quiet()
    .run()?;
    Ok(folder.join("target/release/etcd-client-cycles"))
}

/// Builds a program around Go's client, of Debian's package.
pub(crate) fn go(sh: &Shell, package: &str, program: &str) -> Result<PathBuf> {
    let folder = copy(sh, "go")?;
    let _inside = sh.push_dir(&folder);
    cmd!(sh, "go build -o bin/{program} ./{package}")
        .env("GO111MODULE", "off")
        .env("GOPATH", "/usr/share/gocode")
        .env("GOCACHE", folder.join("cache"))
        .quiet()
        .run()?;
    Ok(folder.join("bin").join(program))
}

fn copy(sh: &Shell, name: &str) -> Result<PathBuf> {
    let to = sh.current_dir().join(TARGET).join(name);
    let from = format!("{SOURCES}/{name}");
    sh.create_dir(&to)?;
    cmd!(sh, "cp --recursive --update {from}/. {to}")
        .quiet()
        .run()?;
    Ok(to)
}
