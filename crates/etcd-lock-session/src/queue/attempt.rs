//! One attempt to take a lock: enter the queue, wait, and leave no entry behind however it ends.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use etcd_lock_core::kv::{Compare, OpResponse, PutRequest, RangeRequest, TxnRequest, TxnResponse};
use etcd_lock_core::lease::LeaseTimeToLiveRequest;
use etcd_lock_core::{
    CallOptions, Error, ErrorKind, LockKey, LockRequest, LockResponse, ResponseHeader, Result,
    Revision, Timeout,
};
use futures_util::future::BoxFuture;
use tokio::runtime::Handle;
use tokio::time::{Instant, sleep_until};

use super::keys::KeyPermit;
use super::line::{Line, NEAR};
use super::lookout::Lookout;
use super::roll::{Roll, Rolls};
use super::{Inner, REQUEST, REQUEST_TIMEOUT};
use crate::backoff::Backoff;
use crate::metrics;
use crate::watches::Follower;

/// How often the line is read anew although no event came: etcd versions are known that lose watch events.
const SILENCE: Duration = Duration::from_secs(15);

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
}

/// What the request to enter asks of the queue.
#[derive(Clone, Debug)]
enum Asked {
    /// The newest entries.
    Newest,
    /// One entry: who stood before us in a long line will stand there again where everybody comes back, and to ask for one
    /// key costs etcd far less than to read the queue.
    Neighbour(Bytes),
    /// Nothing: many of this process stand there, and one read for all of them tells.
    Nothing,
}

/// What the events of a line say.
enum Turn {
    /// Everybody before us is gone: what told of the last of them.
    Ours(ResponseHeader),
    /// Those that were watched are gone, and the line has to be read to know of others.
    Near,
    /// The events may not tell all: the line has to be read again.
    Far,
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
        }
    }

    /// Puts our entry into the queue and reads who stands before it, in one transaction: that of a release where one of
    /// this process comes in a moment.
    pub(super) async fn enter(&mut self) -> Result<Line> {
        self.asked = self.asks();
        let txn = self.entering();
        let call = |attempt: &Self| -> BoxFuture<'static, Result<TxnResponse>> {
            let (inner, txn, options) = (attempt.inner.clone(), txn.clone(), attempt.options());
            let (name, key) = (attempt.request.name.clone(), attempt.key.as_bytes().clone());
            Box::pin(async move {
                match inner.riders.ride(&name, &key, &txn).await {
                    Some(reply) => reply,
                    None => inner.transport.txn(txn, options).await,
                }
            })
        };
        let reply = self.insist(call).await?;
        self.line(reply).await
    }

    /// The same at once.
    pub(super) async fn enter_alone(&mut self) -> Result<Line> {
        let txn = self.entering();
        let call = |attempt: &Self| -> BoxFuture<'static, Result<TxnResponse>> {
            let (inner, txn, options) = (attempt.inner.clone(), txn.clone(), attempt.options());
            Box::pin(async move { inner.transport.txn(txn, options).await })
        };
        let reply = self.insist(call).await?;
        self.line(reply).await
    }

    /// Sends again what got no answer. That is not left to the transport: a copy that a stalled server executes after the
    /// release of what the other copy was granted makes an entry that somebody has to look for.
    async fn insist(
        &mut self,
        call: impl Fn(&Self) -> BoxFuture<'static, Result<TxnResponse>>,
    ) -> Result<TxnResponse> {
        let mut backoff = Backoff::new();
        let mut in_doubt = false;
        let mut repeats = 0;
        loop {
            let sent = call(self);
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
                Roll::read(reply.header, &self.request.name, &read.kvs, read.more).line(created)
            }
        };
        match line {
            Some(line) => Ok(line),
            None => self.look_again(created).await,
        }
    }

    /// Whether more of this process take part in the queue than can be near their turn.
    fn is_crowded(&self) -> bool {
        self.inner.riders.standing(&self.request.name) > NEAR
    }

    fn asks(&self) -> Asked {
        if self.is_crowded() {
            return Asked::Nothing;
        }
        let neighbour = self.inner.watches.neighbour(self.key.as_bytes());
        neighbour.map_or(Asked::Newest, Asked::Neighbour)
    }

    fn entering(&self) -> TxnRequest {
        let look = match &self.asked {
            Asked::Newest => Some(Roll::newest(&self.request.name)),
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

    /// Waits until nobody stands before us.
    pub(super) async fn wait(&mut self, mut line: Line) -> Result<LockResponse> {
        let created = self.created()?;
        while !line.is_empty() {
            let ahead = line.ahead.iter().map(|(key, _)| key.clone());
            let keys = std::iter::once(self.key.as_bytes().clone()).chain(ahead);
            let follower = self.inner.watches.follow(keys);
            self.inner
                .watches
                .note_neighbour(self.key.as_bytes(), line.neighbour());
            line = match self.wait_for(&line, created, &follower).await? {
                Turn::Ours(header) => return Ok(self.granted(header)),
                Turn::Near => self.look_again(created).await?,
                Turn::Far => self.look_with_others(created).await?,
            };
        }
        Ok(self.granted(line.header))
    }

    /// The lock is ours: the entry stays.
    pub(super) fn granted(&mut self, header: ResponseHeader) -> LockResponse {
        let created = match std::mem::replace(&mut self.entry, Entry::None) {
            Entry::Made(created) | Entry::Joined(created) => created,
            _ => Revision::ZERO,
        };
        self.inner.note_held(&self.key, created);
        LockResponse::new(header, self.key.clone(), created)
    }

    /// Removes our entry now.
    pub(super) async fn withdraw(&mut self) -> Result<()> {
        if let Entry::Made(created) = self.entry {
            self.inner.delete(&self.key, created, REQUEST).await?;
        }
        self.entry = Entry::None;
        self.inner.look_after(&self.key);
        Ok(())
    }

    /// Waits on the events of a line.
    async fn wait_for(
        &mut self,
        line: &Line,
        created: Revision,
        follower: &Follower,
    ) -> Result<Turn> {
        let silence = Instant::now() + SILENCE;
        loop {
            let own = follower.news(self.key.as_bytes());
            if let Some(error) = own.error {
                return Err(error);
            }
            if own.deleted > created {
                return Err(self.gone().await);
            }
            // A deletion of our own key is sure to be seen only if its watch began before the line was read.
            let own_covered = own.since.is_some_and(|since| since <= line.header.revision);
            let mut covered = own_covered || own.since.is_none();
            let mut passed_on = line.complete;
            let mut last = ResponseHeader::default();
            let mut left = 0;
            for (key, created) in &line.ahead {
                let news = follower.news(key);
                if let Some(error) = news.error {
                    return Err(error);
                }
                if news.deleted > *created {
                    // A local holder's release shows that nobody stood before it.
                    passed_on |= line.adjacent && news.granted == *created;
                    if news.header.revision > last.revision {
                        last = news.header;
                    }
                } else {
                    left += 1;
                    covered &= news.since.is_none_or(|since| since <= line.header.revision);
                }
            }
            if left == 0 {
                // Only of an up to date watch is silence a sign that our own entry stands.
                let stands = own_covered && own.proven;
                return Ok(match passed_on && stands {
                    true => Turn::Ours(last),
                    false => Turn::Near,
                });
            }
            if !covered {
                return Ok(Turn::Far);
            }
            tokio::select! {
                biased;
                () = follower.changed() => {}
                () = sleep_until(silence) => return Ok(Turn::Far),
            }
        }
    }

    /// Reads the line when it may not be our turn for long: in one read with others of this process where there are many.
    async fn look_with_others(&mut self, created: Revision) -> Result<Line> {
        if !self.is_crowded() {
            return self.look_again(created).await;
        }
        let roll = match Rolls::next(&self.inner, &self.request.name).await {
            Ok(roll) => roll,
            Err(error) => {
                tracing::debug!(%error, key = %self.key, "can't read the queue with others, trying alone");
                return self.look_again(created).await;
            }
        };
        match roll.has(self.key.as_bytes(), created) {
            Some(false) => return Err(self.gone().await),
            Some(true) => {}
            None => return self.look_again(created).await,
        }
        match roll.line(created) {
            Some(line) => Ok(line),
            None => self.look_again(created).await,
        }
    }

    /// Reads the line until a server answers.
    async fn look_again(&mut self, created: Revision) -> Result<Line> {
        let mut backoff = Backoff::new();
        loop {
            match self.look(created).await {
                Err(error) if error.is_unavailable() || error.is_timeout() => {
                    tracing::debug!(%error, key = %self.key, "can't read the queue, trying again");
                    backoff.pause().await;
                }
                result => return result,
            }
        }
    }

    /// Reads who stands before us, and makes sure that we still stand there ourselves.
    async fn look(&mut self, created: Revision) -> Result<Line> {
        if let Some(line) = self
            .look_with(created, Roll::before(&self.request.name, created))
            .await?
        {
            return Ok(line);
        }
        let all = Roll::all_before(&self.request.name, created);
        let line = self.look_with(created, all).await?;
        line.ok_or_else(|| odd("a read without a limit was cut short"))
    }

    async fn look_with(&mut self, created: Revision, range: RangeRequest) -> Result<Option<Line>> {
        let own = RangeRequest::key(self.key.as_bytes().clone()).keys_only();
        let txn = TxnRequest::new().and_then(own).and_then(range).idempotent();
        let reply = self.inner.transport.txn(txn, self.options()).await?;
        if reply.kvs(0).first().map(|kv| kv.create_revision) != Some(created) {
            return Err(self.gone().await);
        }
        let Some(OpResponse::Range(range)) = reply.responses.get(1) else {
            return Err(odd("the read of the queue was answered without a range"));
        };
        let roll = Roll::read(reply.header, &self.request.name, &range.kvs, range.more);
        Ok(roll.line(created))
    }

    /// Why our entry is gone: with its lease, or by somebody's hand.
    async fn gone(&mut self) -> Error {
        let lease = self.request.lease;
        let asked = LeaseTimeToLiveRequest::new(lease);
        match self
            .inner
            .transport
            .lease_time_to_live(asked, REQUEST)
            .await
        {
            Ok(reply) if reply.remaining.is_none() => Error::new(
                ErrorKind::LeaseNotFound,
                "the lease ended before the lock was granted",
            ),
            _ => Error::new(
                ErrorKind::Lost,
                format!("the queue entry {} was deleted by somebody else", self.key),
            ),
        }
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
                Some(created) if self.inner.held().get(&self.key) != Some(&created) => {
                    Entry::Made(created)
                }
                Some(created) => Entry::Joined(created),
                None => Entry::Unknown,
            },
            Err(error) if error.is_outcome_unknown() => Entry::Unknown,
            Err(_) => Entry::None,
        };
        if matches!(self.entry, Entry::Unknown) {
            self.inner.doubts.note(&self.key);
        }
    }

    /// A request ends with the attempt at the latest, so that its error, which says more, comes before the attempt's.
    fn options(&self) -> CallOptions {
        let left = self
            .deadline
            .map(|deadline| deadline.duration_since(Instant::now()));
        let bound = left.map_or(REQUEST_TIMEOUT, |left| left.min(REQUEST_TIMEOUT));
        CallOptions::new(Timeout::After(bound.max(Duration::from_millis(1))))
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
