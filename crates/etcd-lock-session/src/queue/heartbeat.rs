//! The heartbeat: reads of all entries of the sessions whose turn it is, and of the predecessors of those that wait.
//!
//! The reads are linearizable, by key, many in one transaction, and never nested or behind other traffic of the queue. Only
//! their answers confirm an entry; a watch that reports nothing does not.

use std::sync::Arc;
use std::sync::atomic::Ordering::SeqCst;
use std::time::Duration;

use etcd_lock_core::lease::LeaseTimeToLiveRequest;
use etcd_lock_core::{CallOptions, Error, ErrorKind, LeaseId, LockKey, ResponseHeader, Timeout};
use etcd_lock_queue::{Observation, Reply, Request, Stamp};
use futures_util::{StreamExt, stream};

use super::Inner;
use super::failures::is_refusal;
use super::lock::Lock;
use super::reads;
use crate::clock::after;
use crate::validity::Lease;

/// How many keys one transaction reads: as many operations as etcd allows.
const KEYS: usize = 128;

/// How many such transactions are on their way at the same time.
const AT_ONCE: usize = 16;

/// The pause after an attempt that failed at once.
const PAUSE: Duration = Duration::from_millis(50);

/// A key to read, and whose heartbeat it belongs to.
#[derive(Clone, Debug)]
pub(super) struct Key {
    pub(super) lock: Lock,
    pub(super) session: LeaseId,
    pub(super) key: LockKey,
}

/// One heartbeat of some leases.
pub(super) struct Beat {
    pub(super) queue: Arc<Inner>,
    pub(super) leases: Vec<Arc<Lease>>,
    pub(super) in_doubt: Vec<Arc<Lease>>,
}

impl Beat {
    pub(super) async fn run(self, keys: Vec<Key>) {
        let sent = self.queue.clock.now();
        let chunks = keys.chunks(KEYS).map(<[Key]>::to_vec);
        let reads = stream::iter(chunks).map(|chunk| self.read(chunk));
        let answered: Vec<bool> = reads.buffer_unordered(AT_ONCE).collect().await;
        let is_answered = answered.into_iter().all(|answered| answered);
        for lease in &self.in_doubt {
            self.look_for(lease).await;
        }
        let again = after(self.queue.clock.now(), PAUSE);
        for lease in &self.leases {
            if is_answered {
                lease.plan_beat(sent);
            } else {
                lease.next_beat.store(again.0, SeqCst);
            }
        }
    }

    /// Reads keys, and returns whether that is done for this time.
    async fn read(&self, keys: Vec<Key>) -> bool {
        let Some(first) = keys.first() else {
            return true;
        };
        let name = first.lock.name().clone();
        let request = Request::Check {
            keys: keys.iter().map(|key| key.key.clone()).collect(),
        };
        let known = self.queue.cluster.newest();
        let sent = self.queue.clock.now();
        let txn = || request.txn(&name, b"");
        let read = reads::send(&*self.queue.transport, txn, self.call());
        let error = match read.await {
            Ok(answer) => {
                self.queue.check_cluster(known, &answer.header, &name);
                if let Some(Reply::Checked(observations)) = request.reply(&name, &answer) {
                    observe(&keys, sent, observations, &answer.header);
                }
                return true;
            }
            Err(error) => error,
        };
        tracing::debug!(%error, "the entries of a session could not be read");
        if is_refusal(&error) {
            return self.refused(keys, &error).await;
        }
        for key in &keys {
            key.lock.expire(key.session);
        }
        false
    }

    /// Where one key of several locks may not be read, each lock is read by itself: the others are none the worse for it.
    async fn refused(&self, keys: Vec<Key>, error: &Error) -> bool {
        let of_one = |one: &Key, other: &Key| one.lock.name() == other.lock.name();
        let mut locks = keys.chunk_by(of_one);
        if locks.clone().count() == 1 {
            for key in &keys {
                key.lock.refuse(key.session, error);
            }
            return true;
        }
        let mut is_answered = true;
        for keys in locks.by_ref() {
            is_answered &= Box::pin(self.read(keys.to_vec())).await;
        }
        is_answered
    }

    /// A request to enter can be executed for as long as its lease lives, and nobody else notices the end of a bare one.
    async fn look_for(&self, lease: &Lease) {
        let asked = LeaseTimeToLiveRequest::new(lease.id());
        let reply = self
            .queue
            .transport
            .lease_time_to_live(asked, self.call())
            .await;
        if reply.is_ok_and(|reply| reply.remaining.is_none()) {
            self.queue.end(lease, lease_gone(lease.id()));
        }
    }

    fn call(&self) -> CallOptions {
        let attempts = self.leases.iter().map(|lease| lease.attempt());
        let shortest = attempts.min().unwrap_or(PAUSE);
        CallOptions::new(Timeout::After(shortest.max(Duration::from_millis(1))))
    }
}

/// However it ends, the next one may begin.
impl Drop for Beat {
    fn drop(&mut self) {
        for lease in &self.leases {
            lease.is_beating.store(false, SeqCst);
        }
        self.queue.upkeep.beaten();
    }
}

fn observe(keys: &[Key], sent: Stamp, observations: Vec<Observation>, header: &ResponseHeader) {
    let mut observations = observations.into_iter();
    for keys in keys.chunk_by(|one, other| one.lock.name() == other.lock.name()) {
        let of_lock = observations.by_ref().take(keys.len()).collect();
        keys[0].lock.observe(sent, of_lock, *header);
    }
}

pub(super) fn lease_gone(lease: LeaseId) -> Error {
    Error::new(
        ErrorKind::LeaseNotFound,
        format!("the lease {lease} has ended"),
    )
}
