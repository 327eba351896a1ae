//! Holds that another process has detached, and that go on here.

use std::sync::Arc;

use bytes::Bytes;
use etcd_lock_core::kv::{Compare, KeyValue, PutRequest, RangeRequest, TxnRequest};
use etcd_lock_core::{CallOptions, Error, ErrorKind, LockKey, Result};
use etcd_lock_queue::{CallerId, DetachedEntry, EntryValue, Failure, Input, Limits, Mode, Nonce};
use tokio::runtime::Handle;

use super::Inner;
use super::caller::{Caller, Refusal};
use super::callers::{Grant, Kind};
use super::lock::{Lock, none};
use crate::DetachedHold;
use crate::inspect::read_entries;
use crate::validity::Lease;

impl Inner {
    /// Goes on with a hold whose lease this client keeps alive. A nonce of this client is written into the entry, so that a
    /// hold goes on in one process alone.
    ///
    /// # Errors
    /// `Lost` where the hold is over or another's, `Busy` where this client has it already, else as the requests fail.
    ///
    /// # Cancel safety
    /// The hold may have been taken, and ends with its lease then.
    pub(crate) async fn attach(
        self: &Arc<Self>,
        lease: &Arc<Lease>,
        hold: &DetachedHold,
        limits: Limits,
        owner: &Bytes,
        call: CallOptions,
    ) -> Result<(Caller, Grant), Refusal> {
        let lock = self.lock(hold.name());
        if lock.state().machine.is_involved(lease.id()) {
            let text = "this client still looks after the hold: another client can attach it";
            return Err(refused(Error::new(ErrorKind::Busy, text)));
        }
        let found = self.find(hold, call).await.map_err(refused)?;
        let taken = self.take(hold, &found, owner, call).await;
        let taken = taken.map_err(refused)?;
        let mut caller = lock.attach(lease, limits, owner, taken).map_err(refused)?;
        let grant = caller.granted().await?;
        Ok((caller, grant))
    }

    /// Reads the entry of a hold, and all that could be before it. The entry had the lock once, so it has it for as long as
    /// it exists. The text of the hold may be wrong, so the read also shows that no older entry exists.
    async fn find(&self, hold: &DetachedHold, call: CallOptions) -> Result<KeyValue> {
        let name = hold.name();
        let created = hold.token().create_revision();
        let read = RangeRequest::prefix(name.queue_prefix()).with_max_create_revision(created);
        let entries = read_entries(&*self.transport, name, read, call).await?;
        let mut entries = entries.into_iter();
        let (Some(own), None) = (entries.next(), entries.next()) else {
            return Err(over(hold.key()));
        };
        let is_the_holds = own.key == hold.key().as_bytes()
            && own.create_revision == created
            && own.lease == Some(hold.lease())
            && nonce_of(&own) == Some(hold.nonce());
        match is_the_holds {
            true => Ok(own),
            false => Err(over(hold.key())),
        }
    }

    /// Writes a nonce of this client into the entry. A repeat finds it there.
    async fn take(
        self: &Arc<Self>,
        hold: &DetachedHold,
        found: &KeyValue,
        owner: &Bytes,
        call: CallOptions,
    ) -> Result<DetachedEntry> {
        let (key, created) = (hold.key(), found.create_revision);
        let nonce = Nonce::new(self.clock.random()?);
        let before = EntryValue::parse(&found.value).map_or(&b""[..], |value| value.owner());
        let owner = if owner.is_empty() { before } else { owner };
        let value = EntryValue::new(nonce, owner).encode();
        let txn = TxnRequest::new()
            .when(Compare::create_revision(key, created))
            .when(Compare::value(key, found.value.clone()))
            .and_then(PutRequest::new(key, value).with_lease(hold.lease()))
            .or_else(RangeRequest::key(key))
            .idempotent();
        let (sent, known) = (self.clock.now(), self.cluster.newest());
        let reply = self.transport.txn(txn, call).await?;
        self.check_cluster(known, &reply.header, hold.name());
        let now = reply.kvs(0).first();
        let is_ours =
            now.is_some_and(|kv| kv.create_revision == created && nonce_of(kv) == Some(nonce));
        if !reply.succeeded && !is_ours {
            return Err(over(key));
        }
        Ok(DetachedEntry {
            created,
            handover: hold.token().handover(),
            nonce,
            at: reply.header.revision,
            sent,
        })
    }
}

impl Lock {
    /// A caller goes on with a hold that was taken just now.
    ///
    /// # Errors
    /// When the lease has ended.
    fn attach(
        &self,
        lease: &Arc<Lease>,
        limits: Limits,
        owner: &Bytes,
        entry: DetachedEntry,
    ) -> Result<Caller> {
        let session = lease.id();
        let runtime = Handle::current();
        let mut begun = Ok(CallerId(0));
        self.change(none, |state, todo| {
            begun = state.add_caller(lease, owner, Kind::Guarded(Mode::Try));
            if let Ok(caller) = begun {
                let input = Input::Attach {
                    session,
                    caller,
                    limits,
                    entry,
                };
                self.handle(state, input, todo);
            }
        });
        self.queue.upkeep.ensure_runs(&self.queue, lease, &runtime);
        begun.map(|id| Caller::new(self, lease, id, None, runtime))
    }
}

fn nonce_of(kv: &KeyValue) -> Option<Nonce> {
    EntryValue::parse(&kv.value).map(|value| value.nonce())
}

fn refused(error: Error) -> Refusal {
    let kind = Failure::Refused;
    Refusal { kind, error }
}

fn over(key: &LockKey) -> Error {
    let text = format!("the hold of {key} is over, or goes on in another process");
    Error::new(ErrorKind::Lost, text)
}
