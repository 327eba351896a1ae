//! One attempt to take a lock: enter the queue, wait, and leave no entry behind however it ends.

mod wait;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use etcd_lock_core::kv::{Compare, OpResponse, PutRequest, RangeRequest, TxnRequest, TxnResponse};
use etcd_lock_core::{
    CallOptions, Error, ErrorKind, LockKey, LockRequest, LockResponse, ResponseHeader, Result,
    Revision, Timeout,
};
use futures_util::future::BoxFuture;
use tokio::runtime::Handle;
use tokio::time::Instant;

use super::keys::KeyPermit;
use super::line::Line;
use super::lookout::Lookout;
use super::roll::Roll;
use super::successors::Place;
use super::{Inner, Successors};
use crate::backoff::Backoff;
use crate::metrics;

/// How often a request to enter is sent again that got no answer.
const REPEATS: usize = 3;

/// An attempt under way. Dropping it withdraws the entry in the background.
pub(super) struct Attempt {
    inner: Arc<Inner>,
    request: LockRequest,
    key: LockKey,
    runtime: Handle,
    deadline: Option<Instant>,
    permit: Option<KeyPermit>,
    entry: Entry,
    asked: Asked,
    /// Who comes after us, as far as it is known.
    successors: Successors,
}

/// What the request to enter asks of the queue.
#[derive(Clone, Debug)]
pub(super) enum Asked {
    /// The newest entries.
    Newest,
    /// One entry: who stood before us in a long line will stand there again where everybody comes back, and to ask for one
    /// key costs etcd far less than to read the queue.
    Neighbour(Bytes),
    /// Nothing: many of this process stand there, and one read for all of them tells.
    Nothing,
}

/// What is known of our entry in the queue.
enum Entry {
    /// There is none of ours.
    None,
    /// The request to make one is under way.
    Entering(BoxFuture<'static, Result<TxnResponse>>),
    /// The request failed so that nobody knows whether it was executed.
    Unknown,
    /// It was created at this revision.
    Made(Revision),
    /// It was there before, of an earlier grant with the same lease: not ours to withdraw.
    Joined(Revision),
}

impl Attempt {
    /// Waits for earlier attempts of this process on the same key.
    pub(super) async fn start(inner: &Arc<Inner>, request: LockRequest, timeout: Timeout) -> Self {
        let deadline = timeout
            .as_duration()
            .and_then(|bound| Instant::now().checked_add(bound));
        let key = request.key();
        let permit = inner.keys.acquire(&key).await;
        Self {
            inner: inner.clone(),
            request,
            key,
            runtime: Handle::current(),
            deadline,
            permit: Some(permit),
            entry: Entry::None,
            asked: Asked::Newest,
            successors: Successors::default(),
        }
    }

    /// What a wait asks when it enters.
    pub(super) fn asks(&self) -> Asked {
        if self.is_crowded() {
            return Asked::Nothing;
        }
        let neighbour = self.inner.watches.neighbour(self.key.as_bytes());
        neighbour.map_or(Asked::Newest, Asked::Neighbour)
    }

    /// Puts our entry into the queue and reads who stands before it, in one transaction.
    pub(super) async fn enter(&mut self, asked: Asked) -> Result<Line> {
        self.asked = asked;
        let reply = self.insist(self.entering()).await?;
        self.line(reply).await
    }

    /// Sends again what got no answer. That is not left to the transport: a copy that a stalled server executes after the
    /// release of what the other copy was granted makes an entry that somebody has to look for.
    async fn insist(&mut self, txn: TxnRequest) -> Result<TxnResponse> {
        let mut backoff = Backoff::with(&self.inner.tuning);
        let mut in_doubt = false;
        let mut repeats = 0;
        loop {
            let (inner, txn, options) = (self.inner.clone(), txn.clone(), self.options());
            let sent = Box::pin(async move { inner.transport.txn(txn, options).await });
            let result = self.entry_call(sent).await;
            self.entered(&result);
            let error = match result {
                Err(error) if in_doubt || error.is_outcome_unknown() => error,
                settled => return settled,
            };
            // That the last copy was refused says nothing of those before.
            in_doubt = true;
            self.entry = Entry::Unknown;
            if repeats == REPEATS || !error.is_unavailable() {
                return Err(error.with_outcome_unknown());
            }
            tracing::debug!(%error, key = %self.key, "no answer on entering a queue, asking again");
            repeats += 1;
            backoff.pause().await;
        }
    }

    /// What the reply to entering tells of the line.
    async fn line(&mut self, reply: TxnResponse) -> Result<Line> {
        let created = self.created()?;
        let read = match reply.responses.get(1) {
            Some(OpResponse::Range(read)) => Some(read),
            _ => None,
        };
        // Only right after our own put are the newest entries those around ours.
        let line = match (&self.asked, read) {
            (Asked::Nothing, _) => return self.look_with_others(created).await,
            (_, None) => {
                return Err(odd(
                    "the transaction that enters the queue was answered without a range",
                ));
            }
            _ if !reply.succeeded => None,
            (Asked::Neighbour(neighbour), Some(read)) => {
                Line::behind(reply.header, neighbour, &read.kvs)
            }
            (Asked::Newest, Some(read)) => {
                metrics::entered_queue(read.count);
                Roll::read(reply.header, &self.request.name, &read.kvs, read.more)
                    .line(created, self.inner.tuning.near)
            }
        };
        match line {
            Some(line) => Ok(line),
            None => self.look_again(created).await,
        }
    }

    /// Whether more of this process take part in the queue than can be near their turn.
    fn is_crowded(&self) -> bool {
        self.inner.rolls.standing(&self.request.name) > self.inner.tuning.near
    }

    fn entering(&self) -> TxnRequest {
        let look = match &self.asked {
            Asked::Newest => Some(Roll::newest(&self.request.name, self.inner.tuning.near)),
            Asked::Neighbour(key) => Some(RangeRequest::key(key.clone()).keys_only()),
            Asked::Nothing => None,
        };
        let key = self.key.as_bytes();
        let put =
            PutRequest::new(key.clone(), self.request.value.clone()).with_lease(self.request.lease);
        let txn = TxnRequest::new()
            .when(Compare::create_revision(key.clone(), Revision::ZERO))
            .and_then(put)
            .or_else(RangeRequest::key(key.clone()).keys_only());
        match look {
            Some(look) => txn.and_then(look.clone()).or_else(look),
            None => txn,
        }
    }

    /// The lock is ours: the entry stays.
    pub(super) fn granted(&mut self, header: ResponseHeader) -> LockResponse {
        let created = match std::mem::replace(&mut self.entry, Entry::None) {
            Entry::Made(created) | Entry::Joined(created) => created,
            _ => Revision::ZERO,
        };
        let successors = std::mem::take(&mut self.successors);
        self.inner.note_held(&self.key, created, successors);
        LockResponse::new(header, self.key.clone(), created)
    }

    /// Removes our entry now.
    pub(super) async fn withdraw(&mut self) -> Result<()> {
        if let Entry::Made(created) = self.entry {
            self.inner
                .delete(&self.key, created, self.inner.request())
                .await?;
        }
        self.entry = Entry::None;
        self.inner.look_after(&self.key);
        Ok(())
    }

    async fn entry_call(
        &mut self,
        call: BoxFuture<'static, Result<TxnResponse>>,
    ) -> Result<TxnResponse> {
        // Kept here and not on the stack, so that a drop in the middle can see the request through to its end.
        self.entry = Entry::Entering(call);
        match &mut self.entry {
            Entry::Entering(call) => call.await,
            _ => Err(odd("the entry changed while it was made")),
        }
    }

    fn entered(&mut self, result: &Result<TxnResponse>) {
        self.entry = match result {
            Ok(reply) if reply.succeeded => Entry::Made(reply.header.revision),
            Ok(reply) => match reply.kvs(0).first().map(|kv| kv.create_revision) {
                // An entry of ours that is neither held nor waited for: an attempt whose outcome was unknown made it.
                Some(created) if self.inner.held_at(&self.key) != Some(created) => {
                    Entry::Made(created)
                }
                Some(created) => Entry::Joined(created),
                None => Entry::Unknown,
            },
            Err(error) if error.is_outcome_unknown() => Entry::Unknown,
            Err(_) => Entry::None,
        };
        if matches!(self.entry, Entry::Unknown) {
            let linger = self.inner.tuning.linger;
            self.inner.doubts.note(&self.key, linger);
        }
    }

    /// A request ends with the attempt at the latest, so that its error, which says more, comes before the attempt's.
    fn options(&self) -> CallOptions {
        let left = self
            .deadline
            .map(|deadline| deadline.duration_since(Instant::now()));
        let most = self.inner.tuning.request_timeout;
        let bound = left.map_or(most, |left| left.min(most));
        CallOptions::new(Timeout::After(bound.max(Duration::from_millis(1))))
    }

    fn place(&self, created: Revision) -> Place {
        let lease = self.request.lease;
        Place { lease, created }
    }

    fn created(&self) -> Result<Revision> {
        match self.entry {
            Entry::Made(created) | Entry::Joined(created) => Ok(created),
            _ => Err(odd("the queue entry was neither made nor found")),
        }
    }
}

impl Drop for Attempt {
    fn drop(&mut self) {
        let entry = std::mem::replace(&mut self.entry, Entry::None);
        if matches!(entry, Entry::None | Entry::Joined(_)) {
            return;
        }
        let successor = Self {
            inner: self.inner.clone(),
            request: self.request.clone(),
            key: self.key.clone(),
            runtime: self.runtime.clone(),
            deadline: None,
            permit: self.permit.take(),
            asked: Asked::Newest,
            successors: Successors::default(),
            entry: Entry::None,
        };
        // Not waited for: a runtime that is shutting down drops it, and the end of the lease removes the entry.
        self.runtime.spawn(successor.clean_up(entry));
    }
}

impl Attempt {
    async fn clean_up(mut self, mut entry: Entry) {
        if let Entry::Entering(call) = entry {
            let result = call.await;
            self.entered(&result);
            entry = std::mem::replace(&mut self.entry, Entry::None);
        }
        let lookout = Lookout {
            inner: self.inner.clone(),
            key: self.key.clone(),
            permit: self.permit.take(),
        };
        if let Entry::Made(created) = entry {
            lookout.delete(created).await;
        }
        if let Some(until) = self.inner.doubts.take(&self.key) {
            lookout.linger(until).await;
        }
    }
}

fn odd(text: &str) -> Error {
    Error::new(ErrorKind::Protocol, text)
}
