//! The in-memory etcd as a server: `etcd-lock serve`.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};

use xshell::Shell;

use crate::Result;

/// A server, for as long as this value lives.
pub(super) struct MemoryServer {
    process: Child,
    address: String,
}

impl MemoryServer {
    /// Starts it on a free port. Cargo knows where the program was built, and becomes it.
    pub(super) fn start(sh: &Shell) -> Result<Self> {
        let mut process = Command::new("cargo")
            .args(["run", "--quiet", "--package", "etcd-lock-cli", "--"])
            .args(["serve", "--listen", "127.0.0.1:0"])
            .current_dir(sh.current_dir())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()?;
        let stdout = process.stdout.take().ok_or("no standard output")?;
        let mut line = String::new();
        BufReader::new(stdout).read_line(&mut line)?;
        let address = line.trim_end().strip_prefix("listening on http://");
        let address = address.ok_or("etcd-lock serve said nothing of where it listens")?;
        Ok(Self {
            process,
            address: address.to_owned(),
        })
    }

    /// Host and port.
    pub(super) fn address(&self) -> &str {
        &self.address
    }
}

impl Drop for MemoryServer {
    fn drop(&mut self) {
        // Both fail only where it has ended by itself, which the cases have noticed.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
