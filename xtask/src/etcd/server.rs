//! etcd processes, empty and on free ports of the loopback interface.

use std::ffi::OsStr;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::Duration;
use std::{fs, io};

use tempfile::TempDir;
use xshell::{Shell, cmd};

use super::is_on_path;
use crate::Result;

/// How often a server is asked whether it answers.
const ATTEMPTS: usize = 100;

/// Between two questions.
const PAUSE: Duration = Duration::from_millis(100);

/// An etcd of one member or more, for as long as this value lives.
pub(crate) struct Server {
    members: Vec<Child>,
    addresses: Vec<String>,
    _data: TempDir,
}

impl Server {
    /// Starts it with none of the caller's settings, and waits until all members answer.
    pub(crate) fn start(sh: &Shell, program: &OsStr, members: usize) -> Result<Self> {
        let data = directory()?;
        let addresses = free_addresses(2 * members)?;
        let (clients, peers) = addresses.split_at(members);
        let names: Vec<_> = (0..members).map(|index| format!("m{index}")).collect();
        let cluster = names.iter().zip(peers);
        let cluster: Vec<_> = cluster
            .map(|(name, peer)| format!("{name}=http://{peer}"))
            .collect();
        let mut server = Self {
            members: Vec::new(),
            addresses: clients.to_vec(),
            _data: data,
        };
        for ((name, client), peer) in names.iter().zip(clients).zip(peers) {
            let folder = server._data.path().join(name);
            let urls = (format!("http://{client}"), format!("http://{peer}"));
            let member = member(program, name, &folder, &urls, &cluster.join(","))?;
            server.members.push(member);
        }
        server.wait_until_it_answers(sh)?;
        Ok(server)
    }

    /// Hosts and ports, with commas between them.
    pub(crate) fn addresses(&self) -> String {
        self.addresses.join(",")
    }

    fn wait_until_it_answers(&self, sh: &Shell) -> Result {
        let addresses = self.addresses();
        for _ in 0..ATTEMPTS {
            let asked = cmd!(sh, "etcdctl --endpoints {addresses} endpoint health");
            let asked = asked.env("ETCDCTL_API", "3").quiet();
            if asked.ignore_stdout().ignore_stderr().run().is_ok() {
                return Ok(());
            }
            sleep(PAUSE);
        }
        Err(format!("no etcd answers at {addresses}").into())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        for member in &mut self.members {
            // Both fail only where it has ended by itself, which the tests have noticed.
            let _ = member.kill();
            let _ = member.wait();
        }
    }
}

fn member(
    program: &OsStr,
    name: &str,
    folder: &Path,
    (client, peer): &(String, String),
    cluster: &str,
) -> io::Result<Child> {
    let log = fs::File::create(folder.with_extension("log"))?;
    dying_with_us(program)
        .env_clear()
        .env("ETCD_UNSUPPORTED_ARCH", "arm64")
        .args(["--name", name, "--data-dir"])
        .arg(folder)
        .args(["--listen-client-urls", client])
        .args(["--advertise-client-urls", client])
        .args(["--listen-peer-urls", peer])
        .args(["--initial-advertise-peer-urls", peer])
        .args(["--initial-cluster", cluster])
        .stdin(Stdio::null())
        .stdout(log.try_clone()?)
        .stderr(log)
        .spawn()
}

/// Where this process is killed, the kernel ends its servers, if `setpriv` of util-linux is there to ask it to.
fn dying_with_us(program: &OsStr) -> Command {
    if is_on_path("setpriv") {
        let mut command = Command::new("/usr/bin/env");
        command
            .args(["setpriv", "--pdeathsig", "KILL"])
            .arg(program);
        command
    } else {
        Command::new(program)
    }
}

/// In memory where that is possible, since etcd waits for the disk with every write. The tests' own fixture removes
/// directories of this name whose process is gone.
fn directory() -> io::Result<TempDir> {
    let name = format!("etcd-lock-{}-", std::process::id());
    let memory = PathBuf::from("/dev/shm");
    let mut builder = tempfile::Builder::new();
    let builder = builder.prefix(&name);
    builder.tempdir_in(memory).or_else(|_| builder.tempdir())
}

/// All are held before the first is let go, so that they differ.
fn free_addresses(count: usize) -> io::Result<Vec<String>> {
    let listeners = (0..count).map(|_| TcpListener::bind("127.0.0.1:0"));
    let listeners: Vec<_> = listeners.collect::<io::Result<_>>()?;
    let addresses = listeners.iter().map(TcpListener::local_addr);
    addresses.map(|address| Ok(address?.to_string())).collect()
}
