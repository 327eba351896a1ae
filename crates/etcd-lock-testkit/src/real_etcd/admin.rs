//! An operator's commands, by etcdctl: without the code under test.

use std::process::Command;

/// How an operator gets in.
#[derive(Clone, Debug, Default)]
pub(super) struct Admin {
    arguments: Vec<String>,
}

impl Admin {
    /// Adds a flag of etcdctl with its value.
    pub(super) fn add(&mut self, flag: &str, value: &str) {
        self.arguments.extend([flag.to_owned(), value.to_owned()]);
    }

    /// Runs etcdctl, and returns its output; on failure, its error text.
    pub(super) async fn run(&self, endpoint: &str, command: &[&str]) -> Result<String, String> {
        let mut etcdctl = Command::new("etcdctl");
        etcdctl
            .env_clear()
            .envs(std::env::var_os("PATH").map(|path| ("PATH", path)))
            .env("ETCDCTL_API", "3")
            .args(["--endpoints", endpoint])
            .args(&self.arguments)
            .args(command);
        let run = tokio::task::spawn_blocking(move || etcdctl.output());
        let output = run.await.unwrap();
        let output = output.map_err(|error| format!("can't run etcdctl: {error}"))?;
        if output.status.success() {
            Ok(String::from_utf8_lossy(&output.stdout).into_owned())
        } else {
            Err(String::from_utf8_lossy(&output.stderr).into_owned())
        }
    }
}
