//! The request that is filled in step by step, and the eetcd-style functions over it.

use std::sync::Arc;

use bytes::Bytes;

use crate::{
    CallOptions, Client, LockRequest, LockResponse, Registry, Result, Timeout, UnlockRequest,
    UnlockResponse,
};

/// Makes a blank context for a request: on a [`Client`], on a connection's name, or from a context as it is.
///
/// ```
/// let ctx = etcd_lock_core::new("backend").with_name("report");
/// assert_eq!(etcd_lock_core::new(ctx.clone()).name(), ctx.name());
/// ```
pub fn new(connection: impl Into<Context>) -> Context {
    connection.into()
}

/// Sets the name of the lock: see [`Context::with_name`].
pub fn with_name(ctx: Context, name: impl Into<Bytes>) -> Context {
    ctx.with_name(name)
}

/// Sets the lease that will hold the lock: see [`Context::with_lease`].
pub fn with_lease(ctx: Context, lease: impl Into<i64>) -> Context {
    ctx.with_lease(lease)
}

/// Sets the key to unlock: see [`Context::with_key`].
pub fn with_key(ctx: Context, key: impl Into<Bytes>) -> Context {
    ctx.with_key(key)
}

/// Sets how long to wait: see [`Context::with_timeout`].
pub fn with_timeout(ctx: Context, timeout: impl Into<Timeout>) -> Context {
    ctx.with_timeout(timeout)
}

/// Waits until the lock is held: see [`Context::lock`].
///
/// # Errors
/// As [`Context::lock`].
///
/// # Cancel safety
/// As [`Context::lock`].
pub async fn lock(ctx: Context) -> Result<LockResponse> {
    ctx.lock().await
}

/// Takes the lock if it is free: see [`Context::try_lock`].
///
/// # Errors
/// As [`Context::try_lock`].
///
/// # Cancel safety
/// As [`Context::try_lock`].
pub async fn try_lock(ctx: Context) -> Result<LockResponse> {
    ctx.try_lock().await
}

/// Waits until the lock `name` is held with `lease`: eetcd's `lock/3`.
///
/// # Errors
/// As [`Context::lock`].
///
/// # Cancel safety
/// As [`Context::lock`].
pub async fn lock_with(
    ctx: impl Into<Context>,
    name: impl Into<Bytes>,
    lease: impl Into<i64>,
) -> Result<LockResponse> {
    ctx.into().with_name(name).with_lease(lease).lock().await
}

/// Releases the hold on a lock: see [`Context::unlock`].
///
/// # Errors
/// As [`Context::unlock`].
///
/// # Cancel safety
/// As [`Context::unlock`].
pub async fn unlock(ctx: impl Into<Context>, key: impl Into<Bytes>) -> Result<UnlockResponse> {
    ctx.into().with_key(key).unlock().await
}

/// A request in the making. An invalid value is remembered, and reported once by the call that needs it.
#[derive(Clone, Debug)]
#[must_use]
pub struct Context {
    connection: Connection,
    name: Option<Bytes>,
    lease: Option<i64>,
    key: Option<Bytes>,
    timeout: Timeout,
}

impl Context {
    /// Names the lock. Callers with one name exclude each other. Not set by default; `lock` needs it.
    pub fn with_name(mut self, name: impl Into<Bytes>) -> Self {
        self.name = Some(name.into());
        self
    }

    /// Names the lease that will hold the lock. When it expires or is revoked, the lock is released. Locking twice
    /// with one lease is a single acquisition. Not set by default; `lock` needs it.
    pub fn with_lease(mut self, lease: impl Into<i64>) -> Self {
        self.lease = Some(lease.into());
        self
    }

    /// Names the key that `lock` returned. It exists for as long as the lock is held and must not be modified. Not set
    /// by default; `unlock` needs it.
    pub fn with_key(mut self, key: impl Into<Bytes>) -> Self {
        self.key = Some(key.into());
        self
    }

    /// Bounds how long a call may take, waiting for the lock included: a duration above zero or
    /// [`Timeout::Infinity`]. 9 s by default.
    pub fn with_timeout(mut self, timeout: impl Into<Timeout>) -> Self {
        self.timeout = timeout.into();
        self
    }

    /// The name, where it is set.
    #[must_use]
    pub const fn name(&self) -> Option<&Bytes> {
        self.name.as_ref()
    }

    /// The lease, where it is set: any number, not checked yet.
    #[must_use]
    pub const fn lease(&self) -> Option<i64> {
        self.lease
    }

    /// The key, where it is set.
    #[must_use]
    pub const fn key(&self) -> Option<&Bytes> {
        self.key.as_ref()
    }

    /// How long a call may take.
    #[must_use]
    pub const fn timeout(&self) -> Timeout {
        self.timeout
    }

    /// The client that a call will use. A name is looked up in [`Registry::global`] each time.
    ///
    /// # Errors
    /// `NotOpen` when no connection of the name is open.
    pub fn client(&self) -> Result<Client> {
        match &self.connection {
            Connection::Client(client) => Ok(client.clone()),
            Connection::Named(name) => Registry::global().client(name),
        }
    }

    /// Waits until the lock is held. On success, the reply has the key that exists for as long as the lock is held:
    /// until [`unlock`](Self::unlock), or until the lease expires or is revoked.
    ///
    /// # Errors
    /// `InvalidArgument` when the name or lease is missing or can't be right, `NotOpen` for a connection name that
    /// isn't open, `LockTimeout` when somebody else had the lock all the while, `LeaseNotFound`, and
    /// those of [every call](crate::ErrorKind#every-call). The queue entry is withdrawn.
    ///
    /// # Cancel safety
    /// When dropped, the queue entry is withdrawn in the background.
    pub async fn lock(&self) -> Result<LockResponse> {
        let request = LockRequest::try_from(self)?;
        let client = self.client()?;
        client.transport().lock(request, self.options()).await
    }

    /// Takes the lock if nobody holds it and nobody waits for it. A lock that the lease holds already is granted again.
    ///
    /// # Errors
    /// `Busy` when somebody holds the lock or waits for it, `Unsupported` when the client has no queue, as one whose locks
    /// etcd takes itself; else as [`lock`](Self::lock). An error says nothing of the lock unless its kind is `Busy`.
    ///
    /// # Cancel safety
    /// When dropped, the queue entry is withdrawn in the background.
    pub async fn try_lock(&self) -> Result<LockResponse> {
        let request = LockRequest::try_from(self)?;
        let client = self.client()?;
        client.transport().try_lock(request, self.options()).await
    }

    /// Releases the hold that the key stands for. The next waiter is then granted the lock. A key that isn't there
    /// any more is no error.
    ///
    /// # Errors
    /// `InvalidArgument` when the key is missing or empty, `NotOpen` for a connection name that isn't open, and
    /// those of [every call](crate::ErrorKind#every-call).
    ///
    /// # Cancel safety
    /// When dropped, the lock may or may not have been released; releasing again is harmless.
    pub async fn unlock(&self) -> Result<UnlockResponse> {
        let request = UnlockRequest::try_from(self)?;
        let client = self.client()?;
        client.transport().unlock(request, self.options()).await
    }

    fn options(&self) -> CallOptions {
        CallOptions::new(self.timeout)
    }

    const fn on(connection: Connection) -> Self {
        Self {
            connection,
            name: None,
            lease: None,
            key: None,
            timeout: Timeout::DEFAULT,
        }
    }
}

impl From<&str> for Context {
    fn from(name: &str) -> Self {
        Self::on(Connection::Named(name.into()))
    }
}

impl From<String> for Context {
    fn from(name: String) -> Self {
        Self::on(Connection::Named(name.into()))
    }
}

impl From<Client> for Context {
    fn from(client: Client) -> Self {
        Self::on(Connection::Client(client))
    }
}

impl From<&Client> for Context {
    fn from(client: &Client) -> Self {
        client.clone().into()
    }
}

impl From<&Self> for Context {
    fn from(ctx: &Self) -> Self {
        ctx.clone()
    }
}

#[derive(Clone, Debug)]
enum Connection {
    Client(Client),
    Named(Arc<str>),
}
