//! A transaction that shares a request, on both sides: the sender's and its caller's.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use etcd_lock_core::kv::{TxnRequest, TxnResponse};
use etcd_lock_core::{CallOptions, Error, ErrorKind, Result};
use tokio::runtime::Handle;
use tokio::sync::oneshot;
use tokio::time::{Instant, sleep_until};
use tracing::Span;

use crate::access::Access;
use crate::group::Group;

/// A transaction that shares a request, or waits to.
#[derive(Debug)]
pub(crate) struct Member {
    pub(crate) txn: TxnRequest,
    pub(crate) access: Access,
    pub(crate) deadline: Option<Instant>,
    pub(crate) arrived: Instant,
    /// Whether it may have been sent: set before the caller is asked whether it still waits.
    is_sent: Arc<AtomicBool>,
    pub(crate) caller: oneshot::Sender<Result<TxnResponse>>,
    /// The runtime of its caller, and the caller's span.
    pub(crate) runtime: Handle,
    pub(crate) span: Span,
}

impl Member {
    /// A transaction whose keys are claimed, and its caller's wait.
    pub(crate) fn new(
        txn: &TxnRequest,
        access: Access,
        arrived: Instant,
        options: CallOptions,
        runtime: Handle,
    ) -> (Self, Wait) {
        // A caller may wait for longer than a clock can count.
        let deadline = options.timeout.as_duration();
        let deadline = deadline.and_then(|timeout| arrived.checked_add(timeout));
        let is_sent = Arc::new(AtomicBool::new(false));
        let (caller, reply) = oneshot::channel();
        let wait = Wait {
            reply,
            is_sent: is_sent.clone(),
            deadline,
        };
        let member = Self {
            txn: txn.clone(),
            access,
            deadline,
            arrived,
            is_sent,
            caller,
            runtime,
            span: Span::current(),
        };
        (member, wait)
    }

    /// Marks it as sent, unless its caller is gone.
    pub(crate) fn is_to_be_sent(&self) -> bool {
        self.is_sent.store(true, Ordering::SeqCst);
        !self.caller.is_closed()
    }
}

/// A caller's wait for the reply to a transaction that shares a request.
#[derive(Debug)]
pub(crate) struct Wait {
    reply: oneshot::Receiver<Result<TxnResponse>>,
    is_sent: Arc<AtomicBool>,
    deadline: Option<Instant>,
}

impl Wait {
    /// Waits for the reply, and sees to it that requests which take too long do not keep it from being sent.
    pub(crate) async fn reply(mut self, group: &Arc<Group>) -> Result<TxnResponse> {
        loop {
            let patience = group.patience();
            let overdue = Instant::now() + patience;
            let wake = match self.is_sent.load(Ordering::SeqCst) {
                true => self.deadline,
                false => Some(
                    self.deadline
                        .map_or(overdue, |deadline| deadline.min(overdue)),
                ),
            };
            tokio::select! {
                biased;
                reply = &mut self.reply => return reply.unwrap_or_else(|_| Err(abandoned())),
                () = at(wake) => {}
            }
            if self
                .deadline
                .is_some_and(|deadline| deadline <= Instant::now())
            {
                return self.time_out();
            }
            group.give_up_overdue();
        }
    }

    fn time_out(mut self) -> Result<TxnResponse> {
        self.reply.close();
        if let Ok(reply) = self.reply.try_recv() {
            return reply;
        }
        // The sender looks whether this side is closed only after it has set the mark.
        let error = Error::new(ErrorKind::Timeout, "no answer to the transaction in time");
        Err(match self.is_sent.load(Ordering::SeqCst) {
            true => error.with_outcome_unknown(),
            false => error,
        })
    }
}

async fn at(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => sleep_until(deadline).await,
        None => std::future::pending().await,
    }
}

/// The error where the task of a request was dropped.
pub(crate) fn abandoned() -> Error {
    let text = "the task that sent the transaction ended with its runtime";
    Error::new(ErrorKind::Unavailable, text).with_outcome_unknown()
}
