//! A lease that is kept alive, and what this process knows about it.

use std::fmt;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
#[cfg(feature = "owner")]
use std::time::SystemTime;

use bytes::Bytes;
use etcd_lock_core::lease::{LeaseGrantRequest, LeaseTimeToLiveRequest};
use etcd_lock_core::{
    CallOptions, Client, Error, ErrorKind, LeaseId, Result, Timeout, Transport, Ttl,
};
use etcd_lock_queue::{Limits, Stamp};
use tokio::runtime::Handle;
use tokio::task::JoinHandle;
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::Queue;
use crate::detached::DetachedHold;
use crate::guard::LockGuard;
use crate::keeper::{Keeper, closed, too_late};
use crate::lease::renew;
use crate::metrics;
use crate::mutex::why;
use crate::ownership::{Given, Ownership};
use crate::validity::Lease;

/// How a session is opened.
#[derive(Clone, Debug)]
#[must_use]
#[non_exhaustive]
pub struct SessionOptions {
    ttl: Duration,
    grace: Duration,
    timeout: Timeout,
    handover_limit: u32,
    #[cfg(feature = "owner")]
    pub(crate) owner: Option<crate::Owner>,
}

impl SessionOptions {
    /// The defaults.
    pub fn new() -> Self {
        Self {
            ttl: Duration::from_secs(10),
            grace: Duration::ZERO,
            timeout: Timeout::DEFAULT,
            handover_limit: 512,
            #[cfg(feature = "owner")]
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

    /// How often in a row a lock may be handed over between tasks of this session while others wait for it on etcd; 0 for
    /// never. 512 by default, and for a second at most once somebody else is known to wait. Whether others wait is asked
    /// now and then, so that a client that comes just after that waits for up to twice as many hand-overs.
    pub fn with_handover_limit(mut self, limit: u32) -> Self {
        self.handover_limit = limit;
        self
    }

    /// Opens a session: grants a lease and keeps it alive.
    ///
    /// # Errors
    /// `InvalidArgument` for a time to live that etcd can't grant, and those of
    /// [every call](etcd_lock_core::ErrorKind#every-call).
    ///
    /// # Cancel safety
    /// When dropped, a lease may have been granted that nobody keeps alive: it ends after its time to live.
    pub async fn open(self, client: &Client) -> Result<Session> {
        let queue = Queue::of(client);
        // A number of our own makes the grant repeatable.
        let id = random_lease(&queue)?;
        let ttl = Ttl::try_from(self.ttl)?;
        self.check_grace(ttl)?;
        let request = LeaseGrantRequest::new(ttl).with_id(id);
        let sent = queue.inner().clock.now();
        let call = CallOptions::new(self.timeout.checked()?);
        let granted = client.transport().lease_grant(request, call).await?;
        Session::start(queue, self, granted.id, granted.ttl, sent, true)
    }

    /// Keeps alive a lease that somebody else granted, and that stays theirs: it is not revoked at the end.
    ///
    /// # Errors
    /// `LeaseNotFound` when there is no such lease, `AlreadyOpen` when another session of this client keeps it alive, and
    /// those of [every call](etcd_lock_core::ErrorKind#every-call).
    ///
    /// # Cancel safety
    /// When dropped, the lease may have been renewed once.
    pub async fn adopt(self, client: &Client, lease: LeaseId) -> Result<Session> {
        let queue = Queue::of(client);
        let timeout = self.timeout.checked()?;
        let request = LeaseTimeToLiveRequest::new(lease);
        let call = CallOptions::new(timeout);
        let reply = client.transport().lease_time_to_live(request, call).await?;
        let none = || {
            Error::new(
                ErrorKind::LeaseNotFound,
                format!("there is no lease {lease}"),
            )
        };
        let ttl = reply.granted.ok_or_else(none)?;
        self.check_grace(ttl)?;
        // How much is left is told in whole seconds, and may be next to nothing: a renewal says for how long it lives.
        let sent = queue.inner().clock.now();
        let renewed = renew(&queue, lease, timeout).await?;
        let ttl = renewed.ttl.ok_or_else(none)?;
        Session::start(queue, self, lease, ttl, sent, false)
    }

    fn check_grace(&self, ttl: Ttl) -> Result<()> {
        if self.grace >= ttl.as_duration() / 2 {
            return Err(Error::invalid_argument(
                "the grace must be less than half of the time to live",
            ));
        }
        Ok(())
    }
}

impl Default for SessionOptions {
    fn default() -> Self {
        Self::new()
    }
}

/// A lease that is kept alive, and what this process knows about it.
///
/// It is relied on for nine tenths of its time to live from *before* the last renewal that was answered was sent: so it is
/// lost here before it can be lost on the server, as long as the clocks of the two run within a tenth of each other. On
/// Linux and Android time counts while the system is suspended.
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
        self.0.lease.id()
    }

    /// The time to live that the server granted.
    #[must_use]
    pub fn ttl(&self) -> Ttl {
        self.0.ttl
    }

    /// Whether the lease can be relied on at this moment. After a pause of the process this says no before anything else
    /// had a chance to run, and so it does from when [`close`](Self::close) is called. After a pause it may say yes again,
    /// where an answer to a renewal has arrived meanwhile; [`lost`](Self::lost) tells of an end for good.
    #[must_use]
    pub fn is_alive(&self) -> bool {
        !self.0.stop.is_cancelled() && self.0.lease.ended().is_none() && !self.is_late()
    }

    /// Waits until the session is lost or closed, and says why. From then on it is lost for good: a renewal that is answered
    /// later doesn't bring it back.
    ///
    /// # Cancel safety
    /// Nothing is left behind.
    pub async fn lost(&self) -> Error {
        loop {
            tokio::select! {
                biased;
                error = self.0.lease.over() => return error,
                () = self.0.stop.cancelled() => return closed(),
                () = self.0.queue.inner().clock.sleep_until(self.0.lease.valid_until()) => {}
            }
            self.end_if_late();
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
        if self.0.ownership.is_owner() {
            // At once: a hold that is released from now on is not handed over as that of a valid session.
            self.0.lease.end(closed());
        }
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

    /// Goes on with a hold, and owns the lease from then on.
    pub(crate) async fn attach(self, hold: &DetachedHold) -> Result<LockGuard> {
        let call = CallOptions::new(self.0.options.timeout.checked()?);
        let (limits, owner) = (self.limits(), self.owner_data());
        let queue = self.queue().inner();
        let attached = queue.attach(self.validity(), hold, limits, &owner, call);
        let attached = attached.await;
        let (caller, grant) = match attached {
            Ok(attached) => attached,
            Err(refusal) => return Err(why(&self, refusal).await),
        };
        self.0.ownership.take();
        LockGuard::new(self, caller, grant)
    }

    /// The lease is not revoked any more, as long as what this returns is not dropped.
    pub(crate) fn give_lease_away(&self) -> Given {
        self.0.ownership.give_away()
    }

    pub(crate) fn queue(&self) -> &Queue {
        &self.0.queue
    }

    pub(crate) fn transport(&self) -> &Arc<dyn Transport> {
        self.0.queue.transport()
    }

    pub(crate) fn validity(&self) -> &Arc<Lease> {
        &self.0.lease
    }

    pub(crate) fn limits(&self) -> Limits {
        Limits::new(self.0.options.handover_limit)
    }

    /// The description of the owner in an entry that is made now.
    pub(crate) fn owner_data(&self) -> Bytes {
        #[cfg(feature = "owner")]
        if let Some(owner) = &self.0.options.owner {
            return owner.clone().with_since(SystemTime::now()).to_bytes();
        }
        Bytes::new()
    }

    pub(crate) fn runtime(&self) -> &Handle {
        &self.0.runtime
    }

    /// Why the session can't be used, or nothing where it can.
    pub(crate) fn check(&self) -> Result<()> {
        if self.is_alive() {
            return Ok(());
        }
        if self.0.stop.is_cancelled() {
            return Err(closed());
        }
        Err(self.0.lease.ended().cloned().unwrap_or_else(too_late))
    }

    /// Ends it for good where it is late: an answer that comes now must not bring back what is said to be lost.
    pub(crate) fn end_if_late(&self) {
        if self.is_late() {
            self.0.queue.inner().end(&self.0.lease, too_late());
        }
    }

    /// Nothing was heard of the lease for too long, also where its keeper had no chance to run since.
    fn is_late(&self) -> bool {
        self.0.queue.inner().clock.now() >= self.0.lease.valid_until()
    }

    fn start(
        queue: Queue,
        options: SessionOptions,
        lease: LeaseId,
        ttl: Ttl,
        sent: Stamp,
        is_owned: bool,
    ) -> Result<Self> {
        metrics::describe();
        let lease = queue.inner().lease(lease);
        lease.adopt(ttl, options.grace, sent)?;
        let stop = CancellationToken::new();
        let ownership = Ownership::new(is_owned);
        let keeper = Keeper {
            queue: queue.clone(),
            lease: lease.clone(),
            ttl,
            renewed: sent,
            grace: options.grace,
            stop: stop.clone(),
            ownership: ownership.clone(),
            has_ended: AtomicBool::new(false),
        };
        Ok(Self(Arc::new(Inner {
            queue,
            options,
            lease,
            ownership,
            ttl,
            keeper: Mutex::new(Some(tokio::spawn(keeper.run()))),
            runtime: Handle::current(),
            _stop_on_drop: stop.clone().drop_guard(),
            stop,
        })))
    }
}

impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Session")
            .field("lease", &self.lease())
            .field("ttl", &self.0.ttl)
            .field("is_alive", &self.is_alive())
            .finish_non_exhaustive()
    }
}

struct Inner {
    queue: Queue,
    options: SessionOptions,
    lease: Arc<Lease>,
    ownership: Ownership,
    ttl: Ttl,
    keeper: Mutex<Option<JoinHandle<Result<()>>>>,
    runtime: Handle,
    _stop_on_drop: DropGuard,
    stop: CancellationToken,
}

/// A lease number that nobody else draws, also where the memory of the machine was copied.
fn random_lease(queue: &Queue) -> Result<LeaseId> {
    let random = queue.inner().clock.random()?;
    LeaseId::new(i64::try_from(random >> 1).unwrap_or(1).max(1))
}
