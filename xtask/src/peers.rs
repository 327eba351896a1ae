//! Programs around other clients, which the benchmarks measure beside ours.

use std::path::PathBuf;

use xshell::{Shell, cmd};

use crate::Result;

/// Where their sources are, and where they are built.
const SOURCES: &str = "crates/etcd-lock-bench/peers";
const TARGET: &str = "target/peers";

/// Builds the programs around Rust's `etcd-client`, and returns one of them: in a workspace of their own, since they need
/// protoc.
pub(crate) fn rust(sh: &Shell, program: &str) -> Result<PathBuf> {
    let folder = copy(sh, "rust")?;
    let _inside = sh.push_dir(&folder);
    cmd!(
        sh,
        "cargo build --release --quiet --locked --target-dir target"
    )
    .quiet()
    .run()?;
    Ok(folder.join("target/release").join(program))
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
