//! The two kinds of etcd that clients are run on, each empty and on a free port of the loopback interface.

use std::io::{BufRead, BufReader};
use std::net::TcpListener;
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::Duration;

use tempfile::TempDir;
use xshell::{Shell, cmd};

use crate::{Result, etcd};

/// How often a server is asked whether it answers.
const ATTEMPTS: usize = 100;

/// Between two questions.
const PAUSE: Duration = Duration::from_millis(100);

/// A server, for as long as this value lives.
pub(super) struct Server {
    process: Child,
    address: String,
    /// What a real etcd writes.
    _data: Option<TempDir>,
}

impl Server {
    /// Starts `etcd-lock serve`.
    pub(super) fn small(sh: &Shell) -> Result<Self> {
        let mut process = Command::new(sh.current_dir().join("target/debug/etcd-lock"))
            .args(["serve", "--listen", "127.0.0.1:0"])
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
            _data: None,
        })
    }

    /// Starts a real etcd, with none of the caller's settings, and waits until it answers.
    pub(super) fn real(sh: &Shell) -> Result<Self> {
        let data = tempfile::tempdir()?;
        let (address, peer) = free_addresses()?;
        let (url, peer_url) = (format!("http://{address}"), format!("http://{peer}"));
        let process = Command::new(etcd::server())
            .env_clear()
            .env("ETCD_UNSUPPORTED_ARCH", "arm64")
            .arg("--data-dir")
            .arg(data.path())
            .args([
                "--listen-client-urls",
                &url,
                "--advertise-client-urls",
                &url,
            ])
            .args(["--listen-peer-urls", &peer_url])
            .args(["--initial-advertise-peer-urls", &peer_url])
            .args(["--initial-cluster", &format!("default={peer_url}")])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()?;
        let server = Self {
            process,
            address,
            _data: Some(data),
        };
        server.wait_until_it_answers(sh)?;
        Ok(server)
    }

    /// Host and port.
    pub(super) fn address(&self) -> &str {
        &self.address
    }

    fn wait_until_it_answers(&self, sh: &Shell) -> Result {
        let address = &self.address;
        for _ in 0..ATTEMPTS {
            let asked = cmd!(sh, "etcdctl --endpoints {address} endpoint health");
            let asked = asked.env("ETCDCTL_API", "3").quiet();
            if asked.ignore_stdout().ignore_stderr().run().is_ok() {
                return Ok(());
            }
            sleep(PAUSE);
        }
        Err(format!("no etcd answers at {address}").into())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Both fail only where it has ended by itself, which the cases have noticed.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Both are held before the first is let go, so that they differ.
fn free_addresses() -> Result<(String, String)> {
    let (one, other) = (
        TcpListener::bind("127.0.0.1:0")?,
        TcpListener::bind("127.0.0.1:0")?,
    );
    Ok((
        one.local_addr()?.to_string(),
        other.local_addr()?.to_string(),
    ))
}
