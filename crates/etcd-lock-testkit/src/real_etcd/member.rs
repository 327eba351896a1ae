//! One process of an etcd.

use std::ffi::OsString;
use std::fs::{self, File};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{Id, WaitPidFlag, WaitStatus, waitid};
use nix::unistd::Pid;
use tokio::time::{Instant, sleep, timeout};

use super::{health, program};
use crate::ReservedPort;

/// How long a member may take until it answers. An election on a busy machine can take a few seconds.
const PATIENCE: Duration = Duration::from_secs(30);

/// A member of a [`RealEtcd`](super::RealEtcd).
#[derive(Debug)]
pub struct Member {
    plan: Plan,
    log: PathBuf,
    child: Child,
    pid: Arc<AtomicU32>,
}

/// How a member is started.
#[derive(Debug)]
pub(super) struct Plan {
    pub(super) program: PathBuf,
    /// How much longer a sync takes.
    pub(super) slower_sync: Option<Duration>,
    /// Its name is that of this directory.
    pub(super) data: PathBuf,
    /// `http` or `https`, for clients. Members talk to each other without TLS.
    pub(super) scheme: &'static str,
    pub(super) ports: Ports,
    /// Where other members reach it: its own address, or that of a proxy before it.
    pub(super) advertised_peer_port: u16,
    pub(super) initial_cluster: String,
    pub(super) flags: Vec<String>,
}

/// The ports that a member listens on, which it finds free when it is started again.
#[derive(Debug)]
pub(super) struct Ports {
    pub(super) client: ReservedPort,
    pub(super) peer: ReservedPort,
    /// For health and metrics: without TLS, whatever clients need.
    pub(super) metrics: ReservedPort,
}

impl Member {
    /// The URL for clients.
    #[must_use]
    pub fn endpoint(&self) -> String {
        self.plan.endpoint()
    }

    /// The number of its process.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Whether it answers and has a leader.
    pub async fn is_healthy(&self) -> bool {
        health::is_healthy(self.plan.ports.metrics.number()).await
    }

    /// Whether it leads, by its own word. A member that doesn't answer doesn't lead.
    pub async fn is_leader(&self) -> bool {
        let metrics = health::metrics(self.plan.ports.metrics.number()).await;
        metrics.is_ok_and(|metrics| metrics.contains("\netcd_server_is_leader 1\n"))
    }

    /// Its metrics, in Prometheus' format.
    ///
    /// # Panics
    /// When it doesn't answer.
    pub async fn metrics(&self) -> String {
        health::metrics(self.plan.ports.metrics.number())
            .await
            .unwrap()
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

    /// Asks it to end, and waits until it did: it hands the leadership over and closes its connections. Its data stays.
    ///
    /// # Panics
    /// When it has ended already, or doesn't end.
    pub async fn terminate(&mut self) {
        self.signal(Signal::SIGTERM);
        let ended = async {
            while self.child.try_wait().unwrap().is_none() {
                sleep(Duration::from_millis(10)).await;
            }
        };
        timeout(PATIENCE, ended).await.unwrap();
    }

    /// Starts it again after [`kill`](Self::kill) (or kills it first), on the same ports and data.
    ///
    /// # Panics
    /// When it doesn't start.
    pub async fn restart(&mut self) {
        self.kill();
        self.launch();
        self.wait_until_healthy().await;
    }

    /// As [`restart`](Self::restart), without waiting until it answers: without a majority it never would.
    pub fn launch(&mut self) {
        self.kill();
        self.child = start(&self.plan, &self.log);
        self.pid.store(self.child.id(), Relaxed);
    }

    /// Starts it again without what it knew: an etcd that begins anew on the same ports.
    ///
    /// # Panics
    /// When it doesn't start, or is one of several: the others would not have it back.
    pub async fn restart_empty(&mut self) {
        self.kill();
        fs::remove_dir_all(&self.plan.data).unwrap();
        self.restart().await;
    }

    /// Starts it again on what an earlier snapshot has, as an operator does after a disaster: later writes are lost.
    ///
    /// # Panics
    /// When etcdctl or etcd refuses, or it is one of several: all of them would have to be restored.
    pub async fn restore(&mut self, snapshot: &Path) {
        self.kill();
        fs::remove_dir_all(&self.plan.data).unwrap();
        let restored = Command::new("etcdctl")
            .env("ETCDCTL_API", "3")
            .args(["snapshot", "restore"])
            .arg(snapshot)
            .args(self.plan.identity())
            .output()
            .unwrap();
        assert!(restored.status.success(), "{restored:?}");
        self.restart().await;
    }

    /// Waits until it answers and has a leader.
    ///
    /// # Panics
    /// When it ends, or doesn't in half a minute. The end of its log is printed as it is dropped.
    pub async fn wait_until_healthy(&mut self) {
        let deadline = Instant::now() + PATIENCE;
        while !(self.is_listening() && self.is_healthy().await) {
            let ended = self.child.try_wait().unwrap();
            assert!(ended.is_none(), "etcd ended: {ended:?}");
            assert!(Instant::now() < deadline, "etcd is not healthy");
            sleep(Duration::from_millis(5)).await;
        }
    }

    pub(super) fn spawn(plan: Plan, pid: Arc<AtomicU32>) -> Self {
        let log = plan.data.with_extension("log");
        let child = start(&plan, &log);
        pid.store(child.id(), Relaxed);
        Self {
            plan,
            log,
            child,
            pid,
        }
    }

    /// Health is told on a port of its own, which may answer before the one for clients does.
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

impl Ports {
    pub(super) fn reserve() -> Self {
        Self {
            client: ReservedPort::new(),
            peer: ReservedPort::new(),
            metrics: ReservedPort::new(),
        }
    }
}

impl Plan {
    fn endpoint(&self) -> String {
        format!("{}://{}", self.scheme, self.ports.client.address())
    }

    /// The program with its arguments, and what it runs under.
    fn command_line(&self) -> Vec<OsString> {
        let mut line = Vec::new();
        // A killed test process can't clean up, so the kernel is asked to.
        if let Some(setpriv) = program::setpriv() {
            line.extend([setpriv.into(), "--pdeathsig".into(), "KILL".into()]);
        }
        if let Some(by) = self.slower_sync {
            line.extend(program::slowing_syncs(by));
        }
        line.push(self.program.clone().into());
        line.extend(self.arguments().into_iter().map(OsString::from));
        line
    }

    /// Timing is left at etcd's defaults: the least time to live of a lease depends on it.
    fn arguments(&self) -> Vec<String> {
        let listening = [
            ("--listen-client-urls", self.endpoint()),
            ("--advertise-client-urls", self.endpoint()),
            ("--listen-peer-urls", plain(self.ports.peer.number())),
            ("--listen-metrics-urls", plain(self.ports.metrics.number())),
        ];
        let flags = self.flags.iter().cloned();
        let arguments = self.identity().into_iter().chain(flatten(listening));
        arguments.chain(flags).collect()
    }

    /// Its name and its place in the cluster, which a restored member must be told, too.
    fn identity(&self) -> Vec<String> {
        let name = self.data.file_name().unwrap().to_string_lossy();
        let identity = [
            ("--name", name.into_owned()),
            ("--data-dir", self.data.to_string_lossy().into_owned()),
            (
                "--initial-advertise-peer-urls",
                plain(self.advertised_peer_port),
            ),
            ("--initial-cluster", self.initial_cluster.clone()),
        ];
        flatten(identity).collect()
    }
}

fn flatten<const N: usize>(flags: [(&str, String); N]) -> impl Iterator<Item = String> {
    let flags = flags.map(|(flag, value)| [flag.to_owned(), value]);
    flags.into_iter().flatten()
}

fn plain(port: u16) -> String {
    format!("http://127.0.0.1:{port}")
}

/// The log begins anew with every start.
fn start(plan: &Plan, log: &Path) -> Child {
    let log = File::create(log).unwrap();
    let line = plan.command_line();
    let mut command = Command::new(&line[0]);
    command
        .args(&line[1..])
        // etcd reads each of its flags from ETCD_* variables, too: none of the caller's may get there.
        .env_clear()
        // Before 3.5 it refuses to run on this architecture unless told to.
        .env("ETCD_UNSUPPORTED_ARCH", "arm64")
        .stdin(Stdio::null())
        .stdout(log.try_clone().unwrap())
        .stderr(log);
    count_start();
    command
        .spawn()
        .unwrap_or_else(|error| panic!("can't run {}: {error}", plan.program.display()))
}

/// Starts are what a run of all tests spends most of its time on: `cargo xtask test` names a file and counts its lines, each of
/// which has the name of a test.
fn count_start() {
    if let Some(file) = std::env::var_os("ETCD_LOCK_STARTS") {
        let file = File::options().append(true).create(true).open(file);
        let test = std::thread::current();
        let line = format!("{}\n", test.name().unwrap_or("unknown"));
        file.unwrap().write_all(line.as_bytes()).unwrap();
    }
}
