//! The task that keeps one lease alive, and says when it can no longer be relied on.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::time::Duration;

use etcd_lock_core::{CallOptions, Error, ErrorKind, Result, Timeout, Transport, Ttl};
use etcd_lock_queue::Stamp;
use tokio::sync::mpsc;
use tokio_stream::StreamExt;
use tokio_stream::wrappers::UnboundedReceiverStream;
use tokio_util::sync::CancellationToken;

use crate::backoff::Backoff;
use crate::clock::{after, until};
use crate::metrics;
use crate::ownership::Ownership;
use crate::queue::Queue;
use crate::validity::Lease;

/// Keeps a lease alive until it is lost or `stop` is cancelled.
pub(crate) struct Keeper {
    pub(crate) queue: Queue,
    pub(crate) lease: Arc<Lease>,
    pub(crate) ttl: Ttl,
    /// When it was granted or renewed last.
    pub(crate) renewed: Stamp,
    pub(crate) grace: Duration,
    /// The session is closed.
    pub(crate) stop: CancellationToken,
    pub(crate) ownership: Ownership,
    /// The client's locks have been told of the end.
    pub(crate) has_ended: AtomicBool,
}

impl Keeper {
    /// Keeps the lease alive for as long as the session lasts, and then ends it if it is the session's own.
    pub(crate) async fn run(self) -> Result<()> {
        tokio::select! {
            biased;
            () = self.stop.cancelled() => {}
            error = self.until_lost() => self.lose(error),
        }
        self.end();
        if self.ownership.is_owner() {
            self.revoke().await
        } else {
            Ok(())
        }
    }

    /// A closed session has no entries any more, as far as its client is concerned. A lease that goes on without it is like
    /// any other that nobody here keeps alive.
    fn end(&self) {
        let queue = self.queue.inner();
        if self.has_ended.swap(true, SeqCst) {
            return;
        }
        if self.ownership.is_owner() {
            queue.end(&self.lease, closed());
        } else if self.lease.has_session() {
            self.lease.leave_to_others();
            queue.cancel_all(&self.lease, &closed());
        }
    }

    /// One that is gone already is no error.
    async fn revoke(&self) -> Result<()> {
        let bound = CallOptions::new(Timeout::After(Duration::from_secs(5)));
        match self.queue.lease_revoke(self.lease.id(), bound).await {
            Err(error) if error.kind() != ErrorKind::LeaseNotFound => Err(error),
            _ => Ok(()),
        }
    }

    fn lose(&self, error: Error) {
        tracing::warn!(lease.id = %self.lease.id(), %error, "session lost");
        metrics::session_lost(&error);
        self.has_ended.store(true, SeqCst);
        self.queue.inner().end(&self.lease, error);
    }

    async fn until_lost(&self) -> Error {
        let first = after(self.renewed, self.interval());
        tokio::select! {
            biased;
            error = self.lease.over() => return error,
            // A session that ends before needs no stream.
            () = self.queue.inner().clock.sleep_until(first) => {}
        }
        let mut backoff = Backoff::new();
        loop {
            let broken = tokio::select! {
                biased;
                error = self.lease.over() => return error,
                ended = self.stream(&mut backoff) => match ended {
                    Ok(error) => return error,
                    Err(broken) => broken,
                },
            };
            tracing::debug!(lease.id = %self.lease.id(), error = %broken, "keep-alive stream ended");
            if self
                .in_time(self.lease.valid_until(), backoff.pause())
                .await
                .is_none()
            {
                return too_late().with_source(broken);
            }
        }
    }

    /// Renews over one stream: `Ok` with why the lease is lost, `Err` with why the stream is.
    async fn stream(&self, backoff: &mut Backoff) -> Result<Error> {
        let (requests, outgoing) = mpsc::unbounded_channel();
        let outgoing = Box::pin(UnboundedReceiverStream::new(outgoing));
        let mut replies = self.queue.lease_keep_alive(outgoing);
        let interval = self.interval();
        let clock = &self.queue.inner().clock;
        loop {
            let sent = clock.now();
            // The stream holds the other end for as long as it has not failed, and then the reply says so.
            let _ = requests.send(self.lease.id());
            let patience = self.lease.valid_until().min(after(sent, self.patience()));
            let reply = match self.in_time(patience, replies.next()).await {
                Some(Some(reply)) => reply?,
                Some(None) => {
                    let text = "the keep-alive stream ended";
                    return Err(Error::new(ErrorKind::Unavailable, text));
                }
                None => return Err(Error::new(ErrorKind::Timeout, "no answer to a keep-alive")),
            };
            let Some(ttl) = reply.ttl else {
                return Ok(Error::new(
                    ErrorKind::LeaseNotFound,
                    "the session's lease has ended",
                ));
            };
            self.lease.renewed(ttl, self.grace, sent);
            metrics::kept_alive(until(clock.now(), sent));
            *backoff = Backoff::new();
            clock.sleep_until(after(sent, interval)).await;
        }
    }

    /// A third of the time to live; less where the grace leaves little of it, so that an answer may always take three tenths.
    fn interval(&self) -> Duration {
        let ttl = self.ttl.as_duration();
        let trust = (ttl * 9 / 10).saturating_sub(self.grace);
        (ttl / 3).min(trust.saturating_sub(ttl * 3 / 10))
    }

    /// How long an answer may take before it is asked for on another stream.
    fn patience(&self) -> Duration {
        self.ttl.as_duration() / 3
    }

    async fn in_time<T>(&self, bound: Stamp, future: impl Future<Output = T>) -> Option<T> {
        tokio::select! {
            biased;
            result = future => Some(result),
            () = self.queue.inner().clock.sleep_until(bound) => None,
        }
    }
}

/// Also when the runtime that it ran on has ended.
impl Drop for Keeper {
    fn drop(&mut self) {
        self.end();
    }
}

/// The error of a lease that was not renewed in time.
pub(crate) fn too_late() -> Error {
    Error::new(
        ErrorKind::Lost,
        "the session's lease could not be renewed in time and may have ended",
    )
    .with_session_lost()
}

pub(crate) fn closed() -> Error {
    Error::new(ErrorKind::Closed, "the session is closed")
}
