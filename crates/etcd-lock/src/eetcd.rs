//! eetcd's functions for requests, and `try_lock` beside them, each with an example.

/// Begins a request: on a client, on a connection's name, or from a request as it is.
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
#[doc(inline)]
pub use etcd_lock_core::new;

/// Names the lock.
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
#[doc(inline)]
pub use etcd_lock_core::with_name;

/// Names the lease that will hold the lock.
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
#[doc(inline)]
pub use etcd_lock_core::with_lease;

/// Names the key to unlock.
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
#[doc(inline)]
pub use etcd_lock_core::with_key;

/// Bounds how long a call may take: 9 s unless told otherwise.
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
#[doc(inline)]
pub use etcd_lock_core::with_timeout;

/// Waits until the lock of a request is held.
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
#[doc(inline)]
pub use etcd_lock_core::lock;

/// Takes the lock of a request if it is free, which eetcd has no function for.
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
#[doc(inline)]
pub use etcd_lock_core::try_lock;

/// Waits until a lock is held: eetcd's `lock/3`.
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
#[doc(inline)]
pub use etcd_lock_core::lock_with;

/// Releases a lock by its key.
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
#[doc(inline)]
pub use etcd_lock_core::unlock;
