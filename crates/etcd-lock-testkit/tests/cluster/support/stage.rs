//! Three members, and observations of them without the code under test.

use std::path::PathBuf;
use std::time::Duration;

use etcd_lock_grpc::ConnectOptions;
use etcd_lock_testkit::RealEtcd;
use etcd_lock_testkit::real_etcd::{Setup, default_program, program_35};
use tokio::time::{sleep, timeout};
use tonic::transport::{Channel, Endpoint};

use super::Caller;

/// The bound of every wait for something that must happen, on a machine that does other things besides.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// An etcd that scenarios run on.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Version {
    /// The one that is found by itself: Debian's is a 3.4.
    V3_4,
    V3_5,
}

impl Version {
    pub(crate) fn program(self) -> PathBuf {
        match self {
            Self::V3_4 => default_program(),
            Self::V3_5 => program_35(),
        }
    }

    /// A cluster that is yet to be started.
    pub(crate) fn setup(self) -> Setup {
        Setup::new().members(3).program(self.program())
    }
}

/// A cluster, and how callers connect to it.
pub(crate) struct Stage {
    pub(crate) etcd: RealEtcd,
    pub(crate) options: ConnectOptions,
}

impl Stage {
    pub(crate) async fn start(version: Version) -> Self {
        Self::with(version.setup()).await
    }

    pub(crate) async fn with(setup: Setup) -> Self {
        let mut etcd = setup.start().await;
        // A member that joins an election late starts another one: wait until all agree.
        for member in etcd.members() {
            member.wait_until_healthy().await;
        }
        Self {
            etcd,
            options: ConnectOptions::new(),
        }
    }

    /// A caller that may use any member.
    pub(crate) async fn caller(&self) -> Caller {
        Caller::connect(&self.etcd.endpoints(), self.options.clone()).await
    }

    /// A caller whose requests go to this member first.
    pub(crate) async fn caller_on(&self, member: usize) -> Caller {
        Caller::connect_on(member, &self.etcd.endpoints(), &self.options.clone()).await
    }

    /// A caller that is told of this member first, and may use any.
    pub(crate) async fn caller_listing(&self, member: usize) -> Caller {
        Caller::connect_listing(member, &self.etcd.endpoints(), self.options.clone()).await
    }

    pub(crate) async fn leader(&self) -> usize {
        let found = async {
            loop {
                if let Some(leader) = self.etcd.leader().await {
                    return leader;
                }
                sleep(Duration::from_millis(10)).await;
            }
        };
        timeout(PATIENCE, found).await.expect("there is no leader")
    }

    /// A member that doesn't lead.
    pub(crate) async fn follower(&self) -> usize {
        (self.leader().await + 1) % 3
    }

    /// The create revisions of the entries of a lock's queue, oldest first, by etcdctl's word.
    pub(crate) async fn entries(&self, name: &str) -> Vec<i64> {
        let prefix = format!("{name}/");
        let get = ["get", &prefix, "--prefix", "--sort-by=CREATE", "-w=fields"];
        let answer = self.read(&get).await;
        let revisions = answer.lines().filter_map(|line| {
            let value = line.strip_prefix("\"CreateRevision\" : ")?;
            value.parse().ok()
        });
        revisions.collect()
    }

    /// Waits until a lock's queue has so many entries.
    pub(crate) async fn has_entries(&self, name: &str, count: usize) {
        let reached = async {
            while self.entries(name).await.len() != count {
                sleep(Duration::from_millis(20)).await;
            }
        };
        if timeout(PATIENCE, reached).await.is_err() {
            let entries = self.entries(name).await;
            panic!("the queue of {name} must have {count} entries, has {entries:?}");
        }
    }

    /// How often a key was written.
    pub(crate) async fn version_of(&self, key: &str) -> u64 {
        let answer = self.read(&["get", key, "-w=fields"]).await;
        let mut versions = answer.lines();
        let version = versions.find_map(|line| line.strip_prefix("\"Version\" : "));
        version.map_or(0, |version| version.parse().unwrap())
    }

    /// The revision of the store.
    pub(crate) async fn revision(&self) -> String {
        let answer = self.read(&["get", "-w=fields", "revision"]).await;
        let mut revisions = answer.lines();
        let revision = revisions.find_map(|line| line.strip_prefix("\"Revision\" : "));
        revision.unwrap().to_owned()
    }

    /// The value that etcdctl reads from the first member that answers.
    async fn read(&self, command: &[&str]) -> String {
        let bounds = ["--command-timeout=1s", "--dial-timeout=1s"];
        let command = [command, &bounds].concat();
        let read = async {
            loop {
                for member in 0..3 {
                    if let Ok(answer) = self.etcd.try_etcdctl(member, &command).await {
                        return answer;
                    }
                }
            }
        };
        timeout(PATIENCE, read).await.expect("no member answers")
    }
}

/// A connection without the code under test.
pub(crate) async fn connect(endpoint: &str) -> Channel {
    let endpoint = Endpoint::from_shared(endpoint.to_owned()).unwrap();
    endpoint.connect().await.unwrap()
}
