//! A real etcd of one member or more, on free loopback ports, with its data in a temporary directory.
//!
//! | module | what is in it |
//! | --- | --- |
//! | [`Setup`] | how many members, which program, TLS, proxies between members |
//! | [`RealEtcd`], [`Member`] | the processes: to be paused, killed, terminated and restarted |
//! | [`proxy`] | a TCP proxy that delays, holds, cuts and refuses |
//! | [`PeerLinks`] | the connections between members, to part them |

mod admin;
mod data;
mod health;
mod member;
mod peer_links;
mod program;
pub mod proxy;
mod setup;

use std::path::{Path, PathBuf};

use tempfile::TempDir;

use self::admin::Admin;

pub use member::Member;
pub use peer_links::PeerLinks;
pub use setup::Setup;

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
    links: Option<PeerLinks>,
    admin: Admin,
    dir: TempDir,
}

impl RealEtcd {
    /// Starts one member, and returns when it answers.
    ///
    /// # Panics
    /// As [`Setup::start`].
    pub async fn start() -> Self {
        Setup::new().start().await
    }

    /// As [`start`](Self::start), with more flags for etcd.
    ///
    /// # Panics
    /// As [`Setup::start`].
    pub async fn with_flags(flags: &[&str]) -> Self {
        Setup::new().flags(flags).start().await
    }

    /// As [`start`](Self::start), of another program than the one that is found by itself.
    ///
    /// # Panics
    /// When it doesn't start.
    pub async fn of_program(program: &Path) -> Self {
        Setup::new().program(program).start().await
    }

    /// Starts a cluster, and returns when all its members answer.
    ///
    /// # Panics
    /// As [`Setup::start`].
    pub async fn cluster(size: usize) -> Self {
        Setup::new().members(size).start().await
    }

    /// The client URLs of all members.
    #[must_use]
    pub fn endpoints(&self) -> Vec<String> {
        self.members.iter().map(Member::endpoint).collect()
    }

    /// The metrics of the first member, in Prometheus' format.
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

    /// The index of the member that leads. There may be none, or a paused one that still would.
    pub async fn leader(&self) -> Option<usize> {
        for (index, member) in self.members.iter().enumerate() {
            if member.is_leader().await {
                return Some(index);
            }
        }
        None
    }

    /// The connections between the members.
    ///
    /// # Panics
    /// Without [`Setup::with_peer_links`].
    #[must_use]
    pub fn peer_links(&self) -> &PeerLinks {
        let links = self.links.as_ref();
        links.expect("the members were started without proxies between them")
    }

    /// Runs etcdctl as an operator with all permissions, on one member, and returns its output.
    ///
    /// # Panics
    /// When it fails.
    pub async fn etcdctl(&self, member: usize, command: &[&str]) -> String {
        self.try_etcdctl(member, command)
            .await
            .unwrap_or_else(|error| panic!("etcdctl {}: {error}", command.join(" ")))
    }

    /// As [`etcdctl`](Self::etcdctl).
    ///
    /// # Errors
    /// With etcdctl's own text when it fails.
    pub async fn try_etcdctl(&self, member: usize, command: &[&str]) -> Result<String, String> {
        let endpoint = self.members[member].endpoint();
        self.admin.run(&endpoint, command).await
    }

    /// Turns authentication on: a user `root` with all permissions, and the users that are given as (name, password), with
    /// permission to read and write all keys that begin with `prefix`.
    ///
    /// # Panics
    /// When etcd refuses.
    pub async fn enable_auth(&mut self, users: &[(&str, &str)], prefix: &str) {
        const ROOT: &str = "root:r-secret";
        self.etcdctl(0, &["user", "add", ROOT]).await;
        // From etcd 3.5 on the role is there from the start, and granting it makes it before that.
        self.etcdctl(0, &["user", "grant-role", "root", "root"])
            .await;
        self.etcdctl(0, &["role", "add", "locks"]).await;
        let permission = ["role", "grant-permission", "locks", "--prefix=true"];
        self.etcdctl(0, &[&permission[..], &["readwrite", prefix]].concat())
            .await;
        for (name, password) in users {
            let user = format!("{name}:{password}");
            self.etcdctl(0, &["user", "add", &user]).await;
            self.etcdctl(0, &["user", "grant-role", name, "locks"])
                .await;
        }
        self.etcdctl(0, &["auth", "enable"]).await;
        self.admin.add("--user", ROOT);
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
