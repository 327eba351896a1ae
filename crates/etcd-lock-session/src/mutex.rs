//! A lock for tasks.

use std::time::Duration;

use bytes::Bytes;
use etcd_lock_core::{LockName, Result, Timeout};
use etcd_lock_queue::Mode;
use tracing::field::{Empty, display};
use tracing::{Instrument, Span, debug_span};

use crate::guard::LockGuard;
use crate::queue::{Caller, Kind, Lock, Refusal};
use crate::waiter::Waiter;
use crate::{Session, metrics};

/// A lock on etcd, for the tasks of one session.
///
/// Tasks of one session wait for one lock in a queue of their own, first come, first served, and the session has one entry
/// in etcd's. A lock that is released while others of the session wait is handed over without asking etcd, a limited number
/// of times in a row where other processes wait, too
/// ([`SessionOptions::with_handover_limit`](crate::SessionOptions::with_handover_limit)). Every grant has a greater
/// [`FencingToken`](etcd_lock_core::FencingToken).
///
/// ```
/// # use std::time::Duration;
/// # use etcd_lock_core::Client;
/// # use etcd_lock_memory::MemoryEtcd;
/// # use etcd_lock_session::{Mutex, Session};
/// # #[tokio::main(flavor = "current_thread", start_paused = true)]
/// # async fn main() -> Result<(), etcd_lock_core::Error> {
/// let session = Session::open(&Client::new(MemoryEtcd::new()), Duration::from_secs(10)).await?;
/// let mutex = Mutex::new(&session, "report")?;
/// let guard = mutex.lock().await?;
/// assert!(guard.is_held());
/// guard.unlock().await?;
/// session.close().await
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct Mutex {
    session: Session,
    lock: Lock,
}

impl Mutex {
    /// The lock of this name. Nothing is sent yet.
    ///
    /// # Errors
    /// `InvalidArgument` when the name is empty or too long.
    pub fn new(session: &Session, name: impl Into<Bytes>) -> Result<Self> {
        Ok(Self {
            session: session.clone(),
            lock: session.queue().inner().lock(&LockName::new(name)?),
        })
    }

    /// The lock's name.
    #[must_use]
    pub fn name(&self) -> &LockName {
        self.lock.name()
    }

    /// Waits until the lock is held, for as long as it takes. The guard borrows nothing: it may be stored, and sent to
    /// other tasks.
    ///
    /// While no server can be reached this waits, too, until the session is lost.
    ///
    /// # Errors
    /// `Lost`, `LeaseNotFound` or `Closed` when the session ends before or during the wait, `Lost` when somebody else
    /// deletes the queue entry, and those of [every call](etcd_lock_core::ErrorKind#every-call) that a server answered.
    ///
    /// # Cancel safety
    /// When dropped, the queue entry is withdrawn in the background, unless another task of the session wants the lock.
    #[doc(alias = "lock_owned")]
    pub async fn lock(&self) -> Result<LockGuard> {
        let seen = Observed::begin(self);
        let result = self
            .wait(Mode::Wait, None)
            .instrument(seen.span.clone())
            .await;
        seen.end(result)
    }

    /// Waits until the lock is held, for a limited time.
    ///
    /// # Errors
    /// `LockTimeout` when somebody else had the lock all the while. `Timeout`, `Unavailable` or what else the last request
    /// failed with when etcd did not answer. Else as [`lock`](Self::lock).
    ///
    /// # Cancel safety
    /// As [`lock`](Self::lock).
    pub async fn lock_timeout(&self, timeout: impl Into<Timeout>) -> Result<LockGuard> {
        let bound = match timeout.into().checked()? {
            Timeout::After(bound) => Some(bound),
            Timeout::Infinity => None,
        };
        let seen = Observed::begin(self);
        let result = self
            .wait(Mode::Wait, bound)
            .instrument(seen.span.clone())
            .await;
        seen.end(result)
    }

    /// Takes the lock if nobody has it and nobody waits for it.
    ///
    /// # Errors
    /// `Busy` when somebody does, what the first request fails with, else as [`lock`](Self::lock).
    ///
    /// # Cancel safety
    /// As [`lock`](Self::lock).
    pub async fn try_lock(&self) -> Result<LockGuard> {
        let seen = Observed::begin(self);
        let result = self
            .wait(Mode::Try, None)
            .instrument(seen.span.clone())
            .await;
        seen.end(result)
    }

    /// Enters the queue. The waiter tells how many are before it, and becomes a guard.
    ///
    /// # Errors
    /// As [`lock`](Self::lock), where the queue can't be entered.
    ///
    /// # Cancel safety
    /// As [`lock`](Self::lock).
    ///
    /// ```
    /// # use std::time::Duration;
    /// # use etcd_lock_core::Client;
    /// # use etcd_lock_memory::MemoryEtcd;
    /// # use etcd_lock_session::{Mutex, Session};
    /// # #[tokio::main(flavor = "current_thread", start_paused = true)]
    /// # async fn main() -> Result<(), etcd_lock_core::Error> {
    /// # let client = Client::new(MemoryEtcd::new());
    /// # let ttl = Duration::from_secs(10);
    /// let (first, second) = (Session::open(&client, ttl).await?, Session::open(&client, ttl).await?);
    /// let held = Mutex::new(&first, "report")?.lock().await?;
    ///
    /// let mut waiter = Mutex::new(&second, "report")?.enqueue().await?;
    /// assert_eq!(waiter.changed().await?, 1);
    /// held.unlock().await?;
    /// let guard = waiter.granted().await?;
    /// # assert!(guard.is_held());
    /// # Ok(())
    /// # }
    /// ```
    pub async fn enqueue(&self) -> Result<Waiter> {
        let seen = Observed::begin(self);
        let caller = self.begin(Mode::Wait)?;
        Waiter::entered(self.session.clone(), caller, seen).await
    }

    async fn wait(&self, mode: Mode, bound: Option<Duration>) -> Result<LockGuard> {
        let mut caller = self.begin(mode)?;
        let granted = match bound {
            None => caller.granted().await,
            Some(bound) => match tokio::time::timeout(bound, caller.granted()).await {
                Ok(granted) => granted,
                Err(_) => return Err(caller.timed_out(Timeout::After(bound))),
            },
        };
        match granted {
            Ok(grant) => LockGuard::new(self.session.clone(), caller, grant),
            Err(refusal) => {
                if mode == Mode::Try {
                    caller.withdrawn().await;
                }
                Err(why(&self.session, refusal).await)
            }
        }
    }

    fn begin(&self, mode: Mode) -> Result<Caller> {
        let session = &self.session;
        session.check()?;
        self.lock.begin(
            session.validity(),
            Kind::Guarded(mode),
            session.limits(),
            &session.owner_data(),
            session.runtime(),
        )
    }
}

/// Why a wait has ended. The reason given for a deleted entry depends on its lease.
pub(crate) async fn why(session: &Session, refusal: Refusal) -> etcd_lock_core::Error {
    // Kept apart, so that the future of a wait stays small.
    Box::pin(session.queue().inner().why(refusal, session.lease())).await
}

/// A wait within a span, and counted.
#[derive(Debug)]
pub(crate) struct Observed {
    span: Span,
    counted: metrics::Wait,
}

impl Observed {
    fn begin(mutex: &Mutex) -> Self {
        let span = debug_span!(
            "lock.acquire",
            lock.name = %mutex.name(),
            lease.id = %mutex.session.lease(),
            lock.token = Empty,
        );
        Self {
            span,
            counted: metrics::Wait::begin(),
        }
    }

    pub(crate) fn end(self, result: Result<LockGuard>) -> Result<LockGuard> {
        if let Ok(guard) = &result {
            self.span.record("lock.token", display(guard.token()));
        }
        self.counted.end(&result);
        result
    }
}
