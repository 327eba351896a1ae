//! A lock for tasks.

use std::sync::Arc;

use bytes::Bytes;
use etcd_lock_core::{CallOptions, Error, ErrorKind, LockName, LockRequest, Result, Timeout};
use tracing::field::{Empty, display};
use tracing::{Instrument, Span, debug_span};

use crate::grant::{Grant, Held, release_unclaimed};
use crate::guard::LockGuard;
use crate::local::{Local, Turn};
use crate::{Session, metrics};

/// A lock on etcd, for the tasks of one session.
///
/// Tasks of one session wait for one lock in a queue of their own, first come, first served; one of them waits in etcd's.
/// A lock that is released while others of the session wait is handed on without asking etcd, a limited number of times
/// in a row where other processes wait, too
/// ([`SessionOptions::with_handover_limit`](crate::SessionOptions::with_handover_limit)). Every grant has a greater
/// [`FencingToken`](crate::FencingToken).
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
    name: LockName,
    local: Arc<Local>,
}

impl Mutex {
    /// The lock of this name. Nothing is sent yet.
    ///
    /// # Errors
    /// `InvalidArgument` when the name is empty or too long.
    pub fn new(session: &Session, name: impl Into<Bytes>) -> Result<Self> {
        let name = LockName::new(name)?;
        Ok(Self {
            session: session.clone(),
            local: session.local(&name),
            name,
        })
    }

    /// The lock's name.
    #[must_use]
    pub const fn name(&self) -> &LockName {
        &self.name
    }

    /// Waits until the lock is held, for as long as it takes. The guard borrows nothing: it may be stored, and sent to
    /// other tasks.
    ///
    /// # Errors
    /// `Lost`, `LeaseNotFound` or `Closed` when the session ends before or during the wait, and the rest as their kinds say.
    ///
    /// # Cancel safety
    /// When dropped, the place in the queue is withdrawn in the background.
    #[doc(alias = "lock_owned")]
    pub async fn lock(&self) -> Result<LockGuard> {
        let seen = Observed::begin(self);
        let result = self.wait().instrument(seen.span.clone()).await;
        seen.end(result)
    }

    /// Waits until the lock is held, for a limited time.
    ///
    /// # Errors
    /// `Timeout` when the time ran out, else as [`lock`](Self::lock).
    ///
    /// # Cancel safety
    /// As [`lock`](Self::lock).
    pub async fn lock_timeout(&self, timeout: impl Into<Timeout>) -> Result<LockGuard> {
        let Timeout::After(bound) = timeout.into().checked()? else {
            return self.lock().await;
        };
        let seen = Observed::begin(self);
        let wait = self.wait().instrument(seen.span.clone());
        let late = |_| {
            let text = format!("the lock was not free within {bound:?}");
            Err(Error::new(ErrorKind::Timeout, text))
        };
        let result = tokio::time::timeout(bound, wait).await;
        seen.end(result.unwrap_or_else(late))
    }

    /// Takes the lock if nobody has it and nobody waits for it.
    ///
    /// # Errors
    /// `Busy` when somebody does, else as [`lock`](Self::lock).
    ///
    /// # Cancel safety
    /// As [`lock`](Self::lock).
    pub async fn try_lock(&self) -> Result<LockGuard> {
        let seen = Observed::begin(self);
        let result = self.take_now().instrument(seen.span.clone()).await;
        seen.end(result)
    }

    async fn take_now(&self) -> Result<LockGuard> {
        let busy = || Error::new(ErrorKind::Busy, "another task of this session has the lock");
        let turn = self.local.clone().turn_now();
        self.session.check()?;
        let turn = turn.ok_or_else(busy)?;
        if let Some(grant) = whole(turn.take_left()) {
            return Ok(self.guard(turn, grant));
        }
        let call = CallOptions::default();
        let reply = self.session.queue().try_lock(self.request(), call).await?;
        Ok(self.guard(turn, Grant::new(&self.session, reply)))
    }

    async fn wait(&self) -> Result<LockGuard> {
        let waiting = Waiting::new(self);
        let turn = self.local.clone().turn().await;
        self.session.check()?;
        let over = || Error::new(ErrorKind::Closed, "the runtime of the session has ended");
        let turn = turn.ok_or_else(over)?;
        let left = turn.take_left();
        drop(waiting);
        match whole(left) {
            Some(grant) => Ok(self.guard(turn, grant)),
            // In a box, so that a task that waits for its turn costs little.
            None => Box::pin(self.ask(turn)).await,
        }
    }

    /// Waits in etcd's queue. Without its session that leads nowhere, and the server that would say so may be out of
    /// reach.
    async fn ask(&self, turn: Turn) -> Result<LockGuard> {
        let reply = tokio::select! {
            biased;
            error = self.session.lost() => return Err(error),
            reply = self.session.enqueue(self.request()) => reply?,
        };
        let guard = self.guard(turn, Grant::new(&self.session, reply));
        // What this process passes on itself says nothing of our own lease.
        self.session.check()?;
        Ok(guard)
    }

    fn guard(&self, turn: Turn, grant: Box<Grant>) -> LockGuard {
        LockGuard::new(Held {
            session: self.session.clone(),
            turn,
            grant,
        })
    }

    fn request(&self) -> LockRequest {
        LockRequest::new(self.name.clone(), self.session.lease())
            .with_value(self.session.entry_value())
    }
}

/// A grant that was left is used as long as nothing was seen that ended it.
fn whole(left: Option<Box<Grant>>) -> Option<Box<Grant>> {
    left.filter(|grant| grant.is_whole())
}

/// A wait within a span, and counted.
struct Observed {
    span: Span,
    counted: metrics::Wait,
}

impl Observed {
    fn begin(mutex: &Mutex) -> Self {
        let span = debug_span!(
            "lock.acquire",
            lock.name = %mutex.name,
            lease.id = %mutex.session.lease(),
            lock.token = Empty,
        );
        Self {
            span,
            counted: metrics::Wait::begin(),
        }
    }

    fn end(self, result: Result<LockGuard>) -> Result<LockGuard> {
        if let Ok(guard) = &result {
            self.span.record("lock.token", display(guard.token()));
        }
        self.counted.end(&result);
        result
    }
}

/// Counts a waiting task, and releases a grant that was left for it when it gives up.
struct Waiting<'a>(&'a Mutex);

impl<'a> Waiting<'a> {
    fn new(mutex: &'a Mutex) -> Self {
        mutex.local.join();
        Self(mutex)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        let Mutex { session, local, .. } = self.0;
        if local.leave() {
            let (session, local) = (session.clone(), local.clone());
            session
                .runtime()
                .clone()
                .spawn(async move { release_unclaimed(&session, local).await });
        }
    }
}
