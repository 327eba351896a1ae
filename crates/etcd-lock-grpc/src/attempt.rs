//! One attempt: a request, sent once, to one endpoint.
//!
//! Each attempt has a bound: [`ConnectOptions::with_attempt_timeout`](crate::ConnectOptions::with_attempt_timeout), or a third of the
//! request's own timeout where that is less, but never less than [`LEAST_BOUND`]. The look-up of the name, the connection,
//! the wait for a turn on it and the login count. When it has passed, a request that may be repeated is given up here and
//! can be sent to another endpoint. One that may not is waited for as long as its endpoint gives signs of life and has a
//! leader: nothing would be won by giving it up earlier. Either is given up when the cluster has got another leader since,
//! because what was on its way to the one before is lost: at once where it may be repeated, and else a moment later, since
//! the new leader may be about to commit it.
//!
//! Nearly every answer comes within [`SLOW`]. Until then one timer is all that waiting for it costs.

use std::error::Error as StdError;
use std::fmt;
use std::future::pending;
use std::sync::Arc;
use std::time::Duration;

use etcd_lock_core::{Error, ErrorKind, Result, Timeout};
use tokio::time::{Instant, sleep, sleep_until, timeout_at};

use crate::auth::Pass;
use crate::connection::Channel;
use crate::endpoint::{Endpoint, Question, SLOW, Silence, TAKEOVER, Wait};
use crate::endpoints::Endpoints;
use crate::held_up::catch_up;
use crate::layers::{Call, Reply, Request};
use crate::pool::{Purpose, Slot};
use crate::{status, wire};

/// The least bound of an attempt: what is slower than this on a healthy network isn't well.
const LEAST_BOUND: Duration = Duration::from_millis(500);

/// Sends a request to the endpoint of choice.
pub(crate) async fn attempt(endpoints: Arc<Endpoints>, request: Request) -> Result<Reply> {
    let bound = bound(request.timeout, endpoints.bound());
    let until = Instant::now() + bound;
    let (number, method) = (request.attempt, request.call.method());
    let preparing = Attempt::prepare(endpoints.clone(), until, &request.call);
    let prepared = timeout_at(until, preparing).await;
    let attempt = prepared.unwrap_or_else(|_| Err(endpoints.not_asked(bound)))?;
    let result = attempt.run(request).await;
    tracing::debug!(
        rpc.method = method,
        server.address = attempt.endpoint.name(),
        attempt = number,
        error.type = result.as_ref().err().map(|error| error.kind().as_str()),
        "attempt ended"
    );
    result
}

/// How long one attempt may take.
fn bound(timeout: Timeout, usual: Duration) -> Duration {
    match timeout {
        Timeout::After(all) => (all / 3).max(LEAST_BOUND).min(usual),
        Timeout::Infinity => usual,
    }
}

/// An endpoint that can be asked.
struct Attempt {
    endpoints: Arc<Endpoints>,
    endpoint: Arc<Endpoint>,
    slot: Slot,
    pass: Pass,
    until: Instant,
}

impl Attempt {
    async fn prepare(endpoints: Arc<Endpoints>, until: Instant, call: &Call) -> Result<Self> {
        let purpose = match call {
            Call::Lock(_) => Purpose::Lock,
            _ => Purpose::Short,
        };
        let (endpoint, slot) = endpoints.slot(purpose).await?;
        let pass = endpoints.auth().pass(&endpoint).await?;
        Ok(Self {
            endpoints,
            endpoint,
            slot,
            pass,
            until,
        })
    }

    async fn run(&self, request: Request) -> Result<Reply> {
        let auth = self.endpoints.auth();
        // A `Lock` may have waited in the queue until its token ended: its caller knows what it left there.
        let repeatable = auth.has_login() && !matches!(request.call, Call::Lock(_));
        let spare = repeatable.then(|| request.clone());
        let error = match self.send(request, &self.pass).await {
            Err(error) if auth.is_over(&self.pass, &error) => error,
            sent => return sent,
        };
        let Some(request) = spare else {
            return Err(error);
        };
        let pass = timeout_at(self.until, auth.pass(&self.endpoint));
        let pass = pass.await.unwrap_or(Err(error))?;
        // Boxed, since it is rare, and all attempts would have to have room for it.
        Box::pin(self.send(request, &pass)).await
    }

    async fn send(&self, request: Request, pass: &Pass) -> Result<Reply> {
        let is_read = request.call.is_read();
        let waiting = Waiting::begin(self, &request.call);
        let sent = wire::send(request, waiting.channel(), pass);
        let sent = tokio::select! {
            biased;
            sent = sent => sent,
            error = waiting.in_vain() => return Err(error),
        };
        let reply = sent.map_err(|status| {
            let question = waiting.question.as_deref();
            status::note(*status, &self.endpoint, question, is_read)
        })?;
        let reply = reply.map_err(|error| match error.kind() {
            // A reply that makes no sense is a reply: the request may have been executed.
            ErrorKind::Protocol if !is_read => error.with_outcome_unknown(),
            _ => error,
        })?;
        if let Some(header) = reply.header() {
            self.endpoint.check(header)?;
            self.endpoint.note_term(header.raft_term);
        }
        self.endpoint.succeed();
        Ok(reply)
    }
}

/// A request that is about to be sent, or has been, and is not answered yet.
struct Waiting<'a> {
    attempt: &'a Attempt,
    /// None for a `Lock`, whose answer may take any time.
    question: Option<Arc<Question>>,
    _wait: Option<Wait>,
    is_read: bool,
    is_repeatable: bool,
    silence: Silence,
    /// The cluster's, when the request was sent.
    term: u64,
    slow_at: Instant,
}

impl<'a> Waiting<'a> {
    fn begin(attempt: &'a Attempt, call: &Call) -> Self {
        let endpoint = &attempt.endpoint;
        let waits = matches!(call, Call::Lock(_));
        Self {
            attempt,
            silence: endpoint.silence(),
            question: (!waits).then(|| Arc::new(endpoint.ask())),
            _wait: waits.then(|| endpoint.wait()),
            is_read: call.is_read(),
            is_repeatable: call.is_repeatable(),
            term: endpoint.term(),
            slow_at: Instant::now() + SLOW,
        }
    }

    fn channel(&self) -> Channel {
        let channel = self.attempt.slot.channel.clone();
        match &self.question {
            Some(question) => channel.answering(question.clone()),
            None => channel,
        }
    }

    /// Waits until an answer can't be expected any more, and returns what is said instead.
    async fn in_vain(&self) -> Error {
        sleep_until(self.slow_at.min(self.attempt.until)).await;
        // Boxed, since it is rare.
        Box::pin(async {
            tokio::select! {
                biased;
                () = self.silence.found() => self.unanswered(),
                () = self.lost_with_its_leader() => self.unanswered().with_source(NewLeader),
                () = self.overdue() => self.unanswered(),
            }
        })
        .await
    }

    async fn lost_with_its_leader(&self) {
        self.attempt.endpoint.superseded(self.term).await;
        // Sending it a second time in vain does no harm.
        if !self.is_repeatable {
            sleep(TAKEOVER).await;
        }
        self.if_open().await;
    }

    async fn overdue(&self) {
        let endpoint = &self.attempt.endpoint;
        sleep_until(self.attempt.until).await;
        catch_up(self.attempt.until).await;
        if !self.is_repeatable {
            endpoint.leaderless().await;
        }
        self.if_open().await;
        if self.is_repeatable {
            endpoint.distrust();
            endpoint.suspect("a request got no answer in time");
        }
    }

    /// Goes on only while the reply has not begun. Once it has, the endpoint is well: how long it is may take until the
    /// deadline.
    async fn if_open(&self) {
        if self.question.as_ref().is_none_or(|asked| asked.is_closed()) {
            pending::<()>().await;
        }
    }

    fn unanswered(&self) -> Error {
        let text = format!("{} gave no answer in time", self.attempt.endpoint.name());
        let error = Error::new(ErrorKind::Unavailable, text);
        match self.is_read {
            true => error,
            false => error.with_outcome_unknown(),
        }
    }
}

/// Why an attempt ended that was lost with its leader: there is nothing to wait for before the next one.
#[derive(Debug)]
pub(crate) struct NewLeader;

impl NewLeader {
    /// Whether this is why.
    pub(crate) fn caused(error: &Error) -> bool {
        error.source().is_some_and(|cause| cause.is::<Self>())
    }
}

impl fmt::Display for NewLeader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the cluster has got another leader since")
    }
}

impl StdError for NewLeader {}
