//! Looking after a key under which an entry of ours may still appear.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use etcd_lock_core::kv::RangeRequest;
use etcd_lock_core::{LockKey, Result, Revision};
use tokio::time::{Instant, sleep};

use super::Inner;
use super::keys::KeyPermit;
use crate::backoff::Backoff;

/// The keys for which a request to enter got no answer, and until when it may still be executed. As long as an entry is
/// there it can't be: it finds that one and changes nothing.
#[derive(Debug, Default)]
pub(super) struct Doubts(Mutex<HashMap<LockKey, Instant>>);

impl Doubts {
    /// Notes that a request may be executed late.
    pub(super) fn note(&self, key: &LockKey, linger: Duration) {
        let now = Instant::now();
        self.with(|doubts| {
            doubts.retain(|_, until| *until > now);
            doubts.insert(key.clone(), now + linger);
        });
    }

    /// Until when a key has to be looked after, if it has to be; once.
    pub(super) fn take(&self, key: &LockKey) -> Option<Instant> {
        let until = self.with(|doubts| doubts.remove(key))?;
        (until > Instant::now()).then_some(until)
    }

    fn with<T>(&self, access: impl FnOnce(&mut HashMap<LockKey, Instant>) -> T) -> T {
        access(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// Somebody who removes entries of a key that nobody in this process wants any more.
pub(super) struct Lookout {
    pub(super) inner: Arc<Inner>,
    pub(super) key: LockKey,
    pub(super) permit: Option<KeyPermit>,
}

impl Lookout {
    /// Deletes an entry until a server has confirmed it, or the lease must have ended anyway.
    pub(super) async fn delete(&self, created: Revision) {
        let mut backoff = Backoff::with(&self.inner.tuning);
        let give_up = Instant::now() + self.inner.tuning.linger;
        while let Err(error) = self
            .inner
            .delete(&self.key, created, self.inner.request())
            .await
        {
            if Instant::now() > give_up {
                tracing::warn!(%error, key = %self.key, "could not withdraw a queue entry");
                return;
            }
            backoff.pause().await;
        }
    }

    /// Looks for entries that may still appear, and removes them: each copy of a request can make one. Other attempts on
    /// the key go first.
    pub(super) async fn linger(mut self, until: Instant) {
        let mut pause = Duration::from_millis(10);
        while Instant::now() < until {
            if self.permit.is_none() {
                self.permit = Some(self.inner.keys.acquire(&self.key).await);
            }
            if let Ok(Some(created)) = self.stray().await {
                self.delete(created).await;
            }
            self.permit = None;
            sleep(pause).await;
            pause = (pause * 2).min(Duration::from_secs(5));
        }
    }

    /// The create revision of an entry under our key that nobody in this process holds.
    async fn stray(&self) -> Result<Option<Revision>> {
        let own = RangeRequest::key(self.key.as_bytes().clone()).keys_only();
        let reply = self
            .inner
            .transport
            .range(own, self.inner.request())
            .await?;
        let created = reply.kvs.first().map(|kv| kv.create_revision);
        let held = self.inner.held_at(&self.key);
        Ok(created.filter(|created| Some(*created) != held))
    }
}
