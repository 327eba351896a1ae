//! Locks by a lease alone, as callers of etcd's `Lock` and `Unlock` take them: without a session, and without a guard.

use std::sync::Arc;

use etcd_lock_core::kv::{Compare, DeleteRequest, RangeRequest, TxnRequest};
use etcd_lock_core::lease::LeaseTimeToLiveRequest;
use etcd_lock_core::{
    CallOptions, Error, ErrorKind, LeaseId, LockKey, LockRequest, LockResponse, ResponseHeader,
    Result, Revision, Timeout, UnlockRequest, UnlockResponse,
};
use etcd_lock_queue::{Failure, Input, Limits, Mode};
use tokio::runtime::Handle;

use super::Inner;
use super::caller::{Caller, Refusal};
use super::callers::{Grant, Kind, Slot};
use super::failures::is_refusal;
use super::heartbeat::lease_gone;
use super::lock::Lock;
use crate::backoff::Backoff;
use crate::validity::Lease;

impl Inner {
    pub(super) async fn lock_bare(
        self: &Arc<Self>,
        request: LockRequest,
        mode: Mode,
        timeout: Timeout,
    ) -> Result<LockResponse> {
        let timeout = timeout.checked()?;
        let lock = self.lock(&request.name);
        let lease = self.lease(request.lease);
        if let Some(held) = lock.bare_hold(request.lease) {
            return Ok(held);
        }
        let runtime = Handle::current();
        let kind = Kind::Bare(mode);
        let mut caller = lock.begin(&lease, kind, Limits::bare(), &request.value, &runtime)?;
        let wait = async {
            let grant = caller.granted().await?;
            // Nothing tells this caller later that its entry was gone, so a grant that came with an event is confirmed.
            let has_waited = grant.header.revision > grant.token.create_revision();
            if has_waited && !self.is_there(&grant).await? {
                return Err(deleted(&grant.key));
            }
            Ok(grant)
        };
        let granted = match timeout {
            Timeout::Infinity => wait.await,
            Timeout::After(bound) => match tokio::time::timeout(bound, wait).await {
                Ok(granted) => granted,
                Err(_) => return Err(caller.timed_out(timeout)),
            },
        };
        let refusal = match granted {
            Ok(grant) => {
                if caller.detach(grant.token.create_revision()) {
                    return Ok(grant.response());
                }
                deleted(&grant.key)
            }
            Err(refusal) => {
                if mode == Mode::Try {
                    caller.withdrawn().await;
                }
                drop(caller);
                refusal
            }
        };
        Err(self.why(refusal, request.lease).await)
    }

    /// Whether the entry of a grant exists. The wait goes on until a server answers that is not behind the grant: one that is
    /// may not know the entry yet.
    async fn is_there(&self, grant: &Grant) -> Result<bool, Refusal> {
        let mut backoff = Backoff::with(&self.tuning);
        loop {
            let read = RangeRequest::key(&grant.key).keys_only();
            match self.transport.range(read, CallOptions::default()).await {
                Ok(reply) if reply.header.revision < grant.header.revision => {
                    tracing::debug!(
                        "can't confirm a grant at a server that is behind, trying again"
                    );
                }
                Ok(reply) => {
                    let created = reply.kvs.first().map(|kv| kv.create_revision);
                    return Ok(created == Some(grant.token.create_revision()));
                }
                Err(error) if is_refusal(&error) => {
                    let kind = Failure::Refused;
                    return Err(Refusal { kind, error });
                }
                Err(error) => tracing::debug!(%error, "can't confirm a grant, trying again"),
            }
            backoff.pause().await;
        }
    }

    /// Why an entry that somebody deleted is gone: with its lease, or by somebody's hand.
    pub(crate) async fn why(&self, refusal: Refusal, lease: LeaseId) -> Error {
        if refusal.kind != Failure::Deleted {
            return refusal.error;
        }
        let asked = LeaseTimeToLiveRequest::new(lease);
        let call = CallOptions::new(Timeout::After(self.tuning.request_timeout));
        match self.transport.lease_time_to_live(asked, call).await {
            Ok(reply) if reply.remaining.is_none() => lease_gone(lease),
            _ => refusal.error,
        }
    }

    pub(super) async fn unlock_bare(
        self: &Arc<Self>,
        request: UnlockRequest,
        options: CallOptions,
    ) -> Result<UnlockResponse> {
        let (name, lease) = request
            .key
            .parts()
            .ok_or_else(|| not_an_entry(&request.key))?;
        let lock = self.lock(&name);
        let held = lock.take_bare_hold(lease, request.create_revision);
        let header = match held {
            Some(caller) => {
                caller.release().await?;
                lock.state().header
            }
            None => self.delete(&lock, lease, &request, options).await?,
        };
        Ok(UnlockResponse::new(header))
    }

    /// Deletes an entry that no caller of this client holds by its lease, but only the one that was created then: a repeat
    /// that comes late can't end a later hold.
    async fn delete(
        &self,
        lock: &Lock,
        lease: LeaseId,
        request: &UnlockRequest,
        options: CallOptions,
    ) -> Result<ResponseHeader> {
        let key = &request.key;
        let created = match request.create_revision {
            Some(created) => created,
            None => {
                let read = RangeRequest::key(key).keys_only();
                let reply = self.transport.range(read, options).await?;
                match reply.kvs.first() {
                    // A key of another program may end in hexadecimal digits, too: `config/db`.
                    Some(kv) if kv.lease != Some(lease) => return Err(not_an_entry(key)),
                    Some(kv) => kv.create_revision,
                    None => return Ok(reply.header),
                }
            }
        };
        let txn = TxnRequest::new()
            .when(Compare::create_revision(key, created))
            .and_then(DeleteRequest::key(key))
            .idempotent();
        let reply = self.transport.txn(txn, options).await?;
        if reply.succeeded {
            lock.feed_all([Input::Deleted(key.clone(), reply.header.revision)]);
        }
        Ok(reply.header)
    }
}

impl Lock {
    /// The answer that a lease got that holds the lock already.
    fn bare_hold(&self, lease: LeaseId) -> Option<LockResponse> {
        let mut state = self.state();
        let caller = state.members.get(&lease)?.bare_hold?;
        match state.callers.slot(caller) {
            Some(Slot::Held(grant)) => Some(grant.response()),
            _ => None,
        }
    }

    /// The hold of a lease, if it is the one that was created then.
    fn take_bare_hold(&self, lease: LeaseId, created: Option<Revision>) -> Option<Caller> {
        let mut state = self.state();
        let entry = state.machine.entry(lease)?;
        if created.is_some_and(|created| created != entry.created) {
            return None;
        }
        let member = state.members.get_mut(&lease)?;
        let caller = member.bare_hold.take()?;
        let lease: Arc<Lease> = member.lease.clone();
        drop(state);
        let runtime = Handle::current();
        Some(Caller::new(self, &lease, caller, None, runtime))
    }
}

fn deleted(key: &LockKey) -> Refusal {
    let text = format!("the queue entry {key} was deleted by somebody else");
    Refusal {
        kind: Failure::Deleted,
        error: Error::new(ErrorKind::Lost, text),
    }
}

fn not_an_entry(key: &LockKey) -> Error {
    Error::invalid_argument(format!(
        "{key} is not the key of a lock: those end in a slash and the lease that they have, in hexadecimal"
    ))
}
