//! One process of an etcd.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{Id, WaitPidFlag, WaitStatus, waitid};
use nix::unistd::Pid;
use tokio::time::{Instant, sleep};

use super::{health, program};

/// How long a member may take until it answers. An election on a busy machine can take a few seconds.
const PATIENCE: Duration = Duration::from_secs(30);

/// A member of a [`RealEtcd`](super::RealEtcd).
#[derive(Debug)]
pub struct Member {
    program: PathBuf,
    arguments: Vec<String>,
    client_port: u16,
    data: PathBuf,
    log: PathBuf,
    child: Child,
}

impl Member {
    /// The URL for clients.
    #[must_use]
    pub fn endpoint(&self) -> String {
        url(self.client_port)
    }

    /// The number of its process.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Whether it answers and has a leader.
    pub async fn is_healthy(&self) -> bool {
        health::is_healthy(self.client_port).await
    }

    /// What it measures of itself, in Prometheus' format.
    ///
    /// # Panics
    /// When it doesn't answer.
    pub async fn metrics(&self) -> String {
        health::metrics(self.client_port).await.unwrap()
    }

    /// Stops it in its tracks, as a long pause of its machine would: its connections stay open and nothing answers.
    ///
    /// # Panics
    /// When it has ended.
    pub fn pause(&self) {
        self.signal(Signal::SIGSTOP);
        // The signal is sent before all of its threads have stopped; one that hasn't yet may still answer.
        let end = WaitPidFlag::WSTOPPED | WaitPidFlag::WEXITED | WaitPidFlag::WNOWAIT;
        let status = waitid(Id::Pid(self.process()), end).unwrap();
        assert!(matches!(status, WaitStatus::Stopped(..)), "{status:?}");
    }

    /// Lets a paused member go on.
    pub fn resume(&self) {
        self.signal(Signal::SIGCONT);
    }

    /// Ends it without a chance to say goodbye. Its data stays.
    pub fn kill(&mut self) {
        // Both fail only when it has been waited for already: then it is as dead as we want it.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// Starts it again after [`kill`](Self::kill) (or kills it first), on the same ports and data.
    ///
    /// # Panics
    /// When it doesn't start.
    pub async fn restart(&mut self) {
        self.kill();
        self.child = start(&self.program, &self.arguments, &self.log);
        if let Err(log) = self.wait_until_it_answers().await {
            panic!("etcd did not start again; the end of its log:\n{log}");
        }
    }

    /// Starts it again without what it knew: an etcd that begins anew on the same ports.
    ///
    /// # Panics
    /// When it doesn't start, or is one of several: the others would not have it back.
    pub async fn restart_empty(&mut self) {
        self.kill();
        fs::remove_dir_all(&self.data).unwrap();
        self.restart().await;
    }

    pub(super) fn spawn(
        program: &Path,
        data: PathBuf,
        (client_port, peer_port): (u16, u16),
        initial_cluster: &str,
        flags: &[&str],
    ) -> Self {
        let log = data.with_extension("log");
        let mut arguments = arguments(&data, client_port, peer_port, initial_cluster);
        arguments.extend(flags.iter().map(|flag| (*flag).to_owned()));
        let child = start(program, &arguments, &log);
        Self {
            program: program.to_owned(),
            arguments,
            client_port,
            data,
            log,
            child,
        }
    }

    /// On failure, the end of its log.
    pub(super) async fn wait_until_it_answers(&mut self) -> Result<(), String> {
        let deadline = Instant::now() + PATIENCE;
        while !(self.is_listening() && self.is_healthy().await) {
            let ended = self.child.try_wait().unwrap().is_some();
            if ended || Instant::now() > deadline {
                return Err(self.log_tail());
            }
            sleep(Duration::from_millis(5)).await;
        }
        Ok(())
    }

    /// By its own word: the health of another program that has taken our port is none of ours.
    fn is_listening(&self) -> bool {
        self.log().contains("ready to serve client requests")
    }

    fn signal(&self, signal: Signal) {
        kill(self.process(), signal).unwrap();
    }

    fn process(&self) -> Pid {
        Pid::from_raw(i32::try_from(self.child.id()).unwrap())
    }

    fn log(&self) -> String {
        let bytes = fs::read(&self.log).unwrap_or_default();
        String::from_utf8_lossy(&bytes).into_owned()
    }

    fn log_tail(&self) -> String {
        let log = self.log();
        let lines: Vec<_> = log.lines().collect();
        lines[lines.len().saturating_sub(20)..].join("\n")
    }
}

impl Drop for Member {
    fn drop(&mut self) {
        self.kill();
        if std::thread::panicking() {
            eprintln!(
                "the end of the log of {}:\n{}",
                self.endpoint(),
                self.log_tail()
            );
        }
    }
}

fn url(port: u16) -> String {
    format!("http://127.0.0.1:{port}")
}

/// Timing is left at etcd's defaults: the least time to live of a lease depends on it.
fn arguments(data: &Path, client_port: u16, peer_port: u16, initial_cluster: &str) -> Vec<String> {
    let name = data.file_name().unwrap().to_string_lossy();
    [
        ("--name", name.into_owned()),
        ("--data-dir", data.to_string_lossy().into_owned()),
        ("--listen-client-urls", url(client_port)),
        ("--advertise-client-urls", url(client_port)),
        ("--listen-peer-urls", url(peer_port)),
        ("--initial-advertise-peer-urls", url(peer_port)),
        ("--initial-cluster", initial_cluster.to_owned()),
    ]
    .into_iter()
    .flat_map(|(flag, value)| [flag.to_owned(), value])
    .collect()
}

/// The log begins anew with every start.
fn start(program: &Path, arguments: &[String], log: &Path) -> Child {
    let log = File::create(log).unwrap();
    let mut command = dying_with_us(program);
    command
        .args(arguments)
        // etcd reads each of its flags from ETCD_* variables, too: none of the caller's may get there.
        .env_clear()
        // Before 3.5 it refuses to run on this architecture unless told to.
        .env("ETCD_UNSUPPORTED_ARCH", "arm64")
        .stdin(Stdio::null())
        .stdout(log.try_clone().unwrap())
        .stderr(log);
    command
        .spawn()
        .unwrap_or_else(|error| panic!("can't run {}: {error}", program.display()))
}

/// A killed test process can't clean up, so the kernel is asked to.
fn dying_with_us(program: &Path) -> Command {
    match program::setpriv() {
        Some(setpriv) => {
            let mut command = Command::new(setpriv);
            command.args(["--pdeathsig", "KILL"]).arg(program);
            command
        }
        None => Command::new(program),
    }
}
