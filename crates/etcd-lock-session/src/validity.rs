//! For how long a lease, and what was read of its entries, may be relied on.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst};
use std::time::Duration;

use etcd_lock_core::{Error, ErrorKind, LeaseId, Result, Ttl};
use etcd_lock_queue::Stamp;
use tokio_util::sync::CancellationToken;

use crate::clock::after;

/// The longest time between two reads of the same entry.
const LONGEST_HEARTBEAT: Duration = Duration::from_secs(5);

/// How long a read in a heartbeat may take at most, before it is sent again.
const LONGEST_ATTEMPT: Duration = Duration::from_secs(2);

/// A lease as this client knows it: one that a session keeps alive, or a bare one, which is the caller's own business.
///
/// All times count from before the request was sent that the server answered, since that is before the server can have
/// counted from. A tenth of the time to live is left for clocks that run at different speeds.
#[derive(Debug)]
pub(crate) struct Lease {
    id: LeaseId,
    has_session: AtomicBool,
    /// Until when the lease is known to live.
    until: AtomicU64,
    /// How long after it was seen an entry may be relied on, in nanoseconds.
    trust: AtomicU64,
    heartbeat: AtomicU64,
    ended: OnceLock<Error>,
    /// Cancelled when it has ended.
    over: CancellationToken,
    /// When the next heartbeat is due, and whether one is under way.
    pub(crate) next_beat: AtomicU64,
    pub(crate) is_beating: AtomicBool,
}

impl Lease {
    /// A lease that no session keeps alive. Its entries are looked after for as long as they are there.
    pub(crate) fn bare(id: LeaseId, now: Stamp) -> Self {
        let lease = Self {
            id,
            has_session: AtomicBool::new(false),
            until: AtomicU64::new(u64::MAX),
            trust: AtomicU64::new(u64::MAX),
            heartbeat: AtomicU64::new(0),
            ended: OnceLock::new(),
            over: CancellationToken::new(),
            next_beat: AtomicU64::new(0),
            is_beating: AtomicBool::new(false),
        };
        lease.set_heartbeat(LONGEST_HEARTBEAT);
        lease.plan_beat(now);
        lease
    }

    /// A session keeps it alive from now on.
    ///
    /// # Errors
    /// `AlreadyOpen` where another session of this client does.
    pub(crate) fn adopt(&self, ttl: Ttl, grace: Duration, sent: Stamp) -> Result<()> {
        if self.has_session.swap(true, SeqCst) {
            return Err(Error::new(
                ErrorKind::AlreadyOpen,
                format!(
                    "another session of this client keeps the lease {} alive: clone that",
                    self.id
                ),
            ));
        }
        let trust = trusted(ttl).saturating_sub(grace);
        self.trust.store(after(Stamp(0), trust).0, SeqCst);
        self.set_heartbeat(
            (ttl.as_duration() / 3)
                .min(trust / 2)
                .min(LONGEST_HEARTBEAT),
        );
        self.until.store(after(sent, trust).0, SeqCst);
        self.plan_beat(sent);
        Ok(())
    }

    /// Its session is closed, and it goes on without.
    pub(crate) fn leave_to_others(&self) {
        self.until.store(u64::MAX, SeqCst);
        self.trust.store(u64::MAX, SeqCst);
        self.has_session.store(false, SeqCst);
    }

    /// It was renewed by a request that was sent then, for this long.
    pub(crate) fn renewed(&self, ttl: Ttl, grace: Duration, sent: Stamp) {
        self.until
            .store(after(sent, trusted(ttl).saturating_sub(grace)).0, SeqCst);
    }

    /// It has ended, or is as good as that. The first reason stays.
    pub(crate) fn end(&self, error: Error) {
        let _ = self.ended.set(error);
        self.over.cancel();
    }

    /// Waits until it has ended, and says why.
    pub(crate) async fn over(&self) -> Error {
        loop {
            self.over.cancelled().await;
            if let Some(error) = self.ended.get() {
                return error.clone();
            }
        }
    }

    /// Why it has ended, where it has.
    pub(crate) fn ended(&self) -> Option<&Error> {
        self.ended.get()
    }

    pub(crate) const fn id(&self) -> LeaseId {
        self.id
    }

    pub(crate) fn has_session(&self) -> bool {
        self.has_session.load(SeqCst)
    }

    /// Until when it is known to live.
    pub(crate) fn valid_until(&self) -> Stamp {
        Stamp(self.until.load(SeqCst))
    }

    /// Until when an entry that was seen then may be relied on, for as long as the lease lives.
    pub(crate) fn confirmed_until(&self, seen: Stamp) -> Stamp {
        Stamp(seen.0.saturating_add(self.trust.load(SeqCst)))
    }

    /// Until when a hold may be relied on whose entry was seen then.
    pub(crate) fn held_until(&self, seen: Stamp) -> Stamp {
        self.valid_until().min(self.confirmed_until(seen))
    }

    /// The time between two reads of the same entry.
    pub(crate) fn heartbeat(&self) -> Duration {
        Duration::from_nanos(self.heartbeat.load(SeqCst))
    }

    /// How long one such read may take.
    pub(crate) fn attempt(&self) -> Duration {
        (self.heartbeat() / 2).min(LONGEST_ATTEMPT)
    }

    /// The next heartbeat is due one period after the last answered one was sent.
    pub(crate) fn plan_beat(&self, sent: Stamp) {
        self.next_beat
            .store(after(sent, self.heartbeat()).0, SeqCst);
    }

    fn set_heartbeat(&self, heartbeat: Duration) {
        self.heartbeat.store(after(Stamp(0), heartbeat).0, SeqCst);
    }
}

/// How much of a time to live is relied on.
fn trusted(ttl: Ttl) -> Duration {
    ttl.as_duration() * 9 / 10
}
