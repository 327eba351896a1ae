//! Keeping a bare lease alive, as `eetcd_lease:keep_alive` and `keep_alive_once` do.

use etcd_lock_core::lease::LeaseKeepAliveResponse;
use etcd_lock_core::{Context, Error, ErrorKind, LeaseId, Result, Timeout, Transport};
use tokio_stream::StreamExt;

use crate::{Session, SessionOptions};

/// Keeps a lease alive until the session that this returns is dropped. The lease stays the caller's: it is not revoked.
///
/// ```
/// use etcd_lock::lease;
/// # use std::time::Duration;
/// # #[tokio::main(flavor = "current_thread", start_paused = true)]
/// # async fn main() -> Result<(), etcd_lock::Error> {
/// # let client = etcd_lock::in_memory(etcd_lock::memory::MemoryEtcd::new());
/// # let granted = lease::grant(&client, Duration::from_secs(60)).await?;
/// let kept = lease::keep_alive(&client, granted.id).await?;
/// tokio::time::sleep(Duration::from_secs(600)).await;
/// assert!(kept.is_alive());
///
/// drop(kept);
/// tokio::time::sleep(Duration::from_secs(61)).await;
/// assert_eq!(lease::time_to_live(&client, granted.id).await?.remaining, None);
/// # Ok(())
/// # }
/// ```
///
/// # Errors
/// `LeaseNotFound` when there is no such lease, and those of [every call](etcd_lock_core::ErrorKind#every-call).
///
/// # Cancel safety
/// Nothing is left behind.
pub async fn keep_alive(ctx: impl Into<Context>, lease: LeaseId) -> Result<Session> {
    let ctx = ctx.into();
    let options = SessionOptions::new().with_timeout(ctx.timeout());
    options.adopt(&ctx.client()?, lease).await
}

/// Renews a lease once.
///
/// ```
/// use etcd_lock::lease;
/// # use std::time::Duration;
/// # #[tokio::main(flavor = "current_thread", start_paused = true)]
/// # async fn main() -> Result<(), etcd_lock::Error> {
/// # let client = etcd_lock::in_memory(etcd_lock::memory::MemoryEtcd::new());
/// # let granted = lease::grant(&client, Duration::from_secs(60)).await?;
/// let renewed = lease::keep_alive_once(&client, granted.id).await?;
/// assert_eq!(renewed.ttl, Some(granted.ttl));
///
/// // One that is gone is no error.
/// lease::revoke(&client, granted.id).await?;
/// assert_eq!(lease::keep_alive_once(&client, granted.id).await?.ttl, None);
/// # Ok(())
/// # }
/// ```
///
/// # Errors
/// `Timeout`, and those of [every call](etcd_lock_core::ErrorKind#every-call). A lease that doesn't exist is no error: its
/// [`ttl`](LeaseKeepAliveResponse::ttl) is `None`.
///
/// # Cancel safety
/// When dropped, the lease may or may not have been renewed.
pub async fn keep_alive_once(
    ctx: impl Into<Context>,
    lease: LeaseId,
) -> Result<LeaseKeepAliveResponse> {
    let ctx = ctx.into();
    renew(
        &**ctx.client()?.transport(),
        lease,
        ctx.timeout().checked()?,
    )
    .await
}

pub(crate) async fn renew(
    transport: &dyn Transport,
    lease: LeaseId,
    timeout: Timeout,
) -> Result<LeaseKeepAliveResponse> {
    // The request side must stay open until the reply is there.
    let requests = tokio_stream::once(lease).chain(tokio_stream::pending());
    let mut replies = transport.lease_keep_alive(Box::pin(requests));
    let reply = async {
        let ended = || Error::new(ErrorKind::Unavailable, "the keep-alive stream ended");
        replies.next().await.unwrap_or_else(|| Err(ended()))
    };
    match timeout {
        Timeout::Infinity => reply.await,
        Timeout::After(bound) => tokio::time::timeout(bound, reply)
            .await
            .unwrap_or_else(|_| {
                let text = format!("no answer to a keep-alive within {bound:?}");
                Err(Error::new(ErrorKind::Timeout, text))
            }),
    }
}
