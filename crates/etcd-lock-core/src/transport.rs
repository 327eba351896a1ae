//! The transport of requests to an etcd, real or not.

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;

use async_trait::async_trait;
use futures_core::Stream;

use crate::kv::{RangeRequest, RangeResponse, TxnRequest, TxnResponse};
use crate::lease::{
    LeaseGrantRequest, LeaseGrantResponse, LeaseKeepAliveResponse, LeaseLeasesResponse,
    LeaseRevokeResponse, LeaseTimeToLiveRequest, LeaseTimeToLiveResponse,
};
use crate::watch::{WatchRequest, WatchResponse};
use crate::{
    Error, ErrorKind, LeaseId, LockRequest, LockResponse, Result, Timeout, UnlockRequest,
    UnlockResponse,
};

/// A stream that can be stored and sent anywhere.
pub type BoxStream<T> = Pin<Box<dyn Stream<Item = T> + Send>>;

/// How one call is to be made.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
#[non_exhaustive]
pub struct CallOptions {
    /// How long it may take, counted from when it is first polled. 9 s by default.
    pub timeout: Timeout,
}

impl CallOptions {
    /// Options with this timeout.
    #[must_use]
    pub const fn new(timeout: Timeout) -> Self {
        Self { timeout }
    }
}

impl From<Timeout> for CallOptions {
    fn from(timeout: Timeout) -> Self {
        Self::new(timeout)
    }
}

/// Carries requests to an etcd: one method for each RPC that locks need.
///
/// This is for those who write transports and decorators; programs use [`Context`](crate::Context) or a session.
///
/// # Contract
/// - A call MUST end within its timeout, with kind [`Timeout`](crate::ErrorKind::Timeout) when nothing else is known,
///   and [`LockTimeout`](crate::ErrorKind::LockTimeout) only when somebody else is known to have had the lock.
///   It MUST NOT block the thread.
/// - An error of a call that may have been executed MUST say so:
///   [`Error::is_outcome_unknown`](crate::Error::is_outcome_unknown). Only a call whose repetition can do no harm may be
///   sent twice.
/// - [`lock`](Self::lock) MUST answer `Ok` only while the key exists with the create revision that it returns and no
///   older entry stands in the queue. However it ends without `Ok` (error, timeout, or its future dropped), it MUST
///   remove the queue entry that it made as soon as a server can be reached, and no entry but that one.
/// - [`unlock`](Self::unlock) with a create revision MUST leave a key alone that was created at another one.
/// - A stream is opened when it is first polled. It ends after its first error. One that ends without an error is
///   broken, too: only the caller ends a stream, by dropping it. Its request stream MUST be kept for as long.
/// - A method that a later version adds has a body that answers [`Unsupported`](crate::ErrorKind::Unsupported), as
///   [`try_lock`](Self::try_lock) has: a transport can always be built with that version. A decorator MUST pass on every
///   method that what it decorates may answer.
/// - Clones of a handle share one transport: all methods MUST be safe to call at once, and waiting calls MUST NOT keep
///   others from getting through.
#[async_trait]
pub trait Transport: fmt::Debug + Send + Sync + 'static {
    /// Waits until the lock is held.
    ///
    /// # Errors
    /// `LeaseNotFound` when the lease does not exist or ends during the wait, `Lost` when somebody else deletes the queue
    /// entry, `LockTimeout` when the lock is not granted in time, and those of [every call](crate::ErrorKind#every-call).
    ///
    /// # Cancel safety
    /// When dropped, the queue entry is withdrawn in the background.
    async fn lock(&self, request: LockRequest, options: CallOptions) -> Result<LockResponse>;

    /// Takes the lock if nobody holds it and nobody waits for it. What [`lock`](Self::lock) promises is promised here, too.
    ///
    /// # Errors
    /// `Busy` when the queue has an older entry, `Unsupported` where the transport can't tell, which is the default; else as
    /// [`lock`](Self::lock).
    ///
    /// # Cancel safety
    /// When dropped, the queue entry is withdrawn in the background.
    async fn try_lock(&self, request: LockRequest, options: CallOptions) -> Result<LockResponse> {
        let _ = (request, options);
        Err(unsupported("try_lock"))
    }

    /// Releases a lock. A key that isn't there is no error.
    ///
    /// # Errors
    /// When the key can't be shown to be gone.
    ///
    /// # Cancel safety
    /// When dropped, the lock may or may not have been released.
    async fn unlock(&self, request: UnlockRequest, options: CallOptions) -> Result<UnlockResponse>;

    /// Reads keys.
    ///
    /// # Errors
    /// Those of [every call](crate::ErrorKind#every-call), never with an unknown outcome.
    ///
    /// # Cancel safety
    /// Nothing is left behind.
    async fn range(&self, request: RangeRequest, options: CallOptions) -> Result<RangeResponse>;

    /// Runs a transaction, never twice.
    ///
    /// # Errors
    /// Those of [every call](crate::ErrorKind#every-call). [`TxnRequest::idempotent`] lets a transport
    /// repeat it where the outcome is unknown.
    ///
    /// # Cancel safety
    /// When dropped, the transaction may or may not have been executed.
    async fn txn(&self, request: TxnRequest, options: CallOptions) -> Result<TxnResponse>;

    /// Grants a lease.
    ///
    /// # Errors
    /// `InvalidArgument` when the number is taken or the time to live too long, and those of
    /// [every call](crate::ErrorKind#every-call).
    ///
    /// # Cancel safety
    /// When dropped, a lease may have been granted.
    async fn lease_grant(
        &self,
        request: LeaseGrantRequest,
        options: CallOptions,
    ) -> Result<LeaseGrantResponse>;

    /// Revokes a lease: its keys are deleted in one revision.
    ///
    /// # Errors
    /// `LeaseNotFound` when it does not exist, and those of [every call](crate::ErrorKind#every-call).
    ///
    /// # Cancel safety
    /// When dropped, the lease may or may not have been revoked.
    async fn lease_revoke(
        &self,
        lease: LeaseId,
        options: CallOptions,
    ) -> Result<LeaseRevokeResponse>;

    /// Asks how a lease is doing.
    ///
    /// # Errors
    /// Those of [every call](crate::ErrorKind#every-call). A lease that does not exist is no error.
    ///
    /// # Cancel safety
    /// Nothing is left behind.
    async fn lease_time_to_live(
        &self,
        request: LeaseTimeToLiveRequest,
        options: CallOptions,
    ) -> Result<LeaseTimeToLiveResponse>;

    /// Lists leases.
    ///
    /// # Errors
    /// Those of [every call](crate::ErrorKind#every-call).
    ///
    /// # Cancel safety
    /// Nothing is left behind.
    async fn lease_leases(&self, options: CallOptions) -> Result<LeaseLeasesResponse>;

    /// Keeps leases alive: each item of `leases` renews one, each is answered in order.
    fn lease_keep_alive(
        &self,
        leases: BoxStream<LeaseId>,
    ) -> BoxStream<Result<LeaseKeepAliveResponse>>;

    /// Watches keys: any number of watches on one stream.
    fn watch(&self, requests: BoxStream<WatchRequest>) -> BoxStream<Result<WatchResponse>>;
}

#[async_trait]
impl<T: Transport + ?Sized> Transport for Arc<T> {
    async fn lock(&self, request: LockRequest, options: CallOptions) -> Result<LockResponse> {
        self.as_ref().lock(request, options).await
    }

    async fn try_lock(&self, request: LockRequest, options: CallOptions) -> Result<LockResponse> {
        self.as_ref().try_lock(request, options).await
    }

    async fn unlock(&self, request: UnlockRequest, options: CallOptions) -> Result<UnlockResponse> {
        self.as_ref().unlock(request, options).await
    }

    async fn range(&self, request: RangeRequest, options: CallOptions) -> Result<RangeResponse> {
        self.as_ref().range(request, options).await
    }

    async fn txn(&self, request: TxnRequest, options: CallOptions) -> Result<TxnResponse> {
        self.as_ref().txn(request, options).await
    }

    async fn lease_grant(
        &self,
        request: LeaseGrantRequest,
        options: CallOptions,
    ) -> Result<LeaseGrantResponse> {
        self.as_ref().lease_grant(request, options).await
    }

    async fn lease_revoke(
        &self,
        lease: LeaseId,
        options: CallOptions,
    ) -> Result<LeaseRevokeResponse> {
        self.as_ref().lease_revoke(lease, options).await
    }

    async fn lease_time_to_live(
        &self,
        request: LeaseTimeToLiveRequest,
        options: CallOptions,
    ) -> Result<LeaseTimeToLiveResponse> {
        self.as_ref().lease_time_to_live(request, options).await
    }

    async fn lease_leases(&self, options: CallOptions) -> Result<LeaseLeasesResponse> {
        self.as_ref().lease_leases(options).await
    }

    fn lease_keep_alive(
        &self,
        leases: BoxStream<LeaseId>,
    ) -> BoxStream<Result<LeaseKeepAliveResponse>> {
        self.as_ref().lease_keep_alive(leases)
    }

    fn watch(&self, requests: BoxStream<WatchRequest>) -> BoxStream<Result<WatchResponse>> {
        self.as_ref().watch(requests)
    }
}

fn unsupported(call: &str) -> Error {
    let text = format!("the transport of this client has no {call}: a client of a queue has");
    Error::new(ErrorKind::Unsupported, text)
}

fn _dyn_safe(_: &dyn Transport) {}
