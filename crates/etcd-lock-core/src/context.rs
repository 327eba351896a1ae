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
/// use std::time::Duration;
///
/// use etcd_lock::{Registry, new};
///
/// # let client = etcd_lock::in_memory(etcd_lock::memory::MemoryEtcd::new());
/// Registry::global().open("new", client.clone())?;
/// let by_name = new("new").with_timeout(Duration::from_secs(5));
/// let by_client = new(&client);
/// assert_eq!(new(&by_name).timeout(), by_name.timeout());
/// assert_ne!(by_client.timeout(), by_name.timeout());
/// # Ok::<(), etcd_lock::Error>(())
/// ```
pub fn new(connection: impl Into<Context>) -> Context {
    connection.into()
}

/// Sets the name of the lock: see [`Context::with_name`].
///
/// ```
/// use etcd_lock::{lock, new, with_lease, with_name};
/// # use std::time::Duration;
/// # #[tokio::main(flavor = "current_thread", start_paused = true)]
/// # async fn main() -> Result<(), etcd_lock::Error> {
/// # let client = etcd_lock::in_memory(etcd_lock::memory::MemoryEtcd::new());
/// # let lease = etcd_lock::lease::grant(&client, Duration::from_secs(60)).await?.id;
/// // Any bytes but none.
/// for name in [&b"report"[..], b"jobs/nightly", b"\0\xff"] {
///     let held = lock(with_lease(with_name(new(&client), name), lease)).await?;
///     assert!(held.key.as_bytes().starts_with(name));
/// }
/// assert!(lock(with_lease(with_name(new(&client), ""), lease)).await.is_err());
/// # Ok(())
/// # }
/// ```
pub fn with_name(ctx: Context, name: impl Into<Bytes>) -> Context {
    ctx.with_name(name)
}

/// Sets the lease that will hold the lock: see [`Context::with_lease`].
///
/// ```
/// use std::time::Duration;
///
/// use etcd_lock::{ErrorKind, lease, lock, new, with_lease, with_name};
/// # #[tokio::main(flavor = "current_thread", start_paused = true)]
/// # async fn main() -> Result<(), etcd_lock::Error> {
/// # let client = etcd_lock::in_memory(etcd_lock::memory::MemoryEtcd::new());
/// let lease = lease::grant(&client, Duration::from_secs(60)).await?.id;
/// let ctx = with_lease(with_name(new(&client), "report"), lease);
/// assert_eq!(lock(ctx).await?.key.to_string(), format!("report/{lease}"));
///
/// let never_granted = with_lease(with_name(new(&client), "report"), 1);
/// assert_eq!(lock(never_granted).await.unwrap_err().kind(), ErrorKind::LeaseNotFound);
/// # Ok(())
/// # }
/// ```
pub fn with_lease(ctx: Context, lease: impl Into<i64>) -> Context {
    ctx.with_lease(lease)
}

/// Sets the key to unlock: see [`Context::with_key`].
///
/// ```
/// use etcd_lock::{lock_with, new, with_key};
/// # use std::time::Duration;
/// # #[tokio::main(flavor = "current_thread", start_paused = true)]
/// # async fn main() -> Result<(), etcd_lock::Error> {
/// # let client = etcd_lock::in_memory(etcd_lock::memory::MemoryEtcd::new());
/// # let lease = etcd_lock::lease::grant(&client, Duration::from_secs(60)).await?.id;
/// let held = lock_with(&client, "report", lease).await?;
/// with_key(new(&client), &held.key).unlock().await?;
/// # Ok(())
/// # }
/// ```
pub fn with_key(ctx: Context, key: impl Into<Bytes>) -> Context {
    ctx.with_key(key)
}

/// Sets how long to wait: see [`Context::with_timeout`].
///
/// ```
/// use std::time::Duration;
///
/// use etcd_lock::{Timeout, lock_with, new, with_timeout};
/// # #[tokio::main(flavor = "current_thread", start_paused = true)]
/// # async fn main() -> Result<(), etcd_lock::Error> {
/// # let client = etcd_lock::in_memory(etcd_lock::memory::MemoryEtcd::new());
/// # let mine = etcd_lock::lease::grant(&client, Duration::from_secs(60)).await?.id;
/// # let yours = etcd_lock::lease::grant(&client, Duration::from_secs(60)).await?.id;
/// lock_with(&client, "report", yours).await?;
///
/// let patient = with_timeout(new(&client), Duration::from_secs(2));
/// let error = lock_with(&patient, "report", mine).await.unwrap_err();
/// assert!(error.is_timeout() && error.is_busy());
///
/// // Until it is granted, or the lease ends.
/// let endless = with_timeout(patient, Timeout::Infinity);
/// # assert_eq!(endless.timeout(), Timeout::Infinity);
/// # Ok(())
/// # }
/// ```
pub fn with_timeout(ctx: Context, timeout: impl Into<Timeout>) -> Context {
    ctx.with_timeout(timeout)
}

/// Waits until the lock is held: see [`Context::lock`].
///
/// ```
/// use etcd_lock::{lock, new};
/// # use std::time::Duration;
/// # #[tokio::main(flavor = "current_thread", start_paused = true)]
/// # async fn main() -> Result<(), etcd_lock::Error> {
/// # let client = etcd_lock::in_memory(etcd_lock::memory::MemoryEtcd::new());
/// # let lease = etcd_lock::lease::grant(&client, Duration::from_secs(60)).await?.id;
/// let held = lock(new(&client).with_name("report").with_lease(lease)).await?;
/// println!("{} since revision {}", held.key, held.header.revision);
/// # Ok(())
/// # }
/// ```
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
/// ```
/// use etcd_lock::{ErrorKind, new, try_lock};
/// # use std::time::Duration;
/// # #[tokio::main(flavor = "current_thread", start_paused = true)]
/// # async fn main() -> Result<(), etcd_lock::Error> {
/// # let client = etcd_lock::in_memory(etcd_lock::memory::MemoryEtcd::new());
/// # let mine = etcd_lock::lease::grant(&client, Duration::from_secs(60)).await?.id;
/// # let yours = etcd_lock::lease::grant(&client, Duration::from_secs(60)).await?.id;
/// let ctx = new(&client).with_name("report");
/// try_lock(ctx.clone().with_lease(yours)).await?;
///
/// let error = try_lock(ctx.with_lease(mine)).await.unwrap_err();
/// assert_eq!(error.kind(), ErrorKind::Busy);
/// # Ok(())
/// # }
/// ```
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
/// ```
/// use etcd_lock::{lock_with, unlock};
/// # use std::time::Duration;
/// # #[tokio::main(flavor = "current_thread", start_paused = true)]
/// # async fn main() -> Result<(), etcd_lock::Error> {
/// # let client = etcd_lock::in_memory(etcd_lock::memory::MemoryEtcd::new());
/// # let mine = etcd_lock::lease::grant(&client, Duration::from_secs(60)).await?.id;
/// # let yours = etcd_lock::lease::grant(&client, Duration::from_secs(60)).await?.id;
/// let held = lock_with(&client, "report", yours).await?;
/// let (waited, unlocked) = tokio::join!(
///     lock_with(&client, "report", mine),
///     unlock(&client, &held.key),
/// );
/// unlocked?;
/// assert!(waited?.create_revision > held.create_revision);
/// # Ok(())
/// # }
/// ```
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
/// ```
/// use etcd_lock::{lock_with, unlock};
/// # use std::time::Duration;
/// # #[tokio::main(flavor = "current_thread", start_paused = true)]
/// # async fn main() -> Result<(), etcd_lock::Error> {
/// # let client = etcd_lock::in_memory(etcd_lock::memory::MemoryEtcd::new());
/// # let lease = etcd_lock::lease::grant(&client, Duration::from_secs(60)).await?.id;
/// let held = lock_with(&client, "report", lease).await?;
/// unlock(&client, &held.key).await?;
/// // Once more does no harm.
/// unlock(&client, &held.key).await?;
/// # Ok(())
/// # }
/// ```
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
