//! The task that keeps one lease alive, and says when it can no longer be trusted.

use std::sync::Arc;
use std::time::Duration;

use etcd_lock_core::{CallOptions, Error, ErrorKind, LeaseId, Result, Timeout, Transport, Ttl};
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep_until, timeout_at};
use tokio_stream::StreamExt;
use tokio_stream::wrappers::UnboundedReceiverStream;
use tokio_util::sync::CancellationToken;

use crate::backoff::Backoff;
use crate::local::Locals;
use crate::metrics;

/// How a kept lease is doing.
#[derive(Clone, Debug)]
pub(crate) enum Life {
    /// It can be trusted until then, by this process's clock.
    Until(Instant),
    /// It can't be trusted any more.
    Lost(Error),
}

impl Life {
    /// Counts from before the request was sent, since that is before the server can have counted from.
    pub(crate) fn counted_from(sent: Instant, ttl: Ttl, grace: Duration) -> Self {
        Self::Until(sent + trusted(ttl).saturating_sub(grace))
    }

    /// Whether the lease can be trusted now, also when the keeper had no chance to run since.
    pub(crate) fn is_trusted(&self) -> bool {
        matches!(self, Self::Until(deadline) if Instant::now() < *deadline)
    }
}

/// How much of a lease's time is trusted: a tenth is left for clocks that run at different speeds.
fn trusted(ttl: Ttl) -> Duration {
    ttl.as_duration() * 9 / 10
}

/// Keeps a lease alive until it is lost or `stop` is cancelled.
pub(crate) struct Keeper {
    pub(crate) transport: Arc<dyn Transport>,
    pub(crate) lease: LeaseId,
    pub(crate) ttl: Ttl,
    pub(crate) grace: Duration,
    pub(crate) life: watch::Sender<Life>,
    /// Cancelled when the lease is lost: all who wait for that are woken in the order in which they came.
    pub(crate) lost: CancellationToken,
    pub(crate) stop: CancellationToken,
    /// Whose waits end with the session.
    pub(crate) locals: Arc<Locals>,
}

impl Keeper {
    pub(crate) async fn keep(&self) {
        tokio::select! {
            biased;
            () = self.stop.cancelled() => {}
            error = self.until_lost() => self.lose(error),
        }
        self.locals.close();
    }

    /// Ends the lease. One that is gone already is no error.
    pub(crate) async fn revoke(&self) -> Result<()> {
        let bound = CallOptions::new(Timeout::After(Duration::from_secs(5)));
        match self.transport.lease_revoke(self.lease, bound).await {
            Err(error) if error.kind() != ErrorKind::LeaseNotFound => Err(error),
            _ => Ok(()),
        }
    }

    fn lose(&self, error: Error) {
        tracing::warn!(lease.id = %self.lease, %error, "session lost");
        metrics::session_lost(&error);
        self.life.send_replace(Life::Lost(error));
        self.lost.cancel();
    }

    async fn until_lost(&self) -> Error {
        let mut backoff = Backoff::new();
        loop {
            let broken = match self.stream(&mut backoff).await {
                Ok(error) => return error,
                Err(broken) => broken,
            };
            tracing::debug!(lease.id = %self.lease, error = %broken, "keep-alive stream ended");
            if timeout_at(self.deadline(), backoff.pause()).await.is_err() {
                return Error::new(
                    ErrorKind::Lost,
                    "the session's lease could not be renewed in time and may have ended",
                )
                .with_source(broken);
            }
        }
    }

    /// Renews over one stream: `Ok` with why the lease is lost, `Err` with why the stream is.
    async fn stream(&self, backoff: &mut Backoff) -> Result<Error> {
        let (requests, outgoing) = mpsc::unbounded_channel();
        let outgoing = Box::pin(UnboundedReceiverStream::new(outgoing));
        let mut replies = self.transport.lease_keep_alive(outgoing);
        let interval = self.ttl.as_duration() / 3;
        loop {
            let sent = Instant::now();
            // The stream holds the other end for as long as it has not failed, and then the reply says so.
            let _ = requests.send(self.lease);
            let patience = self.deadline().min(sent + interval);
            let reply = match timeout_at(patience, replies.next()).await {
                Ok(Some(reply)) => reply?,
                Ok(None) => {
                    return Err(Error::new(
                        ErrorKind::Unavailable,
                        "the keep-alive stream ended",
                    ));
                }
                Err(_) => return Err(Error::new(ErrorKind::Timeout, "no answer to a keep-alive")),
            };
            let Some(ttl) = reply.ttl else {
                return Ok(Error::new(
                    ErrorKind::LeaseNotFound,
                    "the session's lease has ended",
                ));
            };
            self.life
                .send_replace(Life::counted_from(sent, ttl, self.grace));
            metrics::kept_alive(sent.elapsed());
            *backoff = Backoff::new();
            sleep_until(sent + interval).await;
        }
    }

    fn deadline(&self) -> Instant {
        match *self.life.borrow() {
            Life::Until(deadline) => deadline,
            Life::Lost(_) => Instant::now(),
        }
    }
}

/// Also when the runtime that it ran on has ended.
impl Drop for Keeper {
    fn drop(&mut self) {
        self.locals.close();
    }
}
