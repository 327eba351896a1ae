//! A transaction that shares a request, on both sides: the sender's and its caller's.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

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
    /// Set by the sender that takes it along, or by its caller that gives it up: by the first of them alone, so that neither
    /// depends on the order in which it sees two changes of the other.
    is_decided: Arc<AtomicBool>,
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
        let is_decided = Arc::new(AtomicBool::new(false));
        let (caller, reply) = oneshot::channel();
        let wait = Wait {
            reply,
            is_decided: is_decided.clone(),
            deadline,
        };
        let member = Self {
            txn: txn.clone(),
            access,
            deadline,
            arrived,
            is_decided,
            caller,
            runtime,
            span: Span::current(),
        };
        (member, wait)
    }

    /// Takes it along, unless its caller is gone or has given it up.
    pub(crate) fn is_to_be_sent(&self) -> bool {
        !self.caller.is_closed() && !self.is_decided.swap(true, Relaxed)
    }
}

/// A caller's wait for the reply to a transaction that shares a request.
#[derive(Debug)]
pub(crate) struct Wait {
    reply: oneshot::Receiver<Result<TxnResponse>>,
    is_decided: Arc<AtomicBool>,
    deadline: Option<Instant>,
}

impl Wait {
    /// Waits for the reply, and sees to it that requests which take too long do not keep it from being sent.
    pub(crate) async fn reply(mut self, group: &Arc<Group>) -> Result<TxnResponse> {
        loop {
            let patience = group.patience();
            let overdue = Instant::now() + patience;
            // Until it is given up here, only its sender decides.
            let wake = match self.is_decided.load(Relaxed) {
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
        let error = Error::new(ErrorKind::Timeout, "no answer to the transaction in time");
        Err(match self.is_decided.swap(true, Relaxed) {
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

#[cfg(test)]
mod tests {
    use etcd_lock_core::Timeout;
    use etcd_lock_core::kv::PutRequest;

    use super::*;

    fn member() -> (Member, Wait) {
        let txn = TxnRequest::new().and_then(PutRequest::new("key", "value"));
        let options = CallOptions::new(Timeout::Infinity);
        let access = Access::of(&txn).unwrap();
        Member::new(&txn, access, Instant::now(), options, Handle::current())
    }

    #[tokio::test]
    async fn transaction_that_its_caller_gave_up_is_not_sent() {
        let (member, wait) = member();
        assert!(!wait.time_out().unwrap_err().is_outcome_unknown());
        assert!(!member.is_to_be_sent());
    }

    #[tokio::test]
    async fn outcome_of_a_transaction_that_is_sent_is_unknown_to_a_caller_that_gives_it_up() {
        let (member, wait) = member();
        assert!(member.is_to_be_sent());
        assert!(wait.time_out().unwrap_err().is_outcome_unknown());
    }

    /// Both look at the same moment: on two threads, many times.
    #[tokio::test]
    async fn sender_and_caller_agree_on_whether_a_transaction_was_sent() {
        for _ in 0..2_000 {
            let (member, wait) = member();
            let sender = std::thread::spawn(move || member.is_to_be_sent());
            let is_unknown = wait.time_out().unwrap_err().is_outcome_unknown();
            assert_eq!(sender.join().unwrap(), is_unknown);
        }
    }
}
