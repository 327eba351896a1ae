//! A hold that goes on without this program.

use std::time::Duration;

use etcd_lock::core::CallOptions;
use etcd_lock::kv::{PutRequest, RangeRequest};
use etcd_lock::{Client, LockGuard, Result, Ttl, lease, new};

use crate::farewell::FAREWELL;

/// Moves the entry of a hold to a lease of its own, which ends it after this time.
///
/// The key stays the same, and its create revision with it: no other client sees the lock free in between.
///
/// # Errors
/// `Lost` where the lock isn't held any more, else as the requests fail.
pub(crate) async fn leave(guard: &LockGuard, client: &Client, rest: Duration) -> Result<()> {
    let key = guard.key().as_bytes();
    let options = CallOptions::new(FAREWELL.into());
    let read = client
        .transport()
        .range(RangeRequest::key(key.clone()), options);
    let value = read.await?.kvs.pop().map(|kv| kv.value).unwrap_or_default();
    let ctx = new(client).with_timeout(FAREWELL);
    let lease = lease::grant(&ctx, Ttl::try_from(rest)?).await?.id;
    let moved = PutRequest::new(key.clone(), value).with_lease(lease);
    let result = guard
        .fenced_txn()
        .and_then(moved)
        .with_timeout(FAREWELL)
        .commit()
        .await;
    if let Err(error) = result {
        // Nothing hangs on it, unless the answer was lost: then it ends by itself.
        if !error.is_outcome_unknown() {
            let _ = lease::revoke(ctx, lease).await;
        }
        return Err(error);
    }
    Ok(())
}

/// Ends all that this process has to do with a hold that is another lease's: the guard, and the session's lease.
///
/// # Errors
/// `Lost` where the lock isn't held any more.
pub(crate) async fn give_away(guard: LockGuard, client: &Client) -> Result<()> {
    let hold = guard.detach()?;
    let ctx = new(client).with_timeout(FAREWELL);
    // It ends by itself where etcd doesn't answer.
    let _ = lease::revoke(ctx, hold.lease()).await;
    Ok(())
}
