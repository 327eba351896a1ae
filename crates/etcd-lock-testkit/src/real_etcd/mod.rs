//! A real etcd of one member or more, on free loopback ports, with its data in a temporary directory.

mod data;
mod health;
mod member;
mod program;

use std::net::TcpListener;
use std::path::{Path, PathBuf};

use tempfile::TempDir;

pub use member::Member;

/// How often other ports are tried when somebody takes one of ours between choosing and using it.
const ATTEMPTS: usize = 5;

/// An etcd that runs for as long as this value lives.
///
/// Dropping it kills its members and waits for them. They also end with the thread that started them, so that a test
/// process that is killed leaves nothing behind (where `setpriv` of util-linux is installed).
///
/// It needs real time: don't use it under a paused clock.
#[derive(Debug)]
pub struct RealEtcd {
    /// Before the directory, so that the processes are gone when it is removed.
    members: Vec<Member>,
    dir: TempDir,
}

impl RealEtcd {
    /// Starts one member, and returns when it answers.
    ///
    /// # Panics
    /// When there is no etcd on this machine, saying how to get one; or when it doesn't start.
    pub async fn start() -> Self {
        Self::cluster(1).await
    }

    /// As [`start`](Self::start), with more flags for etcd.
    ///
    /// # Panics
    /// As [`start`](Self::start).
    pub async fn with_flags(flags: &[&str]) -> Self {
        Self::launch(&default_program(), 1, flags).await
    }

    /// As [`start`](Self::start), of another program than the one that is found by itself.
    ///
    /// # Panics
    /// When it doesn't start.
    pub async fn of_program(program: &Path) -> Self {
        Self::launch(program, 1, &[]).await
    }

    /// Starts a cluster, and returns when all its members answer.
    ///
    /// # Panics
    /// As [`start`](Self::start).
    pub async fn cluster(size: usize) -> Self {
        Self::launch(&default_program(), size, &[]).await
    }

    /// The client URLs of all members.
    #[must_use]
    pub fn endpoints(&self) -> Vec<String> {
        self.members.iter().map(Member::endpoint).collect()
    }

    /// What the first member measures of itself, in Prometheus' format.
    ///
    /// # Panics
    /// When it doesn't answer.
    pub async fn metrics(&self) -> String {
        self.members[0].metrics().await
    }

    /// Where its data and logs are.
    #[must_use]
    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// The members, to pause or kill them.
    #[must_use]
    pub fn members(&mut self) -> &mut [Member] {
        &mut self.members
    }

    async fn launch(program: &Path, size: usize, flags: &[&str]) -> Self {
        for _ in 1..ATTEMPTS {
            if let Ok(etcd) = Self::try_start(program, size, flags).await {
                return etcd;
            }
        }
        Self::try_start(program, size, flags)
            .await
            .unwrap_or_else(|log| panic!("etcd did not start; the end of its log:\n{log}"))
    }

    /// On failure, the end of the log of the member that failed.
    async fn try_start(program: &Path, size: usize, flags: &[&str]) -> Result<Self, String> {
        let dir = data::directory();
        let ports = free_ports(2 * size);
        let initial_cluster = initial_cluster(&ports);
        let mut members: Vec<_> = ports
            .chunks(2)
            .enumerate()
            .map(|(index, ports)| {
                let data = dir.path().join(format!("m{index}"));
                Member::spawn(program, data, (ports[0], ports[1]), &initial_cluster, flags)
            })
            .collect();
        for member in &mut members {
            member.wait_until_it_answers().await?;
        }
        Ok(Self { members, dir })
    }
}

/// The etcd that tests use where they don't name one.
///
/// # Panics
/// When there is none on this machine, saying how to get one.
#[must_use]
pub fn default_program() -> PathBuf {
    program::etcd().unwrap_or_else(|missing| panic!("{missing}"))
}

/// An etcd 3.5, for tests that need one.
///
/// # Panics
/// When none is named, saying how to get one.
#[must_use]
pub fn program_35() -> PathBuf {
    program::etcd_35().unwrap_or_else(|missing| panic!("{missing}"))
}

/// All are held before the first is let go, so that they differ.
fn free_ports(count: usize) -> Vec<u16> {
    let listeners: Vec<_> = (0..count)
        .map(|_| TcpListener::bind(("127.0.0.1", 0)).unwrap())
        .collect();
    listeners
        .iter()
        .map(|listener| listener.local_addr().unwrap().port())
        .collect()
}

/// etcd's own notation: the name and peer URL of every member.
fn initial_cluster(ports: &[u16]) -> String {
    let members: Vec<_> = ports
        .chunks(2)
        .enumerate()
        .map(|(index, ports)| format!("m{index}=http://127.0.0.1:{}", ports[1]))
        .collect();
    members.join(",")
}
