//! Waiting in the queue until nobody stands before us.

use bytes::Bytes;
use etcd_lock_core::kv::{Compare, OpResponse, RangeRequest, TxnRequest, TxnResponse};
use etcd_lock_core::lease::LeaseTimeToLiveRequest;
use etcd_lock_core::{Error, ErrorKind, LockResponse, Result, Revision};
use tokio::time::{Instant, sleep_until};

use super::{Attempt, odd};
use crate::backoff::Backoff;
use crate::queue::line::{Line, Turn};
use crate::queue::roll::{Roll, Rolls};
use crate::queue::{Successors, Vouched};
use crate::watches::Follower;

impl Attempt {
    /// Waits until nobody stands before us.
    pub(in crate::queue) async fn wait(
        &mut self,
        mut line: Line,
        vouched: Vouched,
    ) -> Result<LockResponse> {
        let created = self.created()?;
        while !line.is_empty() {
            let ahead = line.ahead.iter().map(|(key, _)| key.clone());
            let keys = std::iter::once(self.key.as_bytes().clone()).chain(ahead);
            let follower = self.inner.watches.follow(keys, line.neighbour());
            self.inner
                .watches
                .note_neighbour(self.key.as_bytes(), line.neighbour());
            line = match self.wait_for(&line, created, &follower, vouched).await? {
                Turn::Ours(header, successors) => {
                    self.successors = successors;
                    return Ok(self.granted(header));
                }
                Turn::Behind(place) => {
                    let key = self.request.name.key(place.lease).into();
                    Line::right_behind(key, place.created)
                }
                Turn::Near if line.complete => self.look_again(created).await?,
                Turn::Near => self.look_ahead(created).await?,
                Turn::Far if self.is_crowded() => self.look_with_others(created).await?,
                Turn::Far => self.look_at(line, created).await?,
            };
        }
        Ok(self.granted(line.header))
    }

    /// Waits on the events of a line.
    async fn wait_for(
        &mut self,
        line: &Line,
        created: Revision,
        follower: &Follower,
        vouched: Vouched,
    ) -> Result<Turn> {
        let silence = Instant::now() + self.inner.tuning.silence;
        loop {
            let own = follower.news(self.key.as_bytes());
            if own.deleted > created {
                return Err(self.gone().await);
            }
            let ahead = line.ahead.iter().map(|(key, _)| follower.news(key));
            if let Some(turn) = line.turn(self.place(created), own, ahead, vouched)? {
                return Ok(turn);
            }
            tokio::select! {
                biased;
                () = follower.changed() => {}
                () = sleep_until(silence) => return Ok(Turn::Far),
            }
        }
    }

    /// Reads the line when it may not be our turn for long: in one read with others of this process where there are many.
    pub(super) async fn look_with_others(&mut self, created: Revision) -> Result<Line> {
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
        match roll.line(created, self.inner.tuning.near) {
            Some(line) => Ok(line),
            None => self.look_again(created).await,
        }
    }

    /// Looks whether those of a line are there still: what stands between and before them doesn't change but that it goes.
    async fn look_at(&mut self, line: Line, created: Revision) -> Result<Line> {
        let keys = line.ahead.iter().map(|(key, _)| key);
        let look = |key: &Bytes| RangeRequest::key(key.clone()).keys_only();
        let reply = match self.read(created, keys.map(look)).await {
            Err(error) if is_transient(&error) => return self.look_again(created).await,
            reply => reply?,
        };
        let is_there = |index: usize, created: Revision| {
            let kv = reply.kvs(index).first();
            kv.is_some_and(|kv| kv.create_revision == created)
        };
        let ahead = line.ahead.into_iter().zip(1..);
        let ahead = ahead.filter(|((_, created), index)| is_there(*index, *created));
        let ahead: Vec<_> = ahead.map(|(entry, _)| entry).collect();
        if ahead.is_empty() && !line.complete {
            return self.look_ahead(created).await;
        }
        Ok(Line {
            header: reply.header,
            ahead,
            ..line
        })
    }

    /// Finds out whether it is our turn when that is likely: who came before us has written it into our entry, or we are the
    /// oldest. Then we know our successors, too.
    async fn look_ahead(&mut self, created: Revision) -> Result<Line> {
        let key = self.key.as_bytes();
        let txn = TxnRequest::new()
            .when(Compare::mod_revision(key.clone(), created))
            .and_then(Roll::oldest(&self.request.name))
            .or_else(RangeRequest::key(key.clone()))
            .idempotent();
        let Ok(reply) = self.inner.transport.txn(txn, self.options()).await else {
            return self.look_again(created).await;
        };
        if !reply.succeeded {
            return self.look_into_entry(&reply, created).await;
        }
        let kvs = reply.kvs(0);
        let roll = Roll::of_oldest(reply.header, &self.request.name, kvs);
        // Where we aren't among them, others stand there.
        if roll.has(key, created) == Some(true)
            && let Some(line) = roll.line(created, self.inner.tuning.near)
        {
            let place = self.place(created);
            self.successors = Successors::behind(place, &self.request.name, kvs);
            return Ok(line);
        }
        self.look_again(created).await
    }

    /// Somebody has written into our entry, or it is gone.
    async fn look_into_entry(&mut self, reply: &TxnResponse, created: Revision) -> Result<Line> {
        let own = reply.kvs(0).first();
        let own = own.filter(|kv| kv.create_revision == created);
        match own.and_then(|kv| Successors::read(&kv.value, created)) {
            Some(successors) => {
                self.successors = successors;
                Ok(Line::empty(reply.header))
            }
            None => self.look_again(created).await,
        }
    }

    /// Reads the line until a server answers.
    pub(super) async fn look_again(&mut self, created: Revision) -> Result<Line> {
        let mut backoff = Backoff::with(&self.inner.tuning);
        loop {
            match self.look(created).await {
                Err(error) if is_transient(&error) => {
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
            .look_with(
                created,
                Roll::before(&self.request.name, created, self.inner.tuning.near),
            )
            .await?
        {
            return Ok(line);
        }
        let all = Roll::all_before(&self.request.name, created);
        let line = self.look_with(created, all).await?;
        line.ok_or_else(|| odd("a read without a limit was cut short"))
    }

    async fn look_with(&mut self, created: Revision, range: RangeRequest) -> Result<Option<Line>> {
        let reply = self.read(created, [range]).await?;
        let Some(OpResponse::Range(range)) = reply.responses.get(1) else {
            return Err(odd("the read of the queue was answered without a range"));
        };
        let roll = Roll::read(reply.header, &self.request.name, &range.kvs, range.more);
        Ok(roll.line(created, self.inner.tuning.near))
    }

    /// Reads our own entry, which must be there, and what else is asked for: that begins at the second reply.
    async fn read(
        &mut self,
        created: Revision,
        ranges: impl IntoIterator<Item = RangeRequest>,
    ) -> Result<TxnResponse> {
        let own = RangeRequest::key(self.key.as_bytes().clone()).keys_only();
        let own = TxnRequest::new().and_then(own);
        let txn = ranges.into_iter().fold(own, TxnRequest::and_then);
        let call = self.inner.transport.txn(txn.idempotent(), self.options());
        let reply = call.await?;
        if reply.kvs(0).first().map(|kv| kv.create_revision) != Some(created) {
            return Err(self.gone().await);
        }
        Ok(reply)
    }

    /// Why our entry is gone: with its lease, or by somebody's hand.
    async fn gone(&mut self) -> Error {
        let lease = self.request.lease;
        let asked = LeaseTimeToLiveRequest::new(lease);
        match self
            .inner
            .transport
            .lease_time_to_live(asked, self.inner.request())
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
}

fn is_transient(error: &Error) -> bool {
    error.is_unavailable() || error.is_timeout()
}
