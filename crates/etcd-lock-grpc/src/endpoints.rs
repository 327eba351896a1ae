//! All endpoints of one etcd, and which of them is asked.
//!
//! A request goes to a healthy endpoint, by the [`EndpointChoice`]. While nothing is sent yet, trying another costs
//! nothing: an endpoint that hasn't connected after [`STAGGER`] gets company, and the first to connect is taken. When none
//! is healthy, they are tried in the order in which they were left, longest ago first.

use std::fmt;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use etcd_lock_core::{Error, ErrorKind, Result};
use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use tokio::time::{Instant, sleep};

use crate::ConnectOptions;
use crate::auth::Auth;
use crate::cluster::Cluster;
use crate::connection::{Dialer, GivenService};
use crate::connector::Connector;
use crate::endpoint::Endpoint;
use crate::health::EndpointState;
use crate::info::Info;
use crate::members::Members;
use crate::options::EndpointChoice;
use crate::pool::{Purpose, Slot};
use crate::target::Target;
use crate::tls::Tls;

/// How long an endpoint may take to connect before the next is tried beside it.
const STAGGER: Duration = Duration::from_millis(300);

/// All endpoints of one etcd.
pub(crate) struct Endpoints {
    list: RwLock<Arc<[Arc<Endpoint>]>>,
    /// The one that was asked last, as a place in the list.
    current: AtomicUsize,
    make: Make,
    /// One token for all: etcd shares them between its members.
    auth: Auth,
    pub(crate) members: Members,
}

/// The parts that endpoints are made of.
#[derive(Clone, Debug)]
pub(crate) struct Make {
    pub(crate) options: ConnectOptions,
    pub(crate) connector: Connector,
    pub(crate) given: Option<GivenService>,
    pub(crate) cluster: Arc<Cluster>,
    pub(crate) tls: Option<Tls>,
}

impl Make {
    fn endpoint(&self, target: Target) -> Arc<Endpoint> {
        let dialer = Dialer::new(
            target,
            self.connector.clone(),
            self.tls.clone(),
            self.options.clone(),
        );
        Arc::new(Endpoint::new(
            dialer,
            self.given.clone(),
            self.options.attempt_timeout,
            self.cluster.clone(),
        ))
    }
}

impl Endpoints {
    /// Of at least one endpoint.
    pub(crate) fn new(targets: Vec<Target>, make: Make) -> Self {
        let first = match make.options.endpoint_choice {
            EndpointChoice::Listed => 0,
            EndpointChoice::Random | EndpointChoice::RoundRobin => fastrand::usize(..targets.len()),
        };
        let list = targets.into_iter().map(|target| make.endpoint(target));
        Self {
            list: RwLock::new(list.collect()),
            current: AtomicUsize::new(first),
            auth: Auth::new(make.options.login.clone()),
            members: Members::new(make.options.member_sync),
            make,
        }
    }

    /// The login that all of them share.
    pub(crate) const fn auth(&self) -> &Auth {
        &self.auth
    }

    /// How long an attempt may take.
    pub(crate) const fn bound(&self) -> Duration {
        self.make.options.attempt_timeout
    }

    /// A turn on a connection to the endpoint that is to be asked now.
    ///
    /// # Errors
    /// When no endpoint can be reached. Nothing was sent.
    ///
    /// # Cancel safety
    /// Nothing is left behind but connections.
    pub(crate) async fn slot(self: &Arc<Self>, purpose: Purpose) -> Result<(Arc<Endpoint>, Slot)> {
        Members::sync(self);
        let list = self.list();
        let first = self.first() % list.len();
        if let Some(ready) = ready(&list[first], purpose) {
            let slot = ready.slot(purpose).await;
            if let Ok(slot) = slot {
                return Ok((ready, slot));
            }
        }
        let (number, slot) = connect(&list, candidates(&list, first), purpose).await?;
        if self.make.options.endpoint_choice == EndpointChoice::Random {
            self.current.store(number, Relaxed);
        }
        Ok((list[number].clone(), slot))
    }

    /// Says that there was no turn within the bound, and why the last connection failed: the next one may be waiting for
    /// its back-off.
    pub(crate) fn not_asked(&self, bound: Duration) -> Error {
        let text = format!("no endpoint could be asked within {bound:?}");
        let list = self.list();
        let failures: Vec<_> = list.iter().filter_map(|it| it.unreachable()).collect();
        let have_all_failed = failures.len() == list.len();
        let Some(cause) = failures.into_iter().next_back() else {
            return Error::new(ErrorKind::Unavailable, text);
        };
        // Where another endpoint may only be slow, it is worth trying again.
        let kind = match have_all_failed {
            true => cause.kind(),
            false => ErrorKind::Unavailable,
        };
        Error::new(kind, format!("{text}: {cause}")).with_source_of(&cause)
    }

    /// The states of the endpoints.
    pub(crate) fn info(&self) -> Info {
        Info {
            cluster_id: self.make.cluster.id(),
            endpoints: self.list().iter().map(|it| it.info()).collect(),
        }
    }

    pub(crate) fn list(&self) -> Arc<[Arc<Endpoint>]> {
        let list = self.list.read().unwrap_or_else(PoisonError::into_inner);
        list.clone()
    }

    /// Takes other endpoints in place of those that there are. One that is known stays as it is.
    pub(crate) fn replace(&self, given: &[String]) {
        let options = &self.make.options;
        let targets = given
            .iter()
            .filter_map(|it| Target::parse(it, options).ok());
        let old = self.list();
        let new: Arc<[_]> = targets
            .map(|target| {
                let known = old.iter().find(|it| it.name() == target.name);
                known.cloned().unwrap_or_else(|| self.make.endpoint(target))
            })
            .collect();
        if new.is_empty() {
            return;
        }
        let current = &old[self.current.load(Relaxed) % old.len()];
        let stays = new.iter().position(|it| Arc::ptr_eq(it, current));
        *self.list.write().unwrap_or_else(PoisonError::into_inner) = new;
        self.current.store(stays.unwrap_or(0), Relaxed);
    }

    /// The place of the endpoint of choice.
    fn first(&self) -> usize {
        match self.make.options.endpoint_choice {
            EndpointChoice::Listed => 0,
            EndpointChoice::Random => self.current.load(Relaxed),
            EndpointChoice::RoundRobin => self.current.fetch_add(1, Relaxed),
        }
    }
}

/// The endpoint of choice, if it is healthy and connected: the usual case.
fn ready(endpoint: &Arc<Endpoint>, purpose: Purpose) -> Option<Arc<Endpoint>> {
    let is_ready = endpoint.health().is_usable() && endpoint.is_connected(purpose);
    is_ready.then(|| endpoint.clone())
}

/// The order in which endpoints are tried: those that are well, from the one of choice on, then the others, the one that
/// was left longest ago first. None is tried of another cluster.
fn candidates(list: &[Arc<Endpoint>], first: usize) -> Vec<usize> {
    let ring = (0..list.len()).map(|step| (first + step) % list.len());
    let mut order: Vec<(Option<Instant>, usize)> = ring
        .filter_map(|number| {
            let health = list[number].health();
            let is_refused = health.state == EndpointState::Refused;
            let left = health.failed.filter(|_| !health.is_usable());
            (!is_refused).then_some((left, number))
        })
        .collect();
    order.sort_by_key(|(left, _)| *left);
    order.into_iter().map(|(_, number)| number).collect()
}

impl fmt::Debug for Endpoints {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.list().iter()).finish()
    }
}

/// Connects to the first of the candidates that can be connected to.
async fn connect(
    list: &[Arc<Endpoint>],
    candidates: Vec<usize>,
    purpose: Purpose,
) -> Result<(usize, Slot)> {
    let mut failed = None;
    let mut rest = candidates.into_iter();
    let mut connecting = FuturesUnordered::new();
    while let Some(number) = rest.next() {
        connecting.push(async move { (number, list[number].slot(purpose).await) });
        // With the last one there is nothing to do but to wait.
        let last = rest.len() == 0;
        let patience = sleep(STAGGER);
        tokio::pin!(patience);
        while !connecting.is_empty() {
            tokio::select! {
                biased;
                made = connecting.next() => match made {
                    Some((number, Ok(slot))) => return Ok((number, slot)),
                    Some((_, Err(error))) => {
                        failed = Some(error);
                        if !last {
                            break;
                        }
                    }
                    None => break,
                },
                () = &mut patience, if !last => {
                    list[number].suspect("it was slow to connect");
                    break;
                }
            }
        }
    }
    Err(none(failed, refusal(list)))
}

/// Why an endpoint is refused, if one is.
fn refusal(list: &[Arc<Endpoint>]) -> Option<String> {
    let reasons = list.iter().map(|endpoint| endpoint.health().clone());
    let mut refused = reasons.filter(|health| health.state == EndpointState::Refused);
    refused.find_map(|health| health.reason)
}

/// Why no endpoint can be asked. An operator who sees that one doesn't answer must also see that another was not asked.
fn none(failed: Option<Error>, refusal: Option<String>) -> Error {
    match (failed, refusal) {
        (Some(failed), None) => failed,
        (Some(failed), Some(refusal)) => {
            Error::new(failed.kind(), format!("{failed}, and {refusal}")).with_source_of(&failed)
        }
        (None, refusal) => Error::new(
            ErrorKind::Unavailable,
            refusal.unwrap_or_else(|| "no endpoint can be asked".to_owned()),
        ),
    }
}
