//! Keeping leases alive, any number of them on one stream.

use std::time::Duration;

use etcd_lock_core::lease::{self, LeaseKeepAliveResponse};
use etcd_lock_core::{BoxStream, Client, LeaseId, Result};
use futures_util::StreamExt as _;
use tokio::sync::mpsc;
use tokio::time::{sleep, timeout};

use crate::test_context::PATIENCE;
use crate::{TestContext, watcher};

/// A lease that is renewed outlives its time to live.
pub async fn keep_alive_renews(test: &TestContext) {
    let contender = test.short_lived_contender().await;
    let mut keeper = Keeper::open(contender.client());

    // Real time has to pass here, more than the lease would have lived; and often, since the machine may be busy.
    for _ in 0..12 {
        sleep(Duration::from_millis(250)).await;
        let answer = keeper.keep(contender.lease()).await;
        assert_eq!(answer.id, contender.lease());
        assert_eq!(answer.ttl.unwrap().as_secs(), 2);
    }

    let status = lease::time_to_live(contender.client(), contender.lease())
        .await
        .unwrap();
    assert!(status.remaining.is_some(), "{status:?}");
}

/// Answers come in the order of the requests, however many are under way.
pub async fn keep_alives_are_answered_in_order(test: &TestContext) {
    let (first, second) = (test.contender().await, test.contender().await);
    let mut keeper = Keeper::open(first.client());
    let order = [first.lease(), second.lease(), second.lease(), first.lease()];

    for lease in order {
        keeper.send(lease);
    }

    for lease in order {
        let answer = keeper.next().await;
        assert_eq!(
            (answer.id, answer.ttl.map(etcd_lock_core::Ttl::as_secs)),
            (lease, Some(60))
        );
    }
}

/// A lease that isn't there is answered so, and the stream goes on.
pub async fn keep_alive_of_an_unknown_lease_answers_none(test: &TestContext) {
    let contender = test.contender().await;
    let unknown = LeaseId::new(0xdead).unwrap();
    let mut keeper = Keeper::open(contender.client());

    let answer = keeper.keep(unknown).await;
    assert_eq!((answer.id, answer.ttl), (unknown, None));

    assert!(keeper.keep(contender.lease()).await.ttl.is_some());
}

/// A lease that ends while its stream is open is answered so from then on.
pub async fn keep_alive_of_a_lease_that_ended_answers_none(test: &TestContext) {
    let contender = test.contender().await;
    let mut keeper = Keeper::open(contender.client());
    assert!(keeper.keep(contender.lease()).await.ttl.is_some());

    contender.revoke().await;

    assert_eq!(keeper.keep(contender.lease()).await.ttl, None);
}

struct Keeper {
    leases: mpsc::UnboundedSender<LeaseId>,
    answers: BoxStream<Result<LeaseKeepAliveResponse>>,
}

impl Keeper {
    fn open(client: &Client) -> Self {
        let (leases, receiver) = mpsc::unbounded_channel();
        let answers = client
            .transport()
            .lease_keep_alive(watcher::stream(receiver));
        Self { leases, answers }
    }

    async fn keep(&mut self, lease: LeaseId) -> LeaseKeepAliveResponse {
        self.send(lease);
        self.next().await
    }

    fn send(&self, lease: LeaseId) {
        self.leases.send(lease).unwrap();
    }

    async fn next(&mut self) -> LeaseKeepAliveResponse {
        let next = timeout(PATIENCE, self.answers.next()).await;
        next.expect("no answer to a keep-alive")
            .expect("the keep-alive stream ended")
            .unwrap()
    }
}
