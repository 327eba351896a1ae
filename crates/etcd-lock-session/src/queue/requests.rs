//! A request of the state machine on its way. It is answered exactly once, also where its future is dropped.

use std::future::Future;
use std::pin::Pin;

use bytes::Bytes;
use etcd_lock_core::kv::TxnResponse;
use etcd_lock_core::{CallOptions, Error, ErrorKind, Result, Timeout};
use etcd_lock_queue::{Failure, Input, Mode, Reply, Request, RequestFailure, Stamp, Ticket};

use super::callers::{Kind, Slot};
use super::failures::{odd_answer, request_failure};
use super::lock::{Lock, none};
use super::reads;
use super::state::{State, Todo};
use crate::metrics;

/// A future that runs by itself once it is polled.
pub(crate) type Call = Pin<Box<dyn Future<Output = ()> + Send>>;

/// A request on its way. Where its future is dropped, as by a runtime that ends, its outcome is unknown.
pub(super) struct Flight {
    lock: Lock,
    request: Option<Request>,
}

impl Flight {
    pub(super) const fn new(lock: Lock, request: Request) -> Self {
        Self {
            lock,
            request: Some(request),
        }
    }

    /// Sends the request, and tells the machine what comes of it.
    pub(super) fn run(mut self) -> Call {
        Box::pin(async move {
            let queue = self.lock.queue.clone();
            let Some(request) = &self.request else {
                return;
            };
            let owner = self.owner(request);
            let txn = || request.txn(self.lock.name(), &owner);
            let call = CallOptions::new(Timeout::After(queue.tuning.request_timeout));
            let known = queue.cluster.newest();
            let sent = queue.clock.now();
            let result = tokio::select! {
                biased;
                () = self.superfluous(request) => return,
                result = reads::send(&*queue.transport, txn, call) => result,
            };
            if let Ok(reply) = &result {
                queue.check_cluster(known, &reply.header, self.lock.name());
            }
            self.done(sent, result);
        })
    }

    /// Waits until the request need not be sent any more: a session that is closed revokes its lease, which deletes all of its
    /// entries at once.
    async fn superfluous(&self, request: &Request) {
        let lease = match request {
            Request::Delete { session, .. } => {
                let state = self.lock.state();
                state
                    .members
                    .get(session)
                    .map(|member| member.lease.clone())
            }
            _ => None,
        };
        match lease {
            Some(lease) if lease.over().await.kind() == ErrorKind::Closed => {}
            _ => std::future::pending().await,
        }
    }

    fn owner(&self, request: &Request) -> Bytes {
        let Request::Enter { session, .. } = request else {
            return Bytes::new();
        };
        let state = self.lock.state();
        let member = state.members.get(session);
        member
            .map(|member| member.owner.clone())
            .unwrap_or_default()
    }

    fn done(&mut self, sent: Stamp, result: Result<TxnResponse>) {
        let Some(request) = self.request.take() else {
            return;
        };
        let lock = self.lock.clone();
        let reply = result.and_then(|answer| {
            let reply = request.reply(lock.name(), &answer);
            reply
                .map(|reply| (answer.header, reply))
                .ok_or_else(odd_answer)
        });
        lock.change(none, |state, todo| match reply {
            Ok((header, reply)) => {
                state.saw(header);
                replied(&lock, state, todo, (request.ticket(), sent, reply));
            }
            Err(error) => failed(&lock, state, todo, &request, &error),
        });
    }
}

impl Drop for Flight {
    fn drop(&mut self) {
        if let Some(request) = self.request.take() {
            let doubt = Input::Failed(request.ticket(), RequestFailure::InDoubt);
            self.lock.feed_all([doubt]);
        }
    }
}

fn replied(lock: &Lock, state: &mut State, todo: &mut Todo, reply: (Ticket, Stamp, Reply)) {
    let (request, sent, reply) = reply;
    match request {
        Ticket::Snapshot | Ticket::Check => state.reads_answered(),
        Ticket::Enter(session) => {
            if let Reply::Entered {
                created, newest, ..
            } = &reply
            {
                todo.entered = Some((session, *created));
                if let Some(newest) = newest.as_ref().filter(|newest| newest.complete) {
                    metrics::entered_queue(newest.entries.len());
                }
            }
            if let Some(member) = state.members.get_mut(&session) {
                member.failure = None;
            }
        }
        _ => {}
    }
    lock.handle(
        state,
        Input::Replied {
            request,
            sent,
            reply,
        },
        todo,
    );
    if let Ticket::Delete(session) = request {
        state.leave(session);
        todo.is_changed = true;
    }
}

fn failed(lock: &Lock, state: &mut State, todo: &mut Todo, request: &Request, error: &Error) {
    tracing::debug!(%error, lock.name = %lock.name(), "a request of the wait queue failed");
    let failure = request_failure(request, error);
    let now = lock.queue.clock.now();
    match request {
        Request::Enter { session, .. } => {
            if let Some(member) = state.members.get_mut(session) {
                member.failure = Some((now, error.clone()));
            }
        }
        Request::Snapshot { .. } if failure == RequestFailure::Refused => {
            for member in state.members.values_mut() {
                member.failure = Some((now, error.clone()));
            }
        }
        _ => {}
    }
    lock.handle(state, Input::Failed(request.ticket(), failure), todo);
    match request {
        // A caller that wants the lock now or not at all does not wait for a server, and nobody waits for one that is no etcd.
        Request::Enter { session, .. } => {
            let is_final = error.kind() == ErrorKind::Protocol;
            let ends = |kind: Kind| is_final || kind.mode() == Mode::Try;
            for caller in state.callers.waiters_of(*session, ends) {
                let slot = Slot::Failed(Failure::Refused, error.clone());
                state.callers.resolve(caller, slot, todo);
                lock.handle(state, Input::Cancel(*session, caller), todo);
            }
        }
        // The deletion goes on, and its caller need not wait for that.
        Request::Delete { session, .. } => {
            if let Some(caller) = state.callers.releasing_of(*session) {
                let slot = Slot::NotReleased(error.clone());
                state.callers.resolve(caller, slot, todo);
                lock.handle(state, Input::Cancel(*session, caller), todo);
            }
        }
        _ => {}
    }
}
