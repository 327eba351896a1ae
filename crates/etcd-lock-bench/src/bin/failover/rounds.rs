//! The faults, one after the other on one cluster.

use std::fmt;
use std::time::Duration;

use etcd_lock_testkit::RealEtcd;
use etcd_lock_testkit::real_etcd::Member;
use tokio::time::{Instant, sleep, timeout};

use crate::client::{Client, Program};
use crate::election::Election;

/// How many cycles each client does before the fault.
const WARM_UP: usize = 50;

/// How long the leader is gone: longer than a session of 10 s lives that isn't renewed.
const LENGTH: Duration = Duration::from_secs(11);

/// How long anything may take.
const PATIENCE: Duration = Duration::from_secs(60);

/// The fault that befalls the leader.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Fault {
    Killed,
    Stopped,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Killed => "leader killed",
            Self::Stopped => "leader stopped",
        })
    }
}

/// One fault, as all clients lived through it.
#[derive(Debug)]
pub(crate) struct Round {
    /// How long no member that was left answered a write.
    pub(crate) election: Duration,
    /// In the order of the programs.
    pub(crate) clients: Vec<Measured>,
}

#[derive(Debug)]
pub(crate) struct Measured {
    /// The longest time without a whole cycle.
    pub(crate) gap: Duration,
    pub(crate) sessions_lost: usize,
    pub(crate) errors: usize,
}

/// Runs rounds of one fault on a cluster of three.
pub(crate) async fn measure(fault: Fault, programs: &[Program], rounds: usize) -> Vec<Round> {
    let mut etcd = RealEtcd::cluster(3).await;
    let mut measured = Vec::new();
    for round in 1..=rounds {
        let result = self::round(&mut etcd, fault, programs).await;
        let gaps: Vec<_> = result.clients.iter().map(|client| client.gap).collect();
        eprintln!(
            "{fault} {round}: election {:.2?}, gaps {gaps:.2?}",
            result.election
        );
        measured.push(result);
    }
    measured
}

async fn round(etcd: &mut RealEtcd, fault: Fault, programs: &[Program]) -> Round {
    let leader = leader(etcd).await;
    let mut endpoints = etcd.endpoints();
    endpoints.rotate_left(leader);
    let begun = Instant::now();
    let clients: Vec<_> = programs.iter().map(|one| one.start(&endpoints)).collect();
    let election = Election::watch(&endpoints[1..]);
    warm_up(&clients, begun).await;

    let member = &mut etcd.members()[leader];
    match fault {
        Fault::Killed => member.kill(),
        Fault::Stopped => member.pause(),
    }
    let at = Instant::now();
    sleep(LENGTH).await;
    let clients = clients.iter().map(|client| Measured {
        gap: client.gap(at),
        sessions_lost: client.count("lost"),
        errors: client.count("error"),
    });
    let round = Round {
        election: election.over_after(at).expect("there was no election"),
        clients: clients.collect(),
    };
    heal(member, fault).await;
    round
}

/// Waits until all clients do cycles.
async fn warm_up(clients: &[Client], begun: Instant) {
    let warm = async {
        while clients
            .iter()
            .any(|client| client.cycles_since(begun) < WARM_UP)
        {
            sleep(Duration::from_millis(10)).await;
        }
    };
    timeout(PATIENCE, warm)
        .await
        .expect("not all clients do cycles");
}

async fn heal(member: &mut Member, fault: Fault) {
    match fault {
        Fault::Killed => member.restart().await,
        Fault::Stopped => {
            member.resume();
            member.wait_until_healthy().await;
        }
    }
}

async fn leader(etcd: &RealEtcd) -> usize {
    let found = async {
        loop {
            if let Some(leader) = etcd.leader().await {
                return leader;
            }
            sleep(Duration::from_millis(10)).await;
        }
    };
    timeout(PATIENCE, found).await.expect("there is no leader")
}
