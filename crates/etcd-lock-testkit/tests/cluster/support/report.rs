//! The findings of a scenario, for the table that `cargo xtask test --cluster` prints.

use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use super::Version;

/// Names the directory that each scenario writes a file into. Without it, the line is only printed.
const DIRECTORY: &str = "ETCD_LOCK_CLUSTER_REPORT";

/// A line of the table, for one scenario on one etcd. One that is dropped by a panic says that the scenario failed.
pub(crate) struct Report {
    fault: &'static str,
    etcd: String,
}

impl Report {
    pub(crate) fn of(fault: &'static str, version: Version) -> Self {
        let etcd = number(&version.program());
        Self { fault, etcd }
    }

    /// Records the effect on callers, and the time until they succeeded again.
    pub(crate) fn recovered(self, callers: &str, time: Duration) {
        self.write(callers, &format!("{:.2} s", time.as_secs_f64()));
    }

    fn write(&self, callers: &str, time: &str) {
        let line = [self.fault, &self.etcd, callers, time].join("\t");
        println!("{line}");
        if let Some(directory) = std::env::var_os(DIRECTORY) {
            let name = format!("{:016x}.tsv", fastrand::u64(..));
            std::fs::write(PathBuf::from(directory).join(name), line + "\n").unwrap();
        }
    }
}

impl Drop for Report {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.write("FAILED: see above", "-");
        }
    }
}

/// The version that a program says it is.
fn number(program: &PathBuf) -> String {
    let output = Command::new(program)
        .arg("--version")
        .env("ETCD_UNSUPPORTED_ARCH", "arm64")
        .output();
    let text = String::from_utf8(output.unwrap().stdout).unwrap();
    let first = text
        .lines()
        .find_map(|line| line.strip_prefix("etcd Version: "));
    first.unwrap_or("?").to_owned()
}
