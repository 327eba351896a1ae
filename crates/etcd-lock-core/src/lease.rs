//! Leases: what keeps a lock's key alive. Requests, replies, and eetcd's functions over them.

use std::time::Duration;

use bytes::Bytes;

use crate::{CallOptions, Context, Error, LeaseId, ResponseHeader, Result, Ttl};

/// Grants a lease that lives for `ttl` after it was last kept alive. The server may grant more than was asked: the
/// reply says how much.
///
/// ```
/// use std::time::Duration;
///
/// use etcd_lock::lease;
/// # #[tokio::main(flavor = "current_thread", start_paused = true)]
/// # async fn main() -> Result<(), etcd_lock::Error> {
/// # let client = etcd_lock::in_memory(etcd_lock::memory::MemoryEtcd::new());
/// // The server may grant more than was asked for: the reply counts.
/// let granted = lease::grant(&client, Duration::from_secs(1)).await?;
/// assert_eq!(granted.ttl.as_secs(), 2);
/// # Ok(())
/// # }
/// ```
///
/// # Errors
/// `InvalidArgument` for a time to live outside of 1 s to [`Ttl::MAX_SECS`], and what [`Transport`](crate::Transport) calls can fail with.
///
/// # Cancel safety
/// When dropped, a lease may have been granted that nobody keeps alive: it ends after its time to live.
pub async fn grant<T>(ctx: impl Into<Context>, ttl: T) -> Result<LeaseGrantResponse>
where
    T: TryInto<Ttl>,
    Error: From<T::Error>,
{
    let request = LeaseGrantRequest::new(ttl.try_into()?);
    let (client, options) = ctx.into().call()?;
    client.transport().lease_grant(request, options).await
}

/// Ends a lease: all keys attached to it are deleted, locks held with it are released.
///
/// ```
/// use etcd_lock::{ErrorKind, lease, lock_with};
/// # use std::time::Duration;
/// # #[tokio::main(flavor = "current_thread", start_paused = true)]
/// # async fn main() -> Result<(), etcd_lock::Error> {
/// # let client = etcd_lock::in_memory(etcd_lock::memory::MemoryEtcd::new());
/// # let mine = lease::grant(&client, Duration::from_secs(60)).await?.id;
/// # let yours = lease::grant(&client, Duration::from_secs(60)).await?.id;
/// lock_with(&client, "report", yours).await?;
/// lease::revoke(&client, yours).await?;
/// // The lock is free.
/// lock_with(&client, "report", mine).await?;
///
/// let error = lease::revoke(&client, yours).await.unwrap_err();
/// assert_eq!(error.kind(), ErrorKind::LeaseNotFound);
/// # Ok(())
/// # }
/// ```
///
/// # Errors
/// `LeaseNotFound` when there is no such lease, and what [`Transport`](crate::Transport) calls can fail with.
///
/// # Cancel safety
/// When dropped, the lease may or may not have been revoked; revoking again is harmless.
pub async fn revoke(ctx: impl Into<Context>, lease: LeaseId) -> Result<LeaseRevokeResponse> {
    let (client, options) = ctx.into().call()?;
    client.transport().lease_revoke(lease, options).await
}

/// Asks how long a lease still has, and which keys are attached to it.
///
/// ```
/// use etcd_lock::lease;
/// # use std::time::Duration;
/// # #[tokio::main(flavor = "current_thread", start_paused = true)]
/// # async fn main() -> Result<(), etcd_lock::Error> {
/// # let client = etcd_lock::in_memory(etcd_lock::memory::MemoryEtcd::new());
/// # let granted = lease::grant(&client, Duration::from_secs(60)).await?;
/// tokio::time::sleep(Duration::from_secs(20)).await;
/// let left = lease::time_to_live(&client, granted.id).await?;
/// assert_eq!(left.remaining, Some(Duration::from_secs(40)));
/// # Ok(())
/// # }
/// ```
///
/// # Errors
/// The errors of [`Transport`](crate::Transport) calls. A lease that doesn't exist is no error:
/// its [`remaining`](LeaseTimeToLiveResponse::remaining) is `None`.
///
/// # Cancel safety
/// Nothing is left behind.
pub async fn time_to_live(
    ctx: impl Into<Context>,
    lease: LeaseId,
) -> Result<LeaseTimeToLiveResponse> {
    let (client, options) = ctx.into().call()?;
    let request = LeaseTimeToLiveRequest::new(lease).with_keys();
    client
        .transport()
        .lease_time_to_live(request, options)
        .await
}

/// Lists the leases that the answering member knows: possibly stale, as in etcd.
///
/// ```
/// use etcd_lock::lease;
/// # use std::time::Duration;
/// # #[tokio::main(flavor = "current_thread", start_paused = true)]
/// # async fn main() -> Result<(), etcd_lock::Error> {
/// # let client = etcd_lock::in_memory(etcd_lock::memory::MemoryEtcd::new());
/// # let granted = lease::grant(&client, Duration::from_secs(60)).await?;
/// assert_eq!(lease::leases(&client).await?.leases, [granted.id]);
/// # Ok(())
/// # }
/// ```
///
/// # Errors
/// The errors of [`Transport`](crate::Transport) calls.
///
/// # Cancel safety
/// Nothing is left behind.
pub async fn leases(ctx: impl Into<Context>) -> Result<LeaseLeasesResponse> {
    let (client, options) = ctx.into().call()?;
    client.transport().lease_leases(options).await
}

/// Asks for a lease.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct LeaseGrantRequest {
    /// How long it is to live.
    pub ttl: Ttl,
    /// Its number, or `None` to let the server pick one. A number of our own makes the request repeatable.
    pub id: Option<LeaseId>,
}

impl LeaseGrantRequest {
    /// A lease whose number the server picks.
    #[must_use]
    pub const fn new(ttl: Ttl) -> Self {
        Self { ttl, id: None }
    }

    /// The same with a number of our own.
    #[must_use]
    pub const fn with_id(mut self, id: LeaseId) -> Self {
        self.id = Some(id);
        self
    }
}

/// A lease was granted.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct LeaseGrantResponse {
    /// The member that answered, and its revision.
    pub header: ResponseHeader,
    /// The lease.
    pub id: LeaseId,
    /// How long it lives without being kept alive.
    pub ttl: Ttl,
}

impl LeaseGrantResponse {
    /// A granted lease.
    #[must_use]
    pub const fn new(header: ResponseHeader, id: LeaseId, ttl: Ttl) -> Self {
        Self { header, id, ttl }
    }
}

/// A lease was revoked.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct LeaseRevokeResponse {
    /// The member that answered, and its revision.
    pub header: ResponseHeader,
}

impl LeaseRevokeResponse {
    /// A revoked lease.
    #[must_use]
    pub const fn new(header: ResponseHeader) -> Self {
        Self { header }
    }
}

/// Asks how a lease is doing.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct LeaseTimeToLiveRequest {
    /// Which lease.
    pub id: LeaseId,
    /// Whether the keys attached to it are wanted, too.
    pub keys: bool,
}

impl LeaseTimeToLiveRequest {
    /// Asks for the time alone.
    #[must_use]
    pub const fn new(id: LeaseId) -> Self {
        Self { id, keys: false }
    }

    /// Asks for the attached keys, too.
    #[must_use]
    pub const fn with_keys(mut self) -> Self {
        self.keys = true;
        self
    }
}

/// How a lease is doing.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct LeaseTimeToLiveResponse {
    /// The member that answered, and its revision.
    pub header: ResponseHeader,
    /// Which lease.
    pub id: LeaseId,
    /// The time left, in whole seconds, rounded down (zero may still be alive), or `None` where there is no such lease.
    pub remaining: Option<Duration>,
    /// The time to live that was granted, or `None` where there is no such lease.
    pub granted: Option<Ttl>,
    /// The keys attached to it, where they were asked for.
    pub keys: Vec<Bytes>,
}

impl LeaseTimeToLiveResponse {
    /// A lease's state.
    #[must_use]
    pub const fn new(
        header: ResponseHeader,
        id: LeaseId,
        remaining: Option<Duration>,
        granted: Option<Ttl>,
        keys: Vec<Bytes>,
    ) -> Self {
        Self {
            header,
            id,
            remaining,
            granted,
            keys,
        }
    }
}

/// The leases of a member.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct LeaseLeasesResponse {
    /// The member that answered, and its revision.
    pub header: ResponseHeader,
    /// Their numbers, in no particular order. One that another client chose below 1 is left out.
    pub leases: Vec<LeaseId>,
}

impl LeaseLeasesResponse {
    /// A list of leases.
    #[must_use]
    pub const fn new(header: ResponseHeader, leases: Vec<LeaseId>) -> Self {
        Self { header, leases }
    }
}

/// The answer to one keep-alive.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct LeaseKeepAliveResponse {
    /// The member that answered, and its revision.
    pub header: ResponseHeader,
    /// Which lease.
    pub id: LeaseId,
    /// Its full time to live, counted anew, or `None` where the lease is gone.
    pub ttl: Option<Ttl>,
}

impl LeaseKeepAliveResponse {
    /// An answer.
    #[must_use]
    pub const fn new(header: ResponseHeader, id: LeaseId, ttl: Option<Ttl>) -> Self {
        Self { header, id, ttl }
    }
}

impl Context {
    fn call(&self) -> Result<(crate::Client, CallOptions)> {
        // As everywhere: what can't be right is said before anything is looked up.
        let options = CallOptions::new(self.timeout().checked()?);
        Ok((self.client()?, options))
    }
}
