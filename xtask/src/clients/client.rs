//! The clients: how each is installed, below `target/clients` alone, and how its cases are run.

use std::path::PathBuf;
use std::process::{Command, Output};

use xshell::{Shell, cmd};

use crate::Result;

/// Where their programs are.
const SOURCES: &str = "crates/etcd-lock-testkit/clients";

/// Where they are copied to, installed and built.
const TARGET: &str = "target/clients";

/// A client, as somebody else has written it.
pub(super) struct Client {
    pub(super) name: &'static str,
    folder: &'static str,
    kind: Kind,
}

enum Kind {
    Shell,
    Go,
    Node,
    Python,
    Rust,
}

pub(super) const CLIENTS: [Client; 6] = [
    Client {
        name: "etcdctl",
        folder: "etcdctl",
        kind: Kind::Shell,
    },
    Client {
        name: "Go's clientv3",
        folder: "go",
        kind: Kind::Go,
    },
    Client {
        name: "node's etcd3",
        folder: "node",
        kind: Kind::Node,
    },
    Client {
        name: "Python's etcd3",
        folder: "python",
        kind: Kind::Python,
    },
    Client {
        name: "Python's aetcd",
        folder: "aetcd",
        kind: Kind::Python,
    },
    Client {
        name: "Rust's etcd-client",
        folder: "rust",
        kind: Kind::Rust,
    },
];

impl Client {
    /// Copies its cases, installs what they need, and builds them.
    pub(super) fn install(&self, sh: &Shell) -> Result {
        let (from, to) = (format!("{SOURCES}/{}", self.folder), self.target());
        sh.create_dir(&to)?;
        cmd!(sh, "cp --recursive --update {from}/. {to}")
            .quiet()
            .run()?;
        let _inside = sh.push_dir(&to);
        let installing = match self.kind {
            Kind::Shell => return Ok(()),
            Kind::Go => cmd!(sh, "go build -o cases .")
                .env("GO111MODULE", "off")
                .env("GOPATH", "/usr/share/gocode")
                .env("GOCACHE", sh.current_dir().join("cache")),
            Kind::Node => cmd!(sh, "npm ci --silent --no-audit --no-fund"),
            Kind::Python => {
                cmd!(sh, "python3 -m venv venv").quiet().run()?;
                cmd!(
                    sh,
                    "venv/bin/pip install --quiet --disable-pip-version-check --requirement requirements.txt"
                )
            }
            Kind::Rust => cmd!(sh, "cargo build --quiet --locked --target-dir target"),
        };
        installing.quiet().run()?;
        Ok(())
    }

    /// Runs its cases on the etcd at an address.
    pub(super) fn run(&self, address: &str) -> Result<Output> {
        let (program, cases) = match self.kind {
            Kind::Shell => ("bash", Some("main.sh")),
            Kind::Go => ("./cases", None),
            Kind::Node => ("node", Some("main.js")),
            Kind::Python => ("venv/bin/python", Some("main.py")),
            Kind::Rust => ("target/debug/etcd-client-cases", None),
        };
        let ran = Command::new("env")
            .arg(program)
            .args(cases)
            .arg(address)
            .current_dir(self.target())
            .output()?;
        Ok(ran)
    }

    fn target(&self) -> PathBuf {
        [TARGET, self.folder].iter().collect()
    }
}
