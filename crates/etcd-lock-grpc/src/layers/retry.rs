//! Which requests are sent again, and when.
//!
//! A request was certainly not executed where there was no connection, where the server refused the stream or had sent a
//! GOAWAY before it, where the member has no leader, and where it gave a reason for not executing it. The outcome of every
//! other request without an answer is unknown.
//!
//! The other requests of a transport: keep-alive and watch streams are opened again by their users. `Unlock` is not sent: it
//! deletes a key without asking which hold it belongs to, and a guarded delete takes its place. When a token has ended, which is a certain
//! refusal, the login and the request follow at once in the same attempt.

use std::sync::Arc;
use std::time::Duration;

use backon::{BackoffBuilder, ExponentialBackoff, ExponentialBuilder};
use etcd_lock_core::{Error, ErrorKind, Result};
use tokio::time::{Instant, Sleep, sleep};
use tower::retry::Policy;
use tower::retry::budget::{Budget, TpsBudget};

use super::{Call, Reply, Request};
use crate::attempt::NewLeader;

/// Sends again what was certainly not executed, and what may have been only where it is idempotent:
///
/// | RPC | certainly not executed | outcome unknown |
/// | --- | --- | --- |
/// | `Range`, `LeaseTimeToLive`, `LeaseLeases`, a `Txn` that only reads | again | again |
/// | `LeaseGrant` with an id of the caller's | again | again; "lease already exists" is the success of an earlier attempt |
/// | `LeaseGrant` without | again | again; a lease may be left over until its time to live has passed |
/// | `LeaseRevoke` | again | again; "lease not found" is the success of an earlier attempt |
/// | `Txn` that is [idempotent](etcd_lock_core::kv::TxnRequest::idempotent) | again | again |
/// | any other `Txn` | again | an error |
/// | `Lock` | again | an error: the clean-up of the first call could end the hold of the second |
///
/// Only failures that may pass (`Unavailable`, `Timeout`) lead to another attempt. Once the outcome of an attempt is unknown,
/// that of the request stays unknown, but for a read. Pauses grow from 20 to 250 ms and are jittered;
/// what was lost with the cluster's leader is sent again at once when there is another. All requests of a
/// transport share a budget, so that a cluster in trouble isn't given more to do: some 20 repetitions a second, and one for
/// every five requests that succeed.
///
/// It is a [`Policy`] for tower's own [`Retry`](tower::retry::Retry):
///
/// ```
/// use std::sync::Arc;
///
/// use etcd_lock_core::{CallOptions, kv::RangeRequest};
/// use etcd_lock_grpc::layers::{Call, Reply, Request, RetryPolicy, TransportService};
/// use etcd_lock_memory::MemoryEtcd;
/// use tower::{ServiceBuilder, ServiceExt};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> etcd_lock_core::Result<()> {
/// let service = ServiceBuilder::new()
///     .retry(RetryPolicy::new(3))
///     .service(TransportService(Arc::new(MemoryEtcd::new())));
/// let call = Call::Range(RangeRequest::key("key"));
/// let reply = service.oneshot(Request::new(call, CallOptions::default())).await?;
/// assert!(matches!(reply, Reply::Range(_)));
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct RetryPolicy {
    pauses: ExponentialBuilder,
    /// The pauses of one request; a clone of the policy is for another.
    left: Option<ExponentialBackoff>,
    budget: Arc<TpsBudget>,
}

impl RetryPolicy {
    /// A policy that sends a request at most `max_attempts` times.
    #[must_use]
    pub fn new(max_attempts: usize) -> Self {
        let pauses = ExponentialBuilder::default()
            .with_min_delay(Duration::from_millis(20))
            .with_max_delay(Duration::from_millis(250))
            .with_jitter()
            .with_max_times(max_attempts.saturating_sub(1));
        let budget = Arc::new(TpsBudget::new(Duration::from_secs(10), 20, 0.2));
        Self {
            pauses,
            left: None,
            budget,
        }
    }

    fn pause(&mut self, request: &Request, error: &Error) -> Option<Duration> {
        if !may_repeat(&request.call, error) {
            return None;
        }
        let pause = self
            .left
            .get_or_insert_with(|| self.pauses.build())
            .next()?;
        let pause = match NewLeader::caused(error) {
            true => Duration::ZERO,
            false => pause,
        };
        // The failure says more than a timeout would.
        let in_time = request
            .deadline
            .is_none_or(|deadline| Instant::now() + pause < deadline);
        (in_time && self.budget.withdraw()).then_some(pause)
    }
}

impl Clone for RetryPolicy {
    fn clone(&self) -> Self {
        Self {
            pauses: self.pauses,
            left: None,
            budget: self.budget.clone(),
        }
    }
}

impl Policy<Request, Reply, Error> for RetryPolicy {
    type Future = Sleep;

    fn retry(&mut self, request: &mut Request, result: &mut Result<Reply>) -> Option<Sleep> {
        settle(request, result);
        let Err(error) = result else {
            self.budget.deposit();
            return None;
        };
        let pause = self.pause(request, error)?;
        request.uncertain |= error.is_outcome_unknown();
        request.attempt += 1;
        tracing::debug!(%error, ?pause, method = request.call.method(), "trying again");
        Some(sleep(pause))
    }

    fn clone_request(&mut self, request: &Request) -> Option<Request> {
        Some(request.clone())
    }
}

/// Whether a failed request may be sent once more. A timeout is the server's own: ours is counted outside of this layer.
fn may_repeat(call: &Call, error: &Error) -> bool {
    let passing = matches!(error.kind(), ErrorKind::Timeout | ErrorKind::Unavailable);
    let harmless = !error.is_outcome_unknown() || call.is_repeatable();
    passing && harmless
}

/// A change that a repeated request finds in place was made by an attempt before it. One that it doesn't find may still
/// be made later by an earlier attempt, however the last one ended.
fn settle(request: &Request, result: &mut Result<Reply>) {
    let Err(error) = result else { return };
    if !request.uncertain {
        return;
    }
    match &request.call {
        Call::LeaseGrant(grant) if says(error, "lease already exists") => {
            if let Some(id) = grant.id {
                *result = Ok(Reply::LeaseGrantedBefore(id));
            }
        }
        Call::LeaseRevoke(_) if error.kind() == ErrorKind::LeaseNotFound => {
            let header = etcd_lock_core::ResponseHeader::default();
            *result = Ok(Reply::LeaseRevoke(
                etcd_lock_core::lease::LeaseRevokeResponse::new(header),
            ));
        }
        call if call.is_read() => {}
        _ => *error = error.clone().with_outcome_unknown(),
    }
}

fn says(error: &Error, text: &str) -> bool {
    error.server_text().is_some_and(|said| said.contains(text))
}

#[cfg(test)]
mod tests {
    use etcd_lock_core::kv::{PutRequest, RangeRequest, RangeResponse, TxnRequest};
    use etcd_lock_core::lease::{LeaseGrantRequest, LeaseTimeToLiveRequest};
    use etcd_lock_core::{
        CallOptions, LeaseId, LockName, LockRequest, ResponseHeader, Timeout, Ttl,
    };
    use futures_util::future::join_all;
    use tokio::time::advance;

    use super::*;
    use crate::layers::test::{Answers, always, each};

    const ATTEMPTS: usize = 4;

    fn policy() -> RetryPolicy {
        RetryPolicy::new(ATTEMPTS)
    }

    /// With a connection that was refused, nothing was sent.
    fn refused() -> Error {
        Error::new(ErrorKind::Unavailable, "refused")
    }

    fn unknown() -> Error {
        Error::new(ErrorKind::Unavailable, "broke").with_outcome_unknown()
    }

    fn lease() -> LeaseId {
        LeaseId::new(7).unwrap()
    }

    fn lock() -> Call {
        Call::Lock(LockRequest::new(LockName::new("name").unwrap(), lease()))
    }

    fn put() -> TxnRequest {
        TxnRequest::new().and_then(PutRequest::new("key", "value"))
    }

    fn grant() -> LeaseGrantRequest {
        LeaseGrantRequest::new(Ttl::from_secs(60).unwrap())
    }

    fn reads() -> Vec<Call> {
        vec![
            Call::LeaseLeases,
            Call::LeaseTimeToLive(LeaseTimeToLiveRequest::new(lease())),
            Call::Range(RangeRequest::key("key")),
            Call::Txn(TxnRequest::new().and_then(RangeRequest::key("key"))),
        ]
    }

    /// Writes that are as good twice as once.
    fn repeatable_writes() -> Vec<Call> {
        vec![
            Call::LeaseGrant(grant().with_id(lease())),
            Call::LeaseGrant(grant()),
            Call::LeaseRevoke(lease()),
            Call::Txn(put().idempotent()),
        ]
    }

    fn other_writes() -> Vec<Call> {
        vec![lock(), Call::Txn(put())]
    }

    fn all() -> impl Iterator<Item = Call> {
        [reads(), repeatable_writes(), other_writes()]
            .into_iter()
            .flatten()
    }

    #[tokio::test(start_paused = true)]
    async fn what_was_not_executed_is_sent_again() {
        for call in all() {
            let name = call.method();
            let (error, attempts) = always(policy(), call, refused()).await;
            assert_eq!(attempts, ATTEMPTS, "{name}");
            assert!(
                error.is_unavailable() && !error.is_outcome_unknown(),
                "{name}: {error:?}"
            );
        }
    }

    #[tokio::test(start_paused = true)]
    async fn what_may_have_been_executed_is_sent_again_where_that_does_no_harm() {
        for call in repeatable_writes() {
            let name = call.method();
            let (error, attempts) = always(policy(), call, unknown()).await;
            assert_eq!(attempts, ATTEMPTS, "{name}");
            assert!(error.is_outcome_unknown(), "{name}: {error:?}");
        }
        for call in other_writes() {
            let name = call.method();
            let (error, attempts) = always(policy(), call, unknown()).await;
            assert_eq!(attempts, 1, "{name}");
            assert!(error.is_outcome_unknown(), "{name}: {error:?}");
        }
    }

    /// Another member may answer in time.
    #[tokio::test(start_paused = true)]
    async fn what_a_server_gave_up_on_is_asked_again() {
        let gave_up = Error::new(ErrorKind::Timeout, "context deadline exceeded");
        for call in reads() {
            let (_, attempts) = always(policy(), call, gave_up.clone()).await;
            assert_eq!(attempts, ATTEMPTS);
        }
        let (_, attempts) = always(policy(), lock(), gave_up.with_outcome_unknown()).await;
        assert_eq!(attempts, 1);
    }

    #[tokio::test(start_paused = true)]
    async fn what_was_answered_is_not_asked_again() {
        for kind in [
            ErrorKind::InvalidArgument,
            ErrorKind::LeaseNotFound,
            ErrorKind::PermissionDenied,
            ErrorKind::Protocol,
            ErrorKind::ResourceExhausted,
            ErrorKind::Server,
            ErrorKind::Unauthenticated,
            ErrorKind::Unsupported,
        ] {
            for call in all() {
                let (_, attempts) = always(policy(), call, Error::new(kind, "no")).await;
                assert_eq!(attempts, 1, "{kind:?}");
            }
        }
    }

    #[tokio::test(start_paused = true)]
    async fn the_first_answer_counts() {
        let header = ResponseHeader::default();
        let answers: Answers = vec![
            Err(refused()),
            Err(unknown()),
            Ok(Reply::Range(RangeResponse::new(
                header,
                Vec::new(),
                false,
                3,
            ))),
        ];
        let reply = each(policy(), Call::Range(RangeRequest::key("key")), answers).await;
        assert!(matches!(reply, Ok(Reply::Range(reply)) if reply.count == 3));
    }

    /// The first attempt may be executed even now, though the last one was not.
    #[tokio::test(start_paused = true)]
    async fn an_unknown_outcome_stays_unknown() {
        let lasts = [
            vec![Err(refused()); ATTEMPTS - 1],
            vec![Err(Error::new(ErrorKind::LeaseNotFound, "lease not found"))],
            vec![Err(Error::new(ErrorKind::PermissionDenied, "denied"))],
        ];
        for last in lasts {
            let answers = [vec![Err(unknown())], last.clone()].concat();
            let result = each(policy(), Call::Txn(put().idempotent()), answers).await;
            let (error, last) = (result.unwrap_err(), last[0].as_ref().unwrap_err());
            assert_eq!(error.kind(), last.kind());
            assert!(error.is_outcome_unknown(), "{error:?}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_lease_that_is_there_was_granted_by_the_attempt_before() {
        let taken = || {
            Error::new(ErrorKind::InvalidArgument, "refused")
                .with_server_text("etcdserver: lease already exists")
        };
        let call = || Call::LeaseGrant(grant().with_id(lease()));
        let reply = each(policy(), call(), vec![Err(unknown()), Err(taken())]).await;
        assert!(matches!(reply, Ok(Reply::LeaseGrantedBefore(id)) if id == lease()));

        // Somebody else's, where the attempt before was certainly not executed.
        for answers in [vec![Err(taken())], vec![Err(refused()), Err(taken())]] {
            let error = each(policy(), call(), answers).await.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidArgument);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_lease_that_is_gone_was_revoked_by_the_attempt_before() {
        let gone = || Error::new(ErrorKind::LeaseNotFound, "gone");
        let call = || Call::LeaseRevoke(lease());
        let reply = each(policy(), call(), vec![Err(unknown()), Err(gone())]).await;
        assert!(matches!(reply, Ok(Reply::LeaseRevoke(_))), "{reply:?}");

        for answers in [vec![Err(gone())], vec![Err(refused()), Err(gone())]] {
            let error = each(policy(), call(), answers).await.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::LeaseNotFound);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn what_was_lost_with_a_leader_is_sent_again_at_once() {
        let (began, call) = (Instant::now(), Call::LeaseLeases);
        let (_, attempts) = always(policy(), call.clone(), unknown().with_source(NewLeader)).await;
        assert_eq!(attempts, ATTEMPTS);
        assert!(
            began.elapsed() < Duration::from_millis(10),
            "{:?}",
            began.elapsed()
        );
        always(policy(), call, unknown()).await;
        assert!(
            began.elapsed() > Duration::from_millis(50),
            "{:?}",
            began.elapsed()
        );
    }

    /// The failure says more than a timeout would, and comes earlier.
    #[tokio::test(start_paused = true)]
    async fn no_pause_goes_beyond_the_deadline() {
        let bound = Duration::from_millis(50);
        let mut policy = RetryPolicy::new(usize::MAX);
        let options = CallOptions::new(Timeout::After(bound));
        let mut request = Request::new(Call::LeaseLeases, options);
        let mut pauses = Vec::new();
        while let Some(pause) = policy.retry(&mut request, &mut Err(refused()))
            && pauses.len() < 50
        {
            let pause = pause.deadline() - Instant::now();
            pauses.push(pause);
            advance(pause).await;
        }
        assert!(!pauses.is_empty());
        assert!(
            request.left() != Timeout::After(Duration::ZERO),
            "{pauses:?}"
        );
    }

    /// A cluster in trouble is not given several times as much to do.
    #[tokio::test(start_paused = true)]
    async fn all_requests_share_a_budget() {
        let policy = policy();
        let requests = 200;
        let at_once = (0..requests).map(|_| always(policy.clone(), Call::LeaseLeases, refused()));
        let sent: usize = join_all(at_once)
            .await
            .into_iter()
            .map(|(_, attempts)| attempts)
            .sum();
        let (repeated, wanted) = (sent - requests, requests * (ATTEMPTS - 1));
        assert!(
            (100..=wanted / 2).contains(&repeated),
            "{repeated} of {wanted}"
        );

        let (_, attempts) = always(RetryPolicy::new(ATTEMPTS), Call::LeaseLeases, refused()).await;
        assert_eq!(
            attempts, ATTEMPTS,
            "another transport has a budget of its own"
        );
    }
}
