//! The task that watches over one endpoint while there is something to watch over.
//!
//! It notices answers that are overdue, asks an endpoint for a sign of life when a caller left without an answer or a stream
//! has been quiet, and for its leader while an answer is slow, and probes an endpoint that was left until it is well again.
//! One that left a request without its answer has to answer a read as well.
//! It ends when the endpoint is well and nothing is under way, and is started again by the next request: on that request's
//! runtime, since the one of before may have ended.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Weak};
use std::time::Duration;

use backon::{BackoffBuilder, ExponentialBackoff, ExponentialBuilder};
use etcd_lock_core::Error;
use etcd_lock_proto::etcdserverpb as pb;
use futures_util::future::BoxFuture;
use pb::kv_client::KvClient;
use tokio::sync::Notify;
use tokio::time::{Instant, Sleep, sleep_until, timeout};

use crate::endpoint::{Endpoint, SLOW};
use crate::health::EndpointState;
use crate::held_up::catch_up;
use crate::pool::Purpose;
use crate::wire::MAX_TIMEOUT;
use crate::{member_status, status};

/// A task that is so late doesn't run any more, or its runtime is held up.
const LATE: Duration = Duration::from_secs(1);

/// While an answer is slow, the endpoint is asked for its term so long after its last sign of life.
const AGAIN: Duration = Duration::from_millis(100);

/// An endpoint's side of its monitor.
#[derive(Debug)]
pub(crate) struct Monitor {
    /// Until when the task need not be looked for, in the ledger's microseconds; 0 where there is none.
    trusted_until: AtomicU64,
    /// The task that is the monitor now: another one ends.
    current: AtomicU64,
    wake: Arc<Notify>,
}

impl Monitor {
    pub(crate) fn new() -> Self {
        Self {
            trusted_until: AtomicU64::new(0),
            current: AtomicU64::new(0),
            wake: Arc::default(),
        }
    }

    /// Has it look now.
    pub(crate) fn wake(&self) {
        self.wake.notify_one();
    }
}

impl Endpoint {
    /// Starts a monitor where none runs. It must be called on a runtime, or does nothing.
    pub(crate) fn watch_over(self: &Arc<Self>, now: Instant) {
        let (monitor, micros) = (&self.monitor, self.ledger.micros(now));
        let trusted = monitor.trusted_until.load(Relaxed);
        if micros < trusted {
            return;
        }
        let Ok(runtime) = tokio::runtime::Handle::try_current() else {
            return;
        };
        let until = self.ledger.micros(now + self.bound + LATE);
        let swap = monitor
            .trusted_until
            .compare_exchange(trusted, until, Relaxed, Relaxed);
        if swap.is_ok() {
            let number = monitor.current.fetch_add(1, Relaxed) + 1;
            runtime.spawn(run(Arc::downgrade(self), number, monitor.wake.clone()));
        }
    }
}

/// The next step of a monitor.
enum Step {
    Ask { limit: Duration },
    Sleep(Instant),
    Stop,
}

async fn run(endpoint: Weak<Endpoint>, number: u64, wake: Arc<Notify>) {
    let mut watch = Watch::new();
    loop {
        let Some(alive) = endpoint.upgrade() else {
            return;
        };
        if alive.monitor.current.load(Relaxed) != number {
            return;
        }
        let until = match watch.step(&alive, Instant::now()) {
            Step::Stop => return,
            Step::Sleep(until) => until,
            Step::Ask { limit } => {
                watch.asking = Some(Box::pin(ask(alive, limit)));
                continue;
            }
        };
        drop(alive);
        watch.sleep(until, &wake).await;
    }
}

/// The state of a monitor.
struct Watch {
    asking: Option<BoxFuture<'static, ()>>,
    pauses: Option<ExponentialBackoff>,
    probe_at: Option<Instant>,
    /// When the endpoint may be asked for its term again, whether or not it answered.
    not_before: Instant,
}

impl Watch {
    fn new() -> Self {
        Self {
            asking: None,
            pauses: None,
            probe_at: None,
            not_before: Instant::now(),
        }
    }

    fn step(&mut self, endpoint: &Arc<Endpoint>, now: Instant) -> Step {
        let (ledger, bound) = (&endpoint.ledger, endpoint.bound);
        // How long an endpoint may be quiet before it is asked for a sign of life.
        let patience = bound / 2;
        if let Some(asked) = ledger.take_overdue(now, bound) {
            endpoint.overdue(asked);
        }
        let usable = endpoint.health().is_usable();
        let mut next = now + patience;
        if usable {
            (self.pauses, self.probe_at) = (None, None);
        } else {
            let at = *self.probe_at.get_or_insert(now);
            if self.asking.is_none() && at <= now {
                self.probe_at = Some(now + self.pause(endpoint));
                return Step::Ask { limit: bound };
            }
            next = next.min(at.max(now + Duration::from_millis(1)));
        }
        if self.asking.is_none() {
            if let Some(doubt) = ledger.take_doubt() {
                let left = (doubt + bound).saturating_duration_since(now);
                return Step::Ask {
                    limit: left.max(bound / 4),
                };
            }
            let quiet = ledger.heard() + patience;
            if usable && ledger.is_waited_on() {
                if quiet <= now {
                    return Step::Ask { limit: bound };
                }
                next = next.min(quiet);
            }
        }
        if let Some(oldest) = ledger.oldest() {
            next = next.min(oldest + bound);
            if self.asking.is_none() {
                let at = (oldest + SLOW)
                    .max(ledger.heard() + AGAIN)
                    .max(self.not_before);
                if at <= now {
                    self.not_before = now + AGAIN;
                    return Step::Ask { limit: bound };
                }
                next = next.min(at);
            }
        }
        let is_idle = usable && self.asking.is_none() && ledger.heard() + bound < now;
        let stop = || endpoint.monitor.trusted_until.store(0, Relaxed);
        if is_idle && stops(endpoint, stop) {
            return Step::Stop;
        }
        let trusted = ledger.micros(next + LATE);
        endpoint.monitor.trusted_until.store(trusted, Relaxed);
        Step::Sleep(next)
    }

    async fn sleep(&mut self, until: Instant, wake: &Notify) {
        let nap: Sleep = sleep_until(until);
        match &mut self.asking {
            None => tokio::select! {
                () = nap => {}
                () = wake.notified() => {}
            },
            Some(asking) => tokio::select! {
                () = nap => {}
                () = wake.notified() => {}
                () = asking => self.asking = None,
            },
        }
        catch_up(until).await;
    }

    /// How long after a probe the next one follows.
    fn pause(&mut self, endpoint: &Endpoint) -> Duration {
        let pauses = self.pauses.get_or_insert_with(|| {
            ExponentialBuilder::default()
                .with_min_delay(Duration::from_millis(100))
                .with_max_delay(Duration::from_secs(5))
                .without_max_times()
                .with_jitter()
                .build()
        });
        pauses.next().unwrap_or(endpoint.bound)
    }
}

/// Stops the watch over an endpoint if there is nothing to watch over. The endpoint may be left meanwhile, by a caller that
/// still finds the watch going on: so its state is looked at once more when callers find that it doesn't.
fn stops(endpoint: &Endpoint, stop: impl FnOnce()) -> bool {
    endpoint.ledger.stop_if_idle(stop) && endpoint.health().is_usable()
}

/// Asks an endpoint for its status, and draws the conclusions.
async fn ask(endpoint: Arc<Endpoint>, limit: Duration) {
    let asked = Instant::now();
    match timeout(limit, status(&endpoint, limit)).await {
        Ok(Ok(None)) => endpoint.recover(),
        Ok(Ok(Some(trouble))) => endpoint.fail(&trouble),
        Ok(Err(error)) => endpoint.fail(&error),
        // Others may have been answered while this had to wait for its turn.
        Err(_) if endpoint.ledger.heard() < asked => endpoint.overdue(asked),
        Err(_) => {}
    }
}

/// The fault of an endpoint that answers, if there is one.
async fn status(endpoint: &Arc<Endpoint>, limit: Duration) -> Result<Option<String>, Error> {
    let reply = match member_status::ask(endpoint, limit).await {
        Ok(reply) => reply,
        Err(failure) => {
            if failure.is_heard {
                endpoint.hear();
            }
            // An answer of any kind is a sign of life: a proxy may not know the call, a user may not be allowed to make it.
            return match failure.is_fault {
                true => Err(failure.error),
                false => Ok(None),
            };
        }
    };
    endpoint.hear();
    let is_ours = match reply.header {
        Some(header) => endpoint.check_probe(&header.try_into()?)?,
        None => false,
    };
    endpoint.note_leader(reply.leader != 0);
    let trouble = match reply {
        pb::StatusResponse { leader: 0, .. } => "has no leader",
        pb::StatusResponse {
            is_learner: true, ..
        } => "is a learner",
        _ => {
            if is_ours {
                endpoint.note_term(reply.raft_term);
            }
            match endpoint.is_distrusted() && !reads(endpoint).await? {
                true => "does not reach the other members",
                false => return Ok(None),
            }
        }
    };
    Ok(Some(format!("{} {trouble}", endpoint.name())))
}

/// Whether an endpoint answers a read, for which it needs the others. A refusal is an answer: etcd looks for permission after
/// it has asked its leader.
async fn reads(endpoint: &Arc<Endpoint>) -> Result<bool, Error> {
    let limit = endpoint.bound / 4;
    let slot = endpoint.slot(Purpose::Short).await?;
    let mut client = KvClient::new(slot.channel);
    let mut request = tonic::Request::new(pb::RangeRequest {
        key: "\0".into(),
        count_only: true,
        ..pb::RangeRequest::default()
    });
    request.set_timeout(limit.min(MAX_TIMEOUT));
    let Ok(reply) = timeout(limit, client.range(request)).await else {
        return Ok(false);
    };
    let failure = reply
        .err()
        .map(|status| status::failure(status, endpoint.name(), true));
    Ok(failure.is_none_or(|failure| !failure.is_fault))
}

impl Endpoint {
    /// Notes that a probe found the endpoint well.
    fn recover(self: &Arc<Self>) {
        let state = self.health().state;
        if state != EndpointState::Healthy {
            self.succeed();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ConnectOptions;
    use crate::connection::Dialer;
    use crate::connector::Connector;
    use crate::target::Target;

    const BOUND: Duration = Duration::from_secs(2);

    #[tokio::test]
    async fn endpoint_that_is_left_while_its_monitor_stops_goes_on_being_watched() {
        let endpoint = Arc::new(endpoint());
        let trusted_until = &endpoint.monitor.trusted_until;
        endpoint.succeed();
        trusted_until.store(u64::MAX, Relaxed);
        let is_left_meanwhile = || {
            endpoint.fail(&"left");
            assert_eq!(endpoint.monitor.current.load(Relaxed), 0);
            trusted_until.store(0, Relaxed);
        };
        assert!(!stops(&endpoint, is_left_meanwhile));
        endpoint.succeed();
        assert!(stops(&endpoint, || trusted_until.store(0, Relaxed)));
    }

    fn endpoint() -> Endpoint {
        let options = ConnectOptions::new();
        let target = Target::parse("127.0.0.1:1", &options).unwrap();
        let dialer = Dialer::new(target, Connector::own(BOUND), None, options);
        Endpoint::new(dialer, None, BOUND, Arc::default())
    }
}
