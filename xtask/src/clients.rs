//! `cargo xtask test --clients`: clients of other languages must take the in-memory etcd for an etcd.

mod client;
mod server;

use std::process::ExitStatus;

use xshell::{Shell, cmd};

use crate::etcd::Server;
use crate::{Result, etcd};

use self::client::{CLIENTS, Client};
use self::server::MemoryServer;

/// The packages beside etcd itself: Go with etcd's packages for it, and the compiler that the build of `etcd-client` runs.
const PACKAGES: [&str; 3] = ["golang-go", "golang-etcd-server-dev", "protobuf-compiler"];

/// Runs each client's cases on the in-memory etcd and on a real one, and prints how many passed. A case that fails on the real
/// one proves nothing, so it is a failure, too.
pub(crate) fn run(sh: &Shell) -> Result {
    etcd::provide(sh)?;
    provide_tools(sh)?;
    cmd!(sh, "cargo build --quiet --package etcd-lock-cli")
        .quiet()
        .run()?;
    let mut rows = Vec::new();
    let mut failed = false;
    for client in &CLIENTS {
        eprintln!("== {}", client.name);
        client
            .install(sh)
            .map_err(|reason| format!("{} can't be installed: {reason}", client.name))?;
        let memory = MemoryServer::start(sh)?;
        let memory = tally(client, "the in-memory etcd", memory.address())?;
        let real = Server::start(sh, &etcd::server(), 1)?;
        let real = tally(client, "the real etcd", &real.addresses())?;
        failed |= !(memory.is_good() && real.is_good() && memory.cases == real.cases);
        failed |= memory.version != real.version;
        rows.push(format!(
            "{:<24} {:<10} {:>10} {:>10}",
            client.name,
            memory.version,
            memory.in_words(),
            real.in_words()
        ));
    }
    println!(
        "{:<24} {:<10} {:>10} {:>10}",
        "client", "version", "in memory", "real etcd"
    );
    println!("{}", rows.join("\n"));
    if failed {
        return Err("not all clients work unchanged: the lines above that begin with FAILED say what doesn't".into());
    }
    Ok(())
}

/// Checks for the programs that run the clients, and provides the packages that they are built with.
fn provide_tools(sh: &Shell) -> Result {
    for tool in ["node", "npm", "python3", "bash"] {
        if !etcd::is_on_path(tool) {
            return Err(
                format!("the clients need {tool}, which is not on PATH: install it").into(),
            );
        }
    }
    provide_packages(sh)
}

/// Go with etcd's packages for it, and what the build of `etcd-client` runs, from Debian.
pub(crate) fn provide_packages(sh: &Shell) -> Result {
    let installed = etcd::is_on_path("go")
        && etcd::is_on_path("protoc")
        && sh.path_exists("/usr/share/gocode/src/go.etcd.io/etcd/clientv3");
    if installed {
        return Ok(());
    }
    let packages = PACKAGES.join(" ");
    eprintln!("Debian's packages {packages} are installed");
    etcd::install(sh, &PACKAGES)
        .map_err(|reason| format!("{reason}\nthe clients need Debian's packages {packages}").into())
}

/// How a client's cases went.
#[derive(Default)]
struct Tally {
    /// The version that the client says it is.
    version: String,
    passed: usize,
    cases: usize,
    /// The program itself ended well.
    ended: bool,
}

impl Tally {
    /// No case at all is no proof, and nor are those of some client.
    fn is_good(&self) -> bool {
        self.ended && self.cases > 0 && self.passed == self.cases && !self.version.is_empty()
    }

    fn in_words(&self) -> String {
        let end = if self.ended || self.passed < self.cases {
            ""
        } else {
            " crashed"
        };
        format!("{} of {}{end}", self.passed, self.cases)
    }

    fn of(output: &str, status: ExitStatus) -> Self {
        let passed = lines(output, "ok ");
        let mut versions = output
            .lines()
            .filter_map(|line| line.strip_prefix("version "));
        Self {
            version: versions.next().unwrap_or_default().to_owned(),
            passed,
            cases: passed + lines(output, "FAILED "),
            ended: status.success(),
        }
    }
}

fn tally(client: &Client, place: &str, address: &str) -> Result<Tally> {
    let ran = client.run(address)?;
    let output = String::from_utf8_lossy(&ran.stdout);
    let tally = Tally::of(&output, ran.status);
    for line in output.lines().filter(|line| line.starts_with("FAILED ")) {
        eprintln!("on {place}: {line}");
    }
    if !tally.is_good() {
        eprintln!("{}", String::from_utf8_lossy(&ran.stderr));
    }
    eprintln!("on {place}: {}", tally.in_words());
    Ok(tally)
}

fn lines(output: &str, start: &str) -> usize {
    output
        .lines()
        .filter(|line| line.starts_with(start))
        .count()
}

#[cfg(test)]
mod tests {
    use std::os::unix::process::ExitStatusExt;

    use super::*;

    fn tally(output: &str, status: i32) -> Tally {
        Tally::of(output, ExitStatus::from_raw(status))
    }

    #[test]
    fn all_cases_must_pass_and_the_program_end_well() {
        assert!(tally("version 1\nok a\nok b\n", 0).is_good());
        assert!(!tally("version 1\nok a\nFAILED b: why\n", 0).is_good());
        assert!(!tally("version 1\nok a\n", 9).is_good());
        assert!(!tally("version 1\n", 0).is_good());
        assert!(!tally("ok a\n", 0).is_good());
    }
}
