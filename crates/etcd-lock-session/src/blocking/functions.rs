//! eetcd's functions.

use bytes::Bytes;
use etcd_lock_core::{Context, FencingToken, LockResponse, Result, UnlockResponse};

use super::runtime::wait;
use crate::QueueView;

/// Waits for the lock that a context describes.
///
/// # Errors
/// As the [async one](Context::lock).
pub fn lock(ctx: impl Into<Context>) -> Result<LockResponse> {
    let ctx = ctx.into();
    wait(async move { ctx.lock().await })
}

/// Takes the lock that a context describes if it is free.
///
/// # Errors
/// As the [async one](Context::try_lock).
pub fn try_lock(ctx: impl Into<Context>) -> Result<LockResponse> {
    let ctx = ctx.into();
    wait(async move { ctx.try_lock().await })
}

/// Waits for a lock by name and lease.
///
/// # Errors
/// As the [async one](etcd_lock_core::lock_with).
pub fn lock_with(
    ctx: impl Into<Context>,
    name: impl Into<Bytes>,
    lease: impl Into<i64>,
) -> Result<LockResponse> {
    wait(etcd_lock_core::lock_with(ctx, name, lease))
}

/// Releases the lock whose key this is.
///
/// # Errors
/// As the [async one](etcd_lock_core::unlock).
pub fn unlock(ctx: impl Into<Context>, key: impl Into<Bytes>) -> Result<UnlockResponse> {
    wait(etcd_lock_core::unlock(ctx, key))
}

/// Reads who holds a lock and who waits for it.
///
/// # Errors
/// As the [async one](crate::queue()).
pub fn queue(ctx: impl Into<Context>, name: impl Into<Bytes>) -> Result<QueueView> {
    wait(crate::queue(ctx, name))
}

/// Asks etcd whether the hold with this token still has the lock.
///
/// # Errors
/// As the [async one](crate::verify).
pub fn verify(
    ctx: impl Into<Context>,
    name: impl Into<Bytes>,
    token: FencingToken,
) -> Result<bool> {
    wait(crate::verify(ctx, name, token))
}

pub(super) mod lease {
    use etcd_lock_core::lease::{
        LeaseGrantResponse, LeaseKeepAliveResponse, LeaseLeasesResponse, LeaseRevokeResponse,
        LeaseTimeToLiveResponse,
    };
    use etcd_lock_core::{Context, Error, LeaseId, Result, Ttl};

    use super::wait;
    use crate::blocking::Session;

    /// Keeps a lease alive until the session that this returns is dropped.
    ///
    /// # Errors
    /// As the [async one](crate::lease::keep_alive).
    pub fn keep_alive(ctx: impl Into<Context>, lease: LeaseId) -> Result<Session> {
        wait(crate::lease::keep_alive(ctx, lease)).map(Session)
    }

    /// Renews a lease once.
    ///
    /// # Errors
    /// As the [async one](crate::lease::keep_alive_once).
    pub fn keep_alive_once(
        ctx: impl Into<Context>,
        lease: LeaseId,
    ) -> Result<LeaseKeepAliveResponse> {
        wait(crate::lease::keep_alive_once(ctx, lease))
    }

    /// Grants a lease.
    ///
    /// # Errors
    /// As the [async one](etcd_lock_core::lease::grant).
    pub fn grant<T>(ctx: impl Into<Context>, ttl: T) -> Result<LeaseGrantResponse>
    where
        T: TryInto<Ttl>,
        Error: From<T::Error>,
    {
        wait(etcd_lock_core::lease::grant(ctx, ttl))
    }

    /// Ends a lease, and with it all its keys.
    ///
    /// # Errors
    /// As the [async one](etcd_lock_core::lease::revoke).
    pub fn revoke(ctx: impl Into<Context>, lease: LeaseId) -> Result<LeaseRevokeResponse> {
        wait(etcd_lock_core::lease::revoke(ctx, lease))
    }

    /// Says how long a lease will live.
    ///
    /// # Errors
    /// As the [async one](etcd_lock_core::lease::time_to_live).
    pub fn time_to_live(
        ctx: impl Into<Context>,
        lease: LeaseId,
    ) -> Result<LeaseTimeToLiveResponse> {
        wait(etcd_lock_core::lease::time_to_live(ctx, lease))
    }

    /// Lists all leases.
    ///
    /// # Errors
    /// As the [async one](etcd_lock_core::lease::leases).
    pub fn leases(ctx: impl Into<Context>) -> Result<LeaseLeasesResponse> {
        wait(etcd_lock_core::lease::leases(ctx))
    }
}
