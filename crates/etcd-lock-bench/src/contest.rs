//! Contenders that take one lock from each other, over and over.

use std::sync::Arc;
use std::time::Duration;

use etcd_lock_session::{Mutex, Session};
use tokio::task::JoinSet;

use crate::bare::Bare;
use crate::client::{TTL, connect, fresh_name};
use crate::etcd::Etcd;
use crate::race::{Outcome, Race, Share};
use crate::ring;

/// Hand-overs between our mutexes.
pub(crate) async fn ours(
    etcd: &Etcd,
    contenders: usize,
    share: Share,
    window: Duration,
) -> Outcome {
    let endpoint = etcd.endpoint.as_str();
    let name = fresh_name();
    let shared = connect(endpoint);
    let mut sessions = Vec::new();
    for _ in 0..contenders {
        let client = match share {
            Share::Nothing => connect(endpoint),
            Share::Client => shared.clone(),
        };
        sessions.push(Session::open(&client, TTL).await.unwrap());
    }
    let race = Race::default();
    let mut tasks = JoinSet::new();
    for session in sessions {
        let (mut part, mutex) = (race.part(), Mutex::new(&session, name.clone()).unwrap());
        tasks.spawn(async move {
            while !part.is_over() {
                let guard = mutex.lock().await.unwrap();
                part.granted();
                guard.unlock().await.unwrap();
            }
            drop(mutex);
            session.close().await.unwrap();
        });
    }
    let outcome = race.count(contenders, etcd, window).await;
    tasks.join_all().await;
    outcome
}

/// Hand-overs by etcd's own `Lock` RPC.
pub(crate) async fn v3lock(
    etcd: &Etcd,
    contenders: usize,
    share: Share,
    window: Duration,
) -> Outcome {
    let name = fresh_name();
    let shared = Bare::connect(&etcd.endpoint).await;
    let race = Race::default();
    let mut tasks = JoinSet::new();
    for _ in 0..contenders {
        let client = match share {
            Share::Nothing => Bare::connect(&etcd.endpoint).await,
            Share::Client => shared.another().await,
        };
        let (mut part, name) = (race.part(), name.clone());
        tasks.spawn(async move {
            while !part.is_over() {
                let key = client.lock(&name).await.unwrap();
                part.granted();
                client.unlock(key).await;
            }
            client.close().await;
        });
    }
    let outcome = race.count(contenders, etcd, window).await;
    tasks.join_all().await;
    outcome
}

/// Hand-overs between bare stubs that know their predecessor.
pub(crate) async fn baseline(
    etcd: &Etcd,
    contenders: usize,
    share: Share,
    window: Duration,
) -> Outcome {
    let leases = ring::connect(&etcd.endpoint, contenders, share).await;
    let race = Race::default();
    let mut tasks = JoinSet::new();
    for mut contender in ring::join_all(&leases, &fresh_name()).await {
        let mut part = race.part();
        tasks.spawn(async move {
            while !part.is_over() {
                let created = contender.lock().await;
                part.granted();
                contender.unlock(created).await;
            }
        });
    }
    let outcome = race.count(contenders, etcd, window).await;
    // A contender whose predecessor stopped first would wait for ever.
    tasks.shutdown().await;
    for lease in leases {
        lease.close().await;
    }
    outcome
}

/// Hand-overs between the tasks of one session.
pub(crate) async fn one_session(etcd: &Etcd, contenders: usize, window: Duration) -> Outcome {
    let session = Session::open(&connect(&etcd.endpoint), TTL).await.unwrap();
    let mutex = Mutex::new(&session, fresh_name()).unwrap();
    let race = Race::default();
    let mut tasks = JoinSet::new();
    for _ in 0..contenders {
        let (mut part, mutex) = (race.part(), mutex.clone());
        tasks.spawn(async move {
            while !part.is_over() {
                let guard = mutex.lock().await.unwrap();
                part.granted();
                guard.unlock().await.unwrap();
            }
        });
    }
    let outcome = race.count(contenders, etcd, window).await;
    tasks.join_all().await;
    session.close().await.unwrap();
    outcome
}

/// Hand-overs of tokio's mutex, which knows nothing of etcd.
pub(crate) async fn tokio_mutex(etcd: &Etcd, contenders: usize, window: Duration) -> Outcome {
    let mutex = Arc::new(tokio::sync::Mutex::new(()));
    let race = Race::default();
    let mut tasks = JoinSet::new();
    for _ in 0..contenders {
        let (mut part, mutex) = (race.part(), mutex.clone());
        tasks.spawn(async move {
            while !part.is_over() {
                let guard = mutex.lock().await;
                part.granted();
                drop(guard);
            }
        });
    }
    let outcome = race.count(contenders, etcd, window).await;
    tasks.join_all().await;
    outcome
}
