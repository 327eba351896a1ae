//! Looking at a lock's queue without taking part in it.

use std::time::Duration;

use bytes::Bytes;
use etcd_lock_core::kv::{KeyValue, RangeRequest, SortOrder, SortTarget};
use etcd_lock_core::lease::LeaseTimeToLiveRequest;
use etcd_lock_core::{
    CallOptions, Context, FencingToken, LeaseId, LockKey, LockName, Result, Revision, Transport,
};
use futures_util::{StreamExt, TryStreamExt, stream};

/// How many leases are asked about at the same time.
const LEASES_AT_ONCE: usize = 16;

/// A lock's queue at one moment: see [`queue`].
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct QueueView {
    /// The store's revision at that moment.
    pub revision: Revision,
    /// The entries, oldest first: the holder, then the waiters in the order in which they will hold the lock.
    pub entries: Vec<QueueEntry>,
    /// Keys below `<name>/` that are no entries. They hold up `etcdctl lock` and callers of etcd's `Lock` RPC, which wait
    /// for anything that is older there, but no [`Queue`](crate::Queue).
    pub unrelated_keys: Vec<Bytes>,
}

/// One entry of a queue.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct QueueEntry {
    /// The entry's key.
    pub key: LockKey,
    /// Its lease.
    pub lease: LeaseId,
    /// When it was made, in the store's time: the first part of the fencing token of its grant.
    pub create_revision: Revision,
    /// The owner, where the entry has a description of it.
    #[cfg(feature = "owner")]
    pub owner: Option<crate::Owner>,
    /// How long the lease will live if nobody renews it, in whole seconds; `None` when it has just ended.
    pub remaining: Option<Duration>,
}

/// Reads who holds a lock and who waits for it. The context gives connection and timeout; each request has the timeout.
///
/// ```
/// # use std::time::Duration;
/// # use etcd_lock_memory::MemoryEtcd;
/// # use etcd_lock_session::{Mutex, Owner, Queue, SessionOptions, queue};
/// # #[tokio::main(flavor = "current_thread", start_paused = true)]
/// # async fn main() -> Result<(), etcd_lock_core::Error> {
/// let client = Queue::new(MemoryEtcd::new()).into_client();
/// let session = SessionOptions::new().with_owner(Owner::current()).open(&client).await?;
/// let guard = Mutex::new(&session, "report")?.lock().await?;
///
/// let view = queue(&client, "report").await?;
/// assert_eq!(view.entries[0].key, *guard.key());
/// assert_eq!(view.entries[0].owner.as_ref().unwrap().pid, std::process::id());
/// assert_eq!(view.entries[0].remaining, Some(Duration::from_secs(10)));
/// # guard.unlock().await
/// # }
/// ```
///
/// # Errors
/// `InvalidArgument` for a name that can't be one, and those of [every call](etcd_lock_core::ErrorKind#every-call).
///
/// # Cancel safety
/// It only reads.
pub async fn queue(ctx: impl Into<Context>, name: impl Into<Bytes>) -> Result<QueueView> {
    let ctx = ctx.into();
    let name = LockName::new(name)?;
    let client = ctx.client()?;
    let transport = client.transport().as_ref();
    let options = CallOptions::new(ctx.timeout().checked()?);
    let range = RangeRequest::prefix(name.queue_prefix())
        .sorted_by(SortTarget::CreateRevision, SortOrder::Ascending);
    let reply = transport.range(range, options).await?;
    let (mut found, mut unrelated_keys) = (Vec::new(), Vec::new());
    for kv in reply.kvs {
        match entry(&kv, &name) {
            Some((key, lease)) => found.push((key, lease, kv)),
            None => unrelated_keys.push(kv.key),
        }
    }
    let entries = stream::iter(found)
        .map(|(key, lease, kv)| async move {
            Ok::<_, etcd_lock_core::Error>(QueueEntry {
                key,
                lease,
                create_revision: kv.create_revision,
                #[cfg(feature = "owner")]
                owner: crate::Owner::from_entry(&kv.value),
                remaining: remaining(transport, lease, options).await?,
            })
        })
        .buffered(LEASES_AT_ONCE)
        .try_collect()
        .await?;
    Ok(QueueView {
        revision: reply.header.revision,
        entries,
        unrelated_keys,
    })
}

/// Asks etcd whether the hold with this token still has the lock. The context gives connection and timeout.
///
/// An answer is true of the moment of the read, and the lock may have another holder when it arrives. A resource that can
/// compare tokens needs no answer. Hand-overs between the tasks of one session are unknown to etcd: each of them has the
/// same answer.
///
/// ```
/// use std::time::Duration;
///
/// use etcd_lock_session::verify;
/// # use etcd_lock_core::{lease, lock_with, unlock};
/// # use etcd_lock_memory::MemoryEtcd;
/// # use etcd_lock_session::Queue;
/// # #[tokio::main(flavor = "current_thread", start_paused = true)]
/// # async fn main() -> Result<(), etcd_lock_core::Error> {
/// # let client = Queue::new(MemoryEtcd::new()).into_client();
/// # let lease = lease::grant(&client, Duration::from_secs(60)).await?.id;
/// let held = lock_with(&client, "report", lease).await?;
/// assert!(verify(&client, "report", held.token()).await?);
///
/// unlock(&client, &held.key).await?;
/// assert!(!verify(&client, "report", held.token()).await?);
/// # Ok(())
/// # }
/// ```
///
/// # Errors
/// `InvalidArgument` for a name that can't be one, `NotOpen` for a connection name that isn't open, else what the read fails
/// with. An error says nothing of the lock.
///
/// # Cancel safety
/// It only reads.
pub async fn verify(
    ctx: impl Into<Context>,
    name: impl Into<Bytes>,
    token: FencingToken,
) -> Result<bool> {
    let ctx = ctx.into();
    let name = LockName::new(name)?;
    let created = token.create_revision();
    let options = CallOptions::new(ctx.timeout().checked()?);
    // The oldest entry has the lock, and a token is given out when its entry is that. Since then older ones only vanish.
    let until_created = RangeRequest::prefix(name.queue_prefix())
        .with_max_create_revision(created)
        .keys_only();
    let client = ctx.client()?;
    let entries = read_entries(&**client.transport(), &name, until_created, options).await?;
    let is_the_holds = |kv: &KeyValue| kv.create_revision == created;
    Ok(!entries.is_empty() && entries.iter().all(is_the_holds))
}

/// Reads keys of a queue, and leaves out those that are no entries.
pub(crate) async fn read_entries(
    transport: &dyn Transport,
    name: &LockName,
    read: RangeRequest,
    options: CallOptions,
) -> Result<Vec<KeyValue>> {
    let mut kvs = transport.range(read, options).await?.kvs;
    kvs.retain(|kv| entry(kv, name).is_some());
    Ok(kvs)
}

/// The key and the lease of an entry: not of `<name>/something`, nor of any other key below `<name>/`.
fn entry(kv: &KeyValue, name: &LockName) -> Option<(LockKey, LeaseId)> {
    let key = LockKey::new(kv.key.clone()).ok()?;
    let (of, lease) = key.parts()?;
    (of == *name).then_some((key, lease))
}

async fn remaining(
    transport: &dyn Transport,
    lease: LeaseId,
    options: CallOptions,
) -> Result<Option<Duration>> {
    let asked = LeaseTimeToLiveRequest::new(lease);
    let reply = transport.lease_time_to_live(asked, options).await?;
    Ok(reply.remaining)
}
