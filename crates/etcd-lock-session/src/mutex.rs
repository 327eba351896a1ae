//! A lock for tasks.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};

use bytes::Bytes;
use etcd_lock_core::kv::RangeRequest;
use etcd_lock_core::{
    CallOptions, Error, ErrorKind, LockKey, LockName, LockRequest, LockResponse, Result, Revision,
    Timeout, Transport, UnlockRequest,
};
use futures_util::FutureExt;
use tokio::sync::{Mutex as AsyncMutex, OwnedMutexGuard};
use tokio::task::JoinHandle;
use tracing::field::{Empty, display};
use tracing::{Instrument, debug_span};

use crate::backoff::Backoff;
use crate::guard::LockGuard;
use crate::watches::Follower;
use crate::{FencingToken, Session, metrics};

/// A lock on etcd, for the tasks of one session.
///
/// Tasks of one session wait for one lock in a queue of their own, first come, first served; one of them waits in etcd's.
/// A lock that is released while others of the session wait is handed on without asking etcd, a limited number of times
/// in a row where other processes wait, too
/// ([`SessionOptions::with_handover_limit`](crate::SessionOptions::with_handover_limit)). Every grant has a greater
/// [`FencingToken`].
///
/// ```
/// # use std::time::Duration;
/// # use etcd_lock_memory::MemoryEtcd;
/// # use etcd_lock_session::{Mutex, Session};
/// # #[tokio::main(flavor = "current_thread", start_paused = true)]
/// # async fn main() -> Result<(), etcd_lock_core::Error> {
/// let session = Session::open(&MemoryEtcd::new().client(), Duration::from_secs(10)).await?;
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
        self.lock_timeout(Timeout::Infinity).await
    }

    /// Waits until the lock is held, for a limited time.
    ///
    /// # Errors
    /// `Timeout` when the time ran out, else as [`lock`](Self::lock).
    ///
    /// # Cancel safety
    /// As [`lock`](Self::lock).
    pub async fn lock_timeout(&self, timeout: impl Into<Timeout>) -> Result<LockGuard> {
        match timeout.into().checked()? {
            Timeout::Infinity => self.observed(self.wait_while_alive()).await,
            Timeout::After(bound) => {
                let wait = tokio::time::timeout(bound, self.wait_while_alive());
                let late = |_| {
                    let text = format!("the lock was not free within {bound:?}");
                    Err(Error::new(ErrorKind::Timeout, text))
                };
                self.observed(wait.map(|result| result.unwrap_or_else(late)))
                    .await
            }
        }
    }

    /// Takes the lock if nobody has it and nobody waits for it.
    ///
    /// # Errors
    /// `Busy` when somebody does, else as [`lock`](Self::lock).
    ///
    /// # Cancel safety
    /// As [`lock`](Self::lock).
    pub async fn try_lock(&self) -> Result<LockGuard> {
        self.observed(self.try_wait()).await
    }

    /// Waits within a span, and counts the wait.
    async fn observed(&self, wait: impl Future<Output = Result<LockGuard>>) -> Result<LockGuard> {
        let span = debug_span!(
            "lock.acquire",
            lock.name = %self.name,
            lease.id = %self.session.lease(),
            lock.token = Empty,
        );
        let counted = metrics::Wait::begin();
        let result = wait.instrument(span.clone()).await;
        if let Ok(guard) = &result {
            span.record("lock.token", display(guard.token()));
        }
        counted.end(&result);
        result
    }

    async fn try_wait(&self) -> Result<LockGuard> {
        self.session.check()?;
        let busy = || Error::new(ErrorKind::Busy, "another task of this session has the lock");
        let slot = self
            .local
            .slot
            .clone()
            .try_lock_owned()
            .map_err(|_| busy())?;
        let mut turn = Turn {
            mutex: self,
            slot: Some(slot),
        };
        let request = self.request();
        let call = CallOptions::default();
        turn.take(|| Box::pin(self.session.queue().try_lock(request, call)))
            .await
    }

    /// Without its session a wait leads nowhere, and the server that would say so may be out of reach.
    async fn wait_while_alive(&self) -> Result<LockGuard> {
        self.session.check()?;
        tokio::select! {
            biased;
            error = self.session.lost() => Err(error),
            result = self.wait() => result,
        }
    }

    async fn wait(&self) -> Result<LockGuard> {
        let waiting = Waiting::new(self);
        let slot = self.local.slot.clone().lock_owned().await;
        let mut turn = Turn {
            mutex: self,
            slot: Some(slot),
        };
        drop(waiting);
        self.session.check()?;
        turn.take(|| {
            let call = CallOptions::new(Timeout::Infinity);
            Box::pin(self.session.transport().lock(self.request(), call))
        })
        .await
    }

    fn request(&self) -> LockRequest {
        LockRequest::new(self.name.clone(), self.session.lease())
            .with_value(self.session.entry_value())
    }
}

/// What the tasks of one session share about one lock.
#[derive(Debug, Default)]
pub(crate) struct Local {
    slot: Arc<AsyncMutex<Slot>>,
    waiting: AtomicUsize,
}

/// The right of one task at a time to deal with etcd about the lock, and a grant that was left for it.
#[derive(Debug, Default)]
pub(crate) struct Slot {
    grant: Option<Grant>,
}

/// A grant of etcd's, which may be handed on between tasks.
#[derive(Debug)]
pub(crate) struct Grant {
    pub(crate) key: LockKey,
    pub(crate) created: Revision,
    pub(crate) granted_at: Revision,
    pub(crate) handovers: u64,
    pub(crate) follower: Follower,
    /// Hand-overs since nobody else was known to wait.
    in_a_row: u32,
    /// Finds out whether nobody else waits, in time for when the limit is reached.
    alone: Option<JoinHandle<bool>>,
}

impl Grant {
    pub(crate) fn token(&self) -> FencingToken {
        FencingToken::new(self.created, self.handovers)
    }

    /// Whether nothing was seen that ended it.
    pub(crate) fn is_whole(&self) -> bool {
        self.follower.news(self.key.as_bytes()).deleted <= self.created
    }
}

/// The right to hold a lock, with the task's turn among its session's.
#[derive(Debug)]
pub(crate) struct Held {
    session: Session,
    local: Arc<Local>,
    slot: OwnedMutexGuard<Slot>,
    pub(crate) grant: Grant,
}

impl Held {
    pub(crate) const fn session(&self) -> &Session {
        &self.session
    }

    /// Gives the lock to the next task of the session, or back to etcd.
    pub(crate) async fn release(self) -> Result<()> {
        let Self {
            session,
            local,
            slot,
            grant,
        } = self;
        let mut release = Release {
            session,
            local: local.clone(),
            grant: Some((grant, slot)),
        };
        if local.waiting.load(SeqCst) > 0 && release.may_hand_on().await {
            release.hand_on();
            // The last waiter may have given up just before the slot was free.
            return release_unclaimed(&release.session, &local).await;
        }
        release.finish().await
    }
}

/// A task's turn; dropping it without taking leaves the slot as it was found.
struct Turn<'a> {
    mutex: &'a Mutex,
    slot: Option<OwnedMutexGuard<Slot>>,
}

type Call<'a> = Pin<Box<dyn Future<Output = Result<LockResponse>> + Send + 'a>>;

impl Turn<'_> {
    /// Takes the grant that was left, or asks etcd.
    async fn take<'a>(&mut self, ask: impl FnOnce() -> Call<'a>) -> Result<LockGuard> {
        let left = self.slot.as_mut().and_then(|slot| slot.grant.take());
        let grant = match left {
            Some(grant) if grant.is_whole() => grant,
            _ => self.granted(ask().await?),
        };
        // A turn is taken once: the slot is there.
        let slot = self
            .slot
            .take()
            .ok_or_else(|| Error::new(ErrorKind::Closed, "the turn is over"))?;
        let Mutex { session, local, .. } = self.mutex.clone();
        Ok(LockGuard::new(Held {
            session,
            local,
            slot,
            grant,
        }))
    }

    fn granted(&self, reply: LockResponse) -> Grant {
        let follower = self.mutex.session.queue().follow(&reply.key);
        Grant {
            key: reply.key,
            created: reply.create_revision,
            granted_at: reply.header.revision,
            handovers: 0,
            follower,
            in_a_row: 0,
            alone: None,
        }
    }
}

/// Counts a waiting task, and releases a grant that was left for it when it gives up.
struct Waiting<'a>(&'a Mutex);

impl<'a> Waiting<'a> {
    fn new(mutex: &'a Mutex) -> Self {
        mutex.local.waiting.fetch_add(1, SeqCst);
        Self(mutex)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        let Mutex { session, local, .. } = self.0;
        let last = local.waiting.fetch_sub(1, SeqCst) == 1;
        if last && local.slot.try_lock().is_ok_and(|slot| slot.grant.is_some()) {
            let (session, local) = (session.clone(), local.clone());
            session
                .runtime()
                .clone()
                .spawn(async move { release_unclaimed(&session, &local).await });
        }
    }
}

/// Gives back a grant that was left for a waiter when there is none any more.
async fn release_unclaimed(session: &Session, local: &Arc<Local>) -> Result<()> {
    if local.waiting.load(SeqCst) > 0 {
        return Ok(());
    }
    let Ok(mut slot) = local.slot.clone().try_lock_owned() else {
        return Ok(());
    };
    let Some(grant) = slot.grant.take() else {
        return Ok(());
    };
    let release = Release {
        session: session.clone(),
        local: local.clone(),
        grant: Some((grant, slot)),
    };
    release.finish().await
}

/// A release under way, which is seen to its end in the background when it fails or is dropped: a grant of unknown state
/// would be found again by the next attempt, and get the same token twice.
struct Release {
    session: Session,
    /// Kept, so that a new [`Mutex`] of this name finds it and waits.
    local: Arc<Local>,
    grant: Option<(Grant, OwnedMutexGuard<Slot>)>,
}

impl Release {
    /// Whether the next task of the session may have the lock without anybody else being passed over too often.
    async fn may_hand_on(&mut self) -> bool {
        let Some((grant, _)) = &mut self.grant else {
            return false;
        };
        let limit = self.session.handover_limit();
        if !self.session.is_alive() || !grant.is_whole() || limit == 0 {
            return false;
        }
        if grant.in_a_row < limit {
            return true;
        }
        let alone = match &mut grant.alone {
            Some(alone) => alone.await.unwrap_or(false),
            None => false,
        };
        grant.alone = None;
        grant.in_a_row = 0;
        alone
    }

    /// Leaves the grant to the next task.
    fn hand_on(&mut self) {
        let Some((mut grant, mut slot)) = self.grant.take() else {
            return;
        };
        metrics::handed_on();
        grant.handovers += 1;
        grant.in_a_row += 1;
        if grant.in_a_row == self.session.handover_limit().div_ceil(8) {
            let alone = is_alone(self.session.clone(), grant.key.clone());
            grant.alone = Some(self.session.runtime().spawn(alone));
        }
        slot.grant = Some(grant);
    }

    /// Gives the grant back to etcd. The slot is free for the next task when that is known to be done.
    async fn finish(mut self) -> Result<()> {
        if let Some((grant, _)) = &self.grant {
            unlock(&self.session, grant).await?;
        }
        self.grant = None;
        Ok(())
    }
}

impl Drop for Release {
    fn drop(&mut self) {
        if let Some((grant, slot)) = self.grant.take() {
            let runtime = self.session.runtime().clone();
            let (session, local) = (self.session.clone(), self.local.clone());
            runtime.spawn(async move {
                insist(session, grant).await;
                drop((slot, local));
            });
        }
    }
}

/// Whether ours is the only key below the lock's name.
async fn is_alone(session: Session, key: LockKey) -> bool {
    let Some((name, _)) = key.parts() else {
        return false;
    };
    let count = RangeRequest::prefix(name.queue_prefix()).count_only();
    let reply = session
        .transport()
        .range(count, CallOptions::default())
        .await;
    reply.is_ok_and(|reply| reply.count == 1)
}

/// Releases until it is done, or the session is lost and the lease does it.
async fn insist(session: Session, grant: Grant) {
    let mut backoff = Backoff::new();
    while session.may_live() {
        match unlock(&session, &grant).await {
            Ok(()) => break,
            Err(error) => tracing::debug!(%error, "can't release a lock, trying again"),
        }
        backoff.pause().await;
    }
}

async fn unlock(session: &Session, grant: &Grant) -> Result<()> {
    let request = UnlockRequest::new(grant.key.clone()).with_create_revision(grant.created);
    session
        .transport()
        .unlock(request, CallOptions::default())
        .await
        .map(|_| ())
}
