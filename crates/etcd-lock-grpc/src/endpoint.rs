//! One endpoint: its connections, how it is doing, and what it owes us.
//!
//! A question that stays unanswered for longer than the bound of an attempt is evidence against its endpoint. So that it is
//! noticed also where the caller has gone, each question is in a [`Ledger`], and a [`monitor`](crate::monitor) looks after
//! it: a caller that is never polled again doesn't stop the clock, and a caller that leaves early (its own timeout may be
//! short) has the endpoint asked for a sign of life.
//!
//! An endpoint that owes an answer and gave no sign of life since it was asked is *silent*: everything under way on it
//! ends at once, and its connections are made anew. One that only owes an answer is left, but what it does is not ended.
//!
//! A member that no longer reaches the others may not know: while it hears its leader it says that all is well, and answers
//! nothing that needs a majority. So an endpoint that left a request without its answer, and gave signs of life, is well
//! again when it has answered a read, and not by its word.
//!
//! A proposal that a member forwarded to a leader that died is lost, and the member answers only after etcd's own time-out of
//! 7 s. So while an answer is [`SLOW`], the endpoint is asked for the term of its leader: a request that was sent in an
//! earlier term is given up when the new one is known. A member that lost all of its peers never learns of a new
//! term, but knows after an election's time that it has no leader: that ends a request for which the bound has passed.

use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use etcd_lock_core::{Error, ResponseHeader, Result};
use tokio::sync::watch;
use tokio::time::{Instant, sleep};

use crate::cluster::Cluster;
use crate::connection::{Channel, Dialer, GivenService};
use crate::health::{EndpointState, Health};
use crate::info::EndpointInfo;
use crate::ledger::Ledger;
use crate::monitor::Monitor;
use crate::pool::{Pool, Purpose, Slot};

/// A request without an answer for so long may have been lost with the leader.
pub(crate) const SLOW: Duration = Duration::from_millis(250);

/// How long a new leader may take to commit what it took over from the one before, and its members to answer.
pub(crate) const TAKEOVER: Duration = Duration::from_millis(100);

/// One endpoint.
pub(crate) struct Endpoint {
    name: String,
    links: Links,
    pub(crate) ledger: Ledger,
    pub(crate) monitor: Monitor,
    /// How long an attempt may take.
    pub(crate) bound: Duration,
    health: Mutex<Health>,
    /// Whether the state is `Healthy`, for callers that need no more.
    healthy: AtomicBool,
    /// Whether it gave signs of life and left a request without its answer, since it was last healthy.
    is_distrusted: AtomicBool,
    /// Counts how often the endpoint was found silent.
    silences: watch::Sender<u64>,
    /// Whether the member said that it has no leader when it was last asked.
    leaderless: watch::Sender<bool>,
    cluster: Arc<Cluster>,
    member: AtomicU64,
    attempts: AtomicU64,
    failures: AtomicU64,
    /// Held by the one login that is under way.
    pub(crate) login: tokio::sync::Mutex<()>,
}

/// The connection that requests go over.
enum Links {
    Own {
        dialer: Arc<Dialer>,
        pools: [Pool; 3],
    },
    Given(Channel),
}

impl Endpoint {
    pub(crate) fn new(
        dialer: Dialer,
        given: Option<GivenService>,
        bound: Duration,
        cluster: Arc<Cluster>,
    ) -> Self {
        let target = dialer.target().clone();
        let links = match given {
            Some(service) => Links::Given(Channel::given(target.origin, service)),
            None => {
                let dialer = Arc::new(dialer);
                let all = [Purpose::Short, Purpose::Lock, Purpose::Stream];
                let pools = all.map(|purpose| Pool::new(purpose, dialer.clone()));
                Links::Own { dialer, pools }
            }
        };
        Self {
            name: target.name,
            links,
            ledger: Ledger::new(),
            monitor: Monitor::new(),
            bound,
            health: Mutex::new(Health::new()),
            healthy: AtomicBool::new(false),
            is_distrusted: AtomicBool::new(false),
            silences: watch::Sender::new(0),
            leaderless: watch::Sender::new(false),
            cluster,
            member: AtomicU64::new(0),
            attempts: AtomicU64::new(0),
            failures: AtomicU64::new(0),
            login: tokio::sync::Mutex::default(),
        }
    }

    /// The endpoint's URL.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// A turn on a connection.
    ///
    /// # Errors
    /// When there is no connection and none can be made. The endpoint is left then.
    ///
    /// # Cancel safety
    /// Nothing is left behind but a connection, for the next caller.
    pub(crate) async fn slot(self: &Arc<Self>, purpose: Purpose) -> Result<Slot> {
        match &self.links {
            Links::Given(channel) => Ok(Slot::unlimited(channel.clone())),
            Links::Own { pools, .. } => {
                let slot = pools[purpose as usize].slot().await;
                slot.inspect_err(|error| self.fail(error))
            }
        }
    }

    /// Whether a request could be sent at once.
    pub(crate) fn is_connected(&self, purpose: Purpose) -> bool {
        match &self.links {
            Links::Given(_) => true,
            Links::Own { pools, .. } => pools[purpose as usize].is_connected(),
        }
    }

    /// Why there is no connection, where none could be made the last time.
    pub(crate) fn unreachable(&self) -> Option<Error> {
        match &self.links {
            Links::Given(_) => None,
            Links::Own { dialer, .. } => dialer.failure(),
        }
    }

    /// Notes that something is asked that has an answer.
    pub(crate) fn ask(self: &Arc<Self>) -> Question {
        let asked = Instant::now();
        self.attempts.fetch_add(1, Relaxed);
        let number = self.ledger.ask(asked);
        self.watch_over(asked);
        Question {
            endpoint: self.clone(),
            number,
            asked,
            is_closed: AtomicBool::new(false),
        }
    }

    /// Notes that something is waited for that may take any time.
    pub(crate) fn wait(self: &Arc<Self>) -> Wait {
        self.ledger.begin_wait();
        self.watch_over(Instant::now());
        Wait(self.clone())
    }

    /// Tells of the next time that the endpoint is found silent.
    pub(crate) fn silence(&self) -> Silence {
        Silence(self.silences.subscribe())
    }

    /// The newest term in which the cluster is known to have had a leader; 0 while nothing is known.
    pub(crate) fn term(&self) -> u64 {
        *self.cluster.term.borrow()
    }

    /// Waits until a request that was sent in this term can't be expected to be answered any more, since the cluster has
    /// another leader.
    ///
    /// # Cancel safety
    /// Nothing is missed.
    pub(crate) async fn superseded(&self, term: u64) {
        let mut terms = self.cluster.term.subscribe();
        // It fails when the cluster is gone, which its endpoints hold.
        let _ = terms.wait_for(|newest| term != 0 && *newest > term).await;
    }

    /// Waits until the member has no leader, and none a moment later: a new one may be about to commit what waited for it.
    ///
    /// # Cancel safety
    /// Nothing is missed, but the moment begins anew.
    pub(crate) async fn leaderless(&self) {
        let mut leaderless = self.leaderless.subscribe();
        while leaderless.wait_for(|is_so| *is_so).await.is_ok() {
            sleep(TAKEOVER).await;
            if *leaderless.borrow() {
                return;
            }
        }
    }

    /// Notes whether the member says that it has a leader.
    pub(crate) fn note_leader(&self, has_leader: bool) {
        self.leaderless.send_replace(!has_leader);
    }

    /// Notes that the cluster has a leader in this term.
    pub(crate) fn note_term(&self, term: u64) {
        if term > self.term() {
            self.cluster.term.send_if_modified(|newest| {
                let is_newer = term > *newest;
                *newest = term.max(*newest);
                is_newer
            });
        }
    }

    /// Notes a sign of life.
    pub(crate) fn hear(&self) {
        self.ledger.hear(Instant::now());
    }

    /// Notes that the endpoint serves requests.
    pub(crate) fn succeed(self: &Arc<Self>) {
        if !self.healthy.load(Relaxed) {
            self.is_distrusted.store(false, Relaxed);
            self.change(EndpointState::Healthy, None);
        }
    }

    /// Notes that the endpoint answered something that it knows without the other members.
    pub(crate) fn answers(self: &Arc<Self>) {
        if !self.is_distrusted() {
            self.succeed();
        }
    }

    /// Has it answer a read before it is taken for well again: it may be cut off from the other members.
    pub(crate) fn distrust(&self) {
        self.is_distrusted.store(true, Relaxed);
    }

    /// Whether its word that it is well is not enough.
    pub(crate) fn is_distrusted(&self) -> bool {
        self.is_distrusted.load(Relaxed)
    }

    /// Leaves the endpoint until a probe is answered.
    pub(crate) fn suspect(self: &Arc<Self>, reason: &str) {
        if self.health().is_usable() {
            self.change(EndpointState::Suspect, Some(reason.to_owned()));
        }
    }

    /// Leaves the endpoint until a probe shows that it is well again.
    pub(crate) fn fail(self: &Arc<Self>, reason: &dyn fmt::Display) {
        self.change(EndpointState::Failed, Some(reason.to_string()));
    }

    /// Leaves an endpoint that owes an answer since then.
    pub(crate) fn overdue(self: &Arc<Self>, asked: Instant) {
        let reason = format!("a request got no answer within {:?}", self.bound);
        self.fail(&reason);
        if self.ledger.heard() >= asked {
            self.distrust();
        } else {
            self.silences.send_modify(|count| *count += 1);
            if let Links::Own { pools, .. } = &self.links {
                pools.iter().for_each(Pool::forget);
            }
        }
    }

    /// Notes which member answered a request.
    ///
    /// # Errors
    /// `Unavailable` where it is of another cluster than the first. The endpoint is refused then.
    pub(crate) fn check(self: &Arc<Self>, header: &ResponseHeader) -> Result<()> {
        self.member.store(header.member_id, Relaxed);
        let checked = self.cluster.answered(header.cluster_id, &self.name);
        checked.inspect_err(|error| self.refuse(error))
    }

    /// Notes which member answered a probe. Returns whether that is known to be the cluster.
    ///
    /// # Errors
    /// As [`check`](Self::check).
    pub(crate) fn check_probe(self: &Arc<Self>, header: &ResponseHeader) -> Result<bool> {
        self.member.store(header.member_id, Relaxed);
        let checked = self.cluster.probed(header.cluster_id, &self.name);
        checked.inspect_err(|error| self.refuse(error))
    }

    fn refuse(self: &Arc<Self>, error: &Error) {
        if self.health().state != EndpointState::Refused {
            tracing::warn!(%error, "an endpoint is refused");
        }
        self.change(EndpointState::Refused, Some(error.to_string()));
    }

    pub(crate) fn count_failure(&self) {
        self.failures.fetch_add(1, Relaxed);
    }

    pub(crate) fn health(&self) -> MutexGuard<'_, Health> {
        self.health.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn info(&self) -> EndpointInfo {
        let health = self.health().clone();
        let member = self.member.load(Relaxed);
        EndpointInfo {
            name: self.name.clone(),
            state: health.state,
            reason: health.reason,
            since: health.since,
            calls_in_flight: self.ledger.under_way(),
            attempts: self.attempts.load(Relaxed),
            failures: self.failures.load(Relaxed),
            member_id: (member != 0).then_some(member),
        }
    }

    fn change(self: &Arc<Self>, state: EndpointState, reason: Option<String>) {
        let mut health = self.health();
        let is_refused = health.state == EndpointState::Refused;
        if is_refused && matches!(state, EndpointState::Failed | EndpointState::Suspect) {
            return;
        }
        let changed = health.change(state, reason);
        let (usable, reason) = (health.is_usable(), health.reason.clone());
        self.healthy.store(state == EndpointState::Healthy, Relaxed);
        drop(health);
        if changed {
            tracing::debug!(endpoint = self.name, ?state, reason, "endpoint changed");
        }
        if !usable {
            self.monitor.wake();
            self.watch_over(Instant::now());
        }
    }
}

impl fmt::Debug for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)
    }
}

/// A question that isn't answered yet. Dropped so, it has the endpoint asked for a sign of life.
#[derive(Debug)]
pub(crate) struct Question {
    endpoint: Arc<Endpoint>,
    number: u64,
    pub(crate) asked: Instant,
    is_closed: AtomicBool,
}

impl Question {
    /// Notes that there is an answer, of any kind.
    pub(crate) fn answered(&self) {
        if !self.is_closed.swap(true, Relaxed) {
            self.endpoint.hear();
            self.endpoint.ledger.close(self.number);
        }
    }

    /// Notes that there will be no answer, for a reason that is known.
    pub(crate) fn broke_off(&self) {
        if !self.is_closed.swap(true, Relaxed) {
            self.endpoint.ledger.close(self.number);
        }
    }

    /// Whether nothing is waited for any more.
    pub(crate) fn is_closed(&self) -> bool {
        self.is_closed.load(Relaxed)
    }
}

impl Drop for Question {
    fn drop(&mut self) {
        if self.is_closed() {
            return;
        }
        let endpoint = &self.endpoint;
        // Where it isn't open any more the monitor was faster.
        if endpoint.ledger.close(self.number) && endpoint.ledger.heard() < self.asked {
            endpoint.ledger.doubt(self.asked);
            endpoint.monitor.wake();
        }
    }
}

/// Something that is waited for.
#[derive(Debug)]
pub(crate) struct Wait(Arc<Endpoint>);

impl Drop for Wait {
    fn drop(&mut self) {
        self.0.ledger.end_wait();
    }
}

/// The next time that an endpoint is found silent.
#[derive(Debug)]
pub(crate) struct Silence(watch::Receiver<u64>);

impl Silence {
    /// Waits until the endpoint is found silent.
    ///
    /// # Cancel safety
    /// Nothing is missed.
    pub(crate) async fn found(&self) {
        // It fails when the endpoint is gone, which all that is under way on it holds.
        let _ = self.0.clone().changed().await;
    }
}
