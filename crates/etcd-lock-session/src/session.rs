//! A lease that is kept alive, and what this process knows about it.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use etcd_lock_core::lease::{LeaseGrantRequest, LeaseTimeToLiveRequest};
use etcd_lock_core::{
    CallOptions, Client, Error, ErrorKind, LeaseId, LockName, LockRequest, LockResponse, Result,
    Timeout, Transport, Ttl,
};
use tokio::runtime::Handle;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::keeper::{Keeper, Life};
use crate::local::{Local, Locals};
use crate::metrics;
use crate::{Owner, Queue};

/// How a session is opened.
#[derive(Clone, Debug)]
#[must_use]
#[non_exhaustive]
pub struct SessionOptions {
    ttl: Duration,
    grace: Duration,
    timeout: Timeout,
    handover_limit: u32,
    owner: Option<Owner>,
}

impl SessionOptions {
    /// The defaults.
    pub fn new() -> Self {
        Self {
            ttl: Duration::from_secs(10),
            grace: Duration::ZERO,
            timeout: Timeout::DEFAULT,
            handover_limit: 512,
            owner: None,
        }
    }

    /// How long a lock outlives a process that has died: whole seconds, rounded up. 10 s by default; etcd grants no less
    /// than 2 s at its own defaults.
    pub fn with_ttl(mut self, ttl: Duration) -> Self {
        self.ttl = ttl;
        self
    }

    /// How much earlier than needed the session is to be given up for lost, so that what was done under its locks can be
    /// wound up before anybody else can get them: less than half of the time to live. None by default.
    pub fn with_grace(mut self, grace: Duration) -> Self {
        self.grace = grace;
        self
    }

    /// How long opening may take. 9 s by default.
    pub fn with_timeout(mut self, timeout: impl Into<Timeout>) -> Self {
        self.timeout = timeout.into();
        self
    }

    /// How often in a row a lock may be handed on between tasks of this session while others wait for it on etcd; 0 for
    /// never. 512 by default. Whether others wait is asked early, so that the answer is there when the limit is reached:
    /// who comes just after that waits for up to twice as many.
    pub fn with_handover_limit(mut self, limit: u32) -> Self {
        self.handover_limit = limit;
        self
    }

    /// What the session's queue entries say about who made them, for people who [look](crate::queue). Nothing by default.
    pub fn with_owner(mut self, owner: Owner) -> Self {
        self.owner = Some(owner);
        self
    }

    /// Opens a session: grants a lease and keeps it alive.
    ///
    /// # Errors
    /// `InvalidArgument` for a time to live that etcd can't grant, and what the transport's calls can fail with.
    ///
    /// # Cancel safety
    /// When dropped, a lease may have been granted that nobody keeps alive: it ends after its time to live.
    pub async fn open(self, client: &Client) -> Result<Session> {
        // A number of our own makes the grant repeatable.
        let id = LeaseId::new(fastrand::i64(1..))?;
        if self.grace >= self.ttl / 2 {
            return Err(Error::invalid(
                "the grace must be less than half of the time to live",
            ));
        }
        let request = LeaseGrantRequest::new(Ttl::try_from(self.ttl)?).with_id(id);
        let sent = Instant::now();
        let call = CallOptions::new(self.timeout.checked()?);
        let granted = client.transport().lease_grant(request, call).await?;
        let life = Life::counted_from(sent, granted.ttl, self.grace);
        Ok(Session::start(
            client,
            self,
            granted.id,
            granted.ttl,
            life,
            true,
        ))
    }

    /// Keeps alive a lease that somebody else granted, and that stays theirs: it is not revoked at the end.
    ///
    /// # Errors
    /// `LeaseNotFound` when there is no such lease, and what the transport's calls can fail with.
    ///
    /// # Cancel safety
    /// Nothing is left behind.
    pub async fn adopt(self, client: &Client, lease: LeaseId) -> Result<Session> {
        let sent = Instant::now();
        let call = CallOptions::new(self.timeout.checked()?);
        let request = LeaseTimeToLiveRequest::new(lease);
        let reply = client.transport().lease_time_to_live(request, call).await?;
        let Some(remaining) = reply.remaining else {
            return Err(Error::new(
                ErrorKind::LeaseNotFound,
                format!("there is no lease {lease}"),
            ));
        };
        let ttl = Ttl::try_from(Duration::from_secs(reply.granted))?;
        // Zero whole seconds left may be alive: trusted until the first renewal says more.
        let left = Ttl::try_from(Duration::from_secs(remaining.max(1)))?;
        let life = Life::counted_from(sent, left, self.grace);
        Ok(Session::start(client, self, lease, ttl, life, false))
    }
}

impl Default for SessionOptions {
    fn default() -> Self {
        Self::new()
    }
}

/// A lease that is kept alive, and what this process knows about it.
///
/// It is trusted for nine tenths of its time to live from *before* the last renewal that was answered was sent: so it is
/// lost here before it can be lost on the server, as long as the clocks of the two run within a tenth of each other.
///
/// Clones share one lease. When the last clone and the last guard are gone, the lease is revoked in the background.
#[derive(Clone)]
pub struct Session(Arc<Inner>);

impl Session {
    /// Opens a session with this time to live and the other [`SessionOptions`] as they are.
    ///
    /// # Errors
    /// As [`SessionOptions::open`].
    ///
    /// # Cancel safety
    /// As [`SessionOptions::open`].
    pub async fn open(client: &Client, ttl: Duration) -> Result<Self> {
        SessionOptions::new().with_ttl(ttl).open(client).await
    }

    /// The lease.
    #[must_use]
    pub fn lease(&self) -> LeaseId {
        self.0.lease
    }

    /// The time to live that the server granted.
    #[must_use]
    pub fn ttl(&self) -> Ttl {
        self.0.ttl
    }

    /// Whether the lease can be trusted at this moment. After a pause of the process this says no before anything else
    /// had a chance to run, and so it does from when [`close`](Self::close) is called.
    #[must_use]
    pub fn is_alive(&self) -> bool {
        !self.0.stop.is_cancelled() && self.may_live()
    }

    /// Waits until the session is lost or closed, and says why.
    ///
    /// # Cancel safety
    /// Nothing is left behind.
    pub async fn lost(&self) -> Error {
        loop {
            let deadline = match &*self.0.life.borrow() {
                Life::Lost(error) => return error.clone(),
                Life::Until(deadline) => *deadline,
            };
            tokio::select! {
                biased;
                () = self.0.stop.cancelled() => return closed(),
                () = self.0.lost.cancelled() => {}
                () = sleep_until(deadline) => {}
            }
            if !self.may_live() {
                return self.why_lost();
            }
        }
    }

    /// Ends the session: revokes the lease, which releases every lock that it holds.
    ///
    /// # Errors
    /// When no server could be reached: the lease then ends after its time to live.
    ///
    /// # Cancel safety
    /// When dropped, the lease is revoked in the background.
    pub async fn close(self) -> Result<()> {
        self.0.stop.cancel();
        let keeper = self
            .0
            .keeper
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        match keeper {
            Some(keeper) => keeper.await.unwrap_or_else(|_| {
                Err(Error::new(
                    ErrorKind::Closed,
                    "the runtime of the session has ended",
                ))
            }),
            None => Ok(()),
        }
    }

    pub(crate) fn queue(&self) -> &Queue {
        &self.0.queue
    }

    /// Waits for a lock: in the client's own queue where it has one, and else as its transport does.
    pub(crate) async fn enqueue(&self, request: LockRequest) -> Result<LockResponse> {
        if self.0.owns_queue {
            return self.0.queue.lock_for_session(request).await;
        }
        let infinite = CallOptions::new(Timeout::Infinity);
        self.transport().lock(request, infinite).await
    }

    pub(crate) fn transport(&self) -> &Arc<dyn Transport> {
        self.0.client.transport()
    }

    pub(crate) fn handover_limit(&self) -> u32 {
        self.0.options.handover_limit
    }

    /// The value of a queue entry that is made now.
    pub(crate) fn entry_value(&self) -> Bytes {
        let owner = self.0.options.owner.clone();
        owner.map_or_else(Bytes::new, |owner| {
            owner.with_since(SystemTime::now()).to_bytes()
        })
    }

    pub(crate) fn runtime(&self) -> &Handle {
        &self.0.runtime
    }

    /// Why the session can't be used, or nothing where it can.
    pub(crate) fn check(&self) -> Result<()> {
        if self.is_alive() {
            Ok(())
        } else if self.0.stop.is_cancelled() {
            Err(closed())
        } else {
            Err(self.why_lost())
        }
    }

    /// What this session's tasks share about one lock.
    pub(crate) fn local(&self, name: &LockName) -> Arc<Local> {
        self.0.locals.of(name)
    }

    /// Whether the lease may be there still: other than for [`is_alive`](Self::is_alive), a closed one may.
    pub(crate) fn may_live(&self) -> bool {
        self.0.life.borrow().is_trusted()
    }

    fn why_lost(&self) -> Error {
        match &*self.0.life.borrow() {
            Life::Lost(error) => error.clone(),
            Life::Until(_) => Error::new(
                ErrorKind::Lost,
                "the session's lease could not be renewed in time and may have ended",
            ),
        }
    }

    fn start(
        client: &Client,
        options: SessionOptions,
        lease: LeaseId,
        ttl: Ttl,
        life: Life,
        owned: bool,
    ) -> Self {
        metrics::describe();
        let (sender, life) = watch::channel(life);
        let lost = CancellationToken::new();
        let stop = CancellationToken::new();
        let locals = Arc::new(Locals::default());
        let keeper = Keeper {
            transport: client.transport().clone(),
            lease,
            ttl,
            grace: options.grace,
            life: sender,
            lost: lost.clone(),
            stop: stop.clone(),
            locals: locals.clone(),
        };
        let keeper = tokio::spawn(async move {
            keeper.keep().await;
            if owned { keeper.revoke().await } else { Ok(()) }
        });
        let own = queue_of(client);
        Self(Arc::new(Inner {
            owns_queue: own.is_some(),
            queue: own.unwrap_or_else(|| Queue::over(client.transport().clone())),
            client: client.clone(),
            options,
            lease,
            ttl,
            life,
            lost,
            locals,
            keeper: Mutex::new(Some(keeper)),
            runtime: Handle::current(),
            _stop_on_drop: stop.clone().drop_guard(),
            stop,
        }))
    }
}

impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Session")
            .field("lease", &self.0.lease)
            .field("ttl", &self.0.ttl)
            .field("is_alive", &self.is_alive())
            .finish_non_exhaustive()
    }
}

struct Inner {
    client: Client,
    queue: Queue,
    /// Whether the queue is the client's, too.
    owns_queue: bool,
    options: SessionOptions,
    lease: LeaseId,
    ttl: Ttl,
    life: watch::Receiver<Life>,
    lost: CancellationToken,
    locals: Arc<Locals>,
    keeper: Mutex<Option<JoinHandle<Result<()>>>>,
    runtime: Handle,
    _stop_on_drop: DropGuard,
    stop: CancellationToken,
}

fn closed() -> Error {
    Error::new(ErrorKind::Closed, "the session is closed")
}

/// The client's own queue where it has one, so that all sessions of a client share its watch stream.
fn queue_of(client: &Client) -> Option<Queue> {
    let any: Arc<dyn std::any::Any + Send + Sync> = client.transport().clone();
    let queue = any.downcast::<Queue>().ok()?;
    Some(queue.as_ref().clone())
}
