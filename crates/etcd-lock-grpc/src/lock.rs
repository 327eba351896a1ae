//! The plain `Lock` RPC, made as safe as it can be.
//!
//! By itself it is not, in ways that no caller can see: on etcd 3.4 an OK can be false; a repeat with the same lease can
//! lose a held lock to the clean-up of the first call; a waiter whose entry is gone waits on; and with authentication on,
//! nothing is cleaned up at all. So a key is used by one attempt at a time and watched meanwhile, a grant is read back,
//! and an attempt that ends without one deletes its entry itself, guarded by the create revision. One gap remains: a server
//! that was stopped in the middle may execute its own, unguarded clean-up long after we have given up waiting for it.

use std::collections::HashMap;
use std::future::pending;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use etcd_lock_core::kv::{Compare, DeleteRequest, RangeRequest, TxnRequest};
use etcd_lock_core::lease::LeaseTimeToLiveRequest;
use etcd_lock_core::{
    CallOptions, Error, ErrorKind, LeaseId, LockKey, LockRequest, LockResponse, Result, Revision,
    Timeout, UnlockRequest, UnlockResponse,
};
use futures_util::FutureExt;
use tokio::runtime::Handle;
use tokio::sync::{Mutex as AsyncMutex, OwnedMutexGuard};
use tokio::time::{Instant, sleep, timeout};

use crate::layers::{Streams, Unary};
use crate::own_key::OwnKey;

/// When after an attempt of unknown outcome its key is looked at, for an entry that came late.
const LOOKS: [Duration; 4] = [
    Duration::ZERO,
    Duration::from_millis(50),
    Duration::from_millis(200),
    Duration::from_secs(1),
];

/// A login that was refused sooner than this was no good from the start.
const LEAST_LOGIN: Duration = Duration::from_millis(500);

/// How much earlier than by our clock the time of a call may be up by the server's.
const MOMENT: Duration = Duration::from_millis(10);

const CLEAN_UP: CallOptions = CallOptions::new(Timeout::After(Duration::from_secs(5)));

/// Takes and releases locks by the RPC.
#[derive(Clone, Debug)]
pub(crate) struct Locks<S> {
    unary: Unary,
    streams: S,
    slots: Arc<Mutex<HashMap<LockKey, Arc<Slot>>>>,
}

impl<S: Streams> Locks<S> {
    pub(crate) fn new(unary: Unary, streams: S) -> Self {
        Self {
            unary,
            streams,
            slots: Arc::default(),
        }
    }

    pub(crate) async fn lock(
        &self,
        request: LockRequest,
        options: CallOptions,
    ) -> Result<LockResponse> {
        match options.timeout.checked()? {
            Timeout::Infinity => self.attempt(request, options).await,
            Timeout::After(bound) => {
                // The inner call has what is left of the time after waiting for the slot.
                let attempt = self.attempt(request, options);
                timeout(bound, attempt).await.unwrap_or_else(|_| {
                    let text = format!("the lock was not granted within the timeout of {bound:?}");
                    Err(Error::new(ErrorKind::Timeout, text))
                })
            }
        }
    }

    /// etcd's RPC deletes a key without asking which hold it belongs to; a guarded delete can't end a later hold.
    pub(crate) async fn unlock(
        &self,
        request: UnlockRequest,
        options: CallOptions,
    ) -> Result<UnlockResponse> {
        let created = match request.create_revision {
            Some(created) => created,
            None => {
                let reply = self.unary.range(own(&request.key), options).await?;
                match reply.kvs.first() {
                    Some(kv) => kv.create_revision,
                    None => return Ok(UnlockResponse::new(reply.header)),
                }
            }
        };
        let reply = self
            .unary
            .txn(guarded_delete(&request.key, created), options)
            .await?;
        if let Some(slot) = self.slots().get(&request.key) {
            slot.released(created);
        }
        Ok(UnlockResponse::new(reply.header))
    }

    async fn attempt(&self, request: LockRequest, options: CallOptions) -> Result<LockResponse> {
        let (key, lease) = (request.key(), request.lease);
        let started = Instant::now();
        let deadline = options
            .timeout
            .as_duration()
            .and_then(|bound| started.checked_add(bound));
        let slot = self.slot(&key);
        let turn = slot.busy.clone().lock_owned().await;
        // It finds an endpoint that answers and a login that holds, which a stream doesn't look for.
        self.unary.range(own(&key), options).await?;
        let held = slot.held().is_some();
        let mut own_key = OwnKey::watch(&self.streams, &key, held).await?;
        let options = match options.timeout {
            Timeout::After(bound) => {
                let left = bound
                    .saturating_sub(started.elapsed())
                    .max(Duration::from_millis(1));
                CallOptions::new(Timeout::After(left))
            }
            Timeout::Infinity => options,
        };
        let mut pending = Pending {
            locks: self.clone(),
            key: key.clone(),
            runtime: Handle::current(),
            slot: Some((slot, turn)),
        };
        let reply = tokio::select! {
            biased;
            reply = self.granted(request, options) => reply,
            () = deleted(&mut own_key, deadline) => return Err(self.gone(lease, &key).await),
        };
        let reply = match reply {
            Ok(reply) if reply.key == key => reply,
            Ok(reply) => return Err(other_key(&reply.key, &key)),
            // etcd takes an entry that is gone for the end of its lease.
            Err(error) if is_session_expired(&error) => return Err(self.gone(lease, &key).await),
            Err(error) => {
                pending.settle(&error);
                return Err(error);
            }
        };
        let read = self.unary.range(own(&key), options).await?;
        let Some(kv) = read.kvs.first() else {
            // Granted to an entry that is gone: etcd 3.4 does so where the lease ended during the wait.
            return Err(self.gone(lease, &key).await);
        };
        // The watch ends here. A deletion that it told of while the key was read must not be forgotten.
        if own_key.deleted().now_or_never().is_some() {
            return Err(self.gone(lease, &key).await);
        }
        pending.granted(kv.create_revision);
        Ok(LockResponse::new(reply.header, key, kv.create_revision))
    }

    /// Calls the RPC, again where its login ended while it waited: its entry stands then, and keeps its place. Other than
    /// after a call that got no answer nothing of the first call is left on the server that could end the hold.
    async fn granted(&self, request: LockRequest, options: CallOptions) -> Result<LockResponse> {
        loop {
            let asked = Instant::now();
            match self.unary.lock(request.clone(), options).await {
                Err(error) if login_ended(&error) && asked.elapsed() > LEAST_LOGIN => {}
                answer => return answer,
            }
        }
    }

    /// Why an entry is gone: with its lease, or by somebody's hand.
    async fn gone(&self, lease: LeaseId, key: &LockKey) -> Error {
        let asked = LeaseTimeToLiveRequest::new(lease);
        match self.unary.lease_time_to_live(asked, CLEAN_UP).await {
            Ok(reply) if reply.remaining.is_none() => Error::new(
                ErrorKind::LeaseNotFound,
                "the lease ended before the lock was granted",
            ),
            _ => Error::new(
                ErrorKind::Lost,
                format!("the queue entry {key} was deleted by somebody else"),
            ),
        }
    }

    fn slot(&self, key: &LockKey) -> Arc<Slot> {
        let mut slots = self.slots();
        slots.retain(|_, slot| Arc::strong_count(slot) > 1 || slot.held().is_some());
        slots.entry(key.clone()).or_default().clone()
    }

    fn slots(&self) -> MutexGuard<'_, HashMap<LockKey, Arc<Slot>>> {
        self.slots.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Deletes what an attempt put under the key, now and when it comes late.
    async fn withdraw(self, key: LockKey, slot: Arc<Slot>, turn: OwnedMutexGuard<()>) {
        for pause in LOOKS {
            sleep(pause).await;
            let Ok(reply) = self.unary.range(own(&key), CLEAN_UP).await else {
                continue;
            };
            let created = reply.kvs.first().map(|kv| kv.create_revision);
            // An earlier grant under the same key is not ours to withdraw.
            if let Some(created) = created
                && Some(created) != *slot.held()
            {
                let delete = guarded_delete(&key, created);
                if let Err(error) = self.unary.txn(delete, CLEAN_UP).await {
                    tracing::debug!(%error, %key, "can't withdraw a queue entry yet");
                }
            }
        }
        drop(turn);
    }
}

/// A key that somebody is busy with or holds.
#[derive(Debug, Default)]
struct Slot {
    /// Locked by the one attempt that is under way.
    busy: Arc<AsyncMutex<()>>,
    /// The grant that wasn't released yet.
    held: Mutex<Option<Revision>>,
}

impl Slot {
    fn held(&self) -> MutexGuard<'_, Option<Revision>> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn released(&self, created: Revision) {
        let mut held = self.held();
        if *held == Some(created) {
            *held = None;
        }
    }
}

/// An attempt under way: dropped without a grant, it withdraws its entry in the background.
struct Pending<S: Streams> {
    locks: Locks<S>,
    key: LockKey,
    runtime: Handle,
    slot: Option<(Arc<Slot>, OwnedMutexGuard<()>)>,
}

impl<S: Streams> Pending<S> {
    fn granted(&mut self, created: Revision) {
        if let Some((slot, _)) = self.slot.take() {
            *slot.held() = Some(created);
        }
    }

    /// Nothing is left behind by a request that wasn't executed at all. Other refusals may come in the middle of a wait.
    fn settle(&mut self, error: &Error) {
        let refused = matches!(
            error.kind(),
            ErrorKind::InvalidArgument | ErrorKind::LeaseNotFound | ErrorKind::Unsupported
        );
        if refused && !error.is_outcome_unknown() {
            self.slot = None;
        }
    }
}

impl<S: Streams> Drop for Pending<S> {
    fn drop(&mut self) {
        if let Some((slot, turn)) = self.slot.take() {
            let withdrawal = self.locks.clone().withdraw(self.key.clone(), slot, turn);
            self.runtime.spawn(withdrawal);
        }
    }
}

fn login_ended(error: &Error) -> bool {
    error
        .server_text()
        .is_some_and(|text| text.contains("invalid auth token"))
}

/// Waits until the entry is deleted, but not by the server's own clean-up: that begins when the time of the call is up by the
/// server's clock, which may be a moment before it is by ours.
async fn deleted(own_key: &mut OwnKey, deadline: Option<Instant>) {
    own_key.deleted().await;
    if deadline.is_some_and(|deadline| Instant::now() + MOMENT >= deadline) {
        pending().await
    }
}

fn is_session_expired(error: &Error) -> bool {
    error
        .server_text()
        .is_some_and(|text| text.contains("session is expired"))
}

fn own(key: &LockKey) -> RangeRequest {
    RangeRequest::key(key.as_bytes().clone()).keys_only()
}

fn guarded_delete(key: &LockKey, created: Revision) -> TxnRequest {
    TxnRequest::new()
        .when(Compare::create_revision(key.as_bytes().clone(), created))
        .and_then(DeleteRequest::key(key.as_bytes().clone()))
        .idempotent()
}

fn other_key(got: &LockKey, expected: &LockKey) -> Error {
    Error::new(
        ErrorKind::Protocol,
        format!("the server granted {got}, but {expected} was asked for"),
    )
}

#[cfg(test)]
mod tests {
    use etcd_lock_core::lease::LeaseGrantRequest;
    use etcd_lock_core::{LockName, Transport, Ttl};
    use etcd_lock_memory::MemoryEtcd;

    use super::*;
    use crate::layers::Layered;

    const BOUND: Duration = Duration::from_millis(100);

    /// As by the server's clean-up, whose clock may be a moment ahead of ours.
    #[tokio::test(start_paused = true)]
    async fn a_deletion_as_the_time_runs_out_is_a_timeout_and_an_earlier_one_a_loss() {
        let kind = deleted_before_the_end(Duration::from_millis(5)).await;
        assert_eq!(kind, ErrorKind::LockTimeout);
        let kind = deleted_before_the_end(Duration::from_millis(50)).await;
        assert_eq!(kind, ErrorKind::Lost);
    }

    /// How a wait ends whose entry is deleted so long before its time is up.
    async fn deleted_before_the_end(left: Duration) -> ErrorKind {
        let etcd = MemoryEtcd::new();
        let transport = Layered::new(etcd.clone());
        let (holder, waiter) = (request(&etcd).await, request(&etcd).await);
        let options = CallOptions::default();
        transport.lock(holder, options).await.unwrap();
        let key = waiter.key().as_bytes().clone();
        let delete = async {
            sleep(BOUND - left).await;
            let delete = TxnRequest::new().and_then(DeleteRequest::key(key));
            etcd.txn(delete, options).await.unwrap();
        };
        let wait = transport.lock(waiter, CallOptions::new(BOUND.into()));
        let (waited, ()) = tokio::join!(wait, delete);
        waited.unwrap_err().kind()
    }

    async fn request(etcd: &MemoryEtcd) -> LockRequest {
        let grant = LeaseGrantRequest::new(Ttl::from_secs(60).unwrap());
        let lease = etcd.lease_grant(grant, CallOptions::default()).await;
        LockRequest::new(LockName::new("name").unwrap(), lease.unwrap().id)
    }
}
