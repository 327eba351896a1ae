//! Where a check runs: a fresh backend, names of its own, and ways to wait for something without sleeping.

use std::time::Duration;

use etcd_lock_core::kv::{KeyValue, RangeRequest, SortOrder, SortTarget};
use etcd_lock_core::{CallOptions, Client, LeaseId, LockName, lease};
use tokio::runtime::{Builder, Runtime};
use tokio::time::{sleep, timeout};

use crate::{Backend, Party, Profile};

/// How long [`Lab::eventually`] waits for what must come, and a call that must succeed.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// How long a whole check may take. Under a paused clock this passes at once where everybody waits for nothing.
const LIMIT: Duration = Duration::from_secs(120);

/// Runs one check: starts the backend, gives it to the check, and stops it.
///
/// # Panics
/// When the check does, or when it doesn't end.
pub fn run(
    clock: Clock,
    start: impl AsyncFnOnce() -> Box<dyn Backend>,
    check: impl AsyncFnOnce(&Lab),
) {
    clock.runtime().block_on(async {
        let lab = Lab::new(start().await).await;
        timeout(LIMIT, check(&lab))
            .await
            .unwrap_or_else(|_| panic!("the check did not end within {LIMIT:?}"));
    });
}

/// By which clock a check lives.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[allow(clippy::exhaustive_enums, reason = "time passes or it doesn't")]
pub enum Clock {
    /// Time jumps to the next timer whenever everybody waits: for backends without sockets.
    Paused,
    /// The wall's.
    Real,
}

impl Clock {
    /// Two threads where time is real, so that what can race does.
    fn runtime(self) -> Runtime {
        let mut builder = match self {
            Self::Paused => Builder::new_current_thread(),
            Self::Real => Builder::new_multi_thread(),
        };
        builder
            .worker_threads(2)
            .enable_all()
            .start_paused(self == Self::Paused)
            .build()
            .unwrap()
    }
}

/// What a check gets.
#[derive(Debug)]
pub struct Lab {
    inspector: Client,
    backend: Box<dyn Backend>,
}

impl Lab {
    /// A lab on a backend that was started for it alone.
    pub async fn new(backend: Box<dyn Backend>) -> Self {
        Self {
            inspector: backend.inspector().await,
            backend,
        }
    }

    /// A client with a connection of its own.
    pub async fn client(&self) -> Client {
        self.backend.client().await
    }

    /// A client that sees the store as it is, past the decorator under test.
    #[must_use]
    pub const fn inspector(&self) -> &Client {
        &self.inspector
    }

    /// In what this backend differs from others.
    #[must_use]
    pub fn profile(&self) -> Profile {
        self.backend.profile()
    }

    /// A contender with a connection and a lease of its own, which lives for a minute.
    pub async fn party(&self) -> Party {
        self.party_on(&self.client().await).await
    }

    /// Another contender on a connection that others use, too.
    pub async fn party_on(&self, client: &Client) -> Party {
        self.party_with_ttl(client, 60).await
    }

    /// A contender whose lease ends soon: after two seconds, the least that etcd grants.
    pub async fn mortal(&self) -> Party {
        self.party_with_ttl(&self.client().await, 2).await
    }

    /// The entries of a lock's queue, oldest first, as the store has them.
    pub async fn queue(&self, name: &LockName) -> Vec<KeyValue> {
        let request = RangeRequest::prefix(name.queue_prefix())
            .sorted_by(SortTarget::CreateRevision, SortOrder::Ascending);
        let options = CallOptions::new(PATIENCE.into());
        let reply = self.inspector.transport().range(request, options).await;
        reply.unwrap().kvs
    }

    /// Waits until a lock's queue has this many entries, holder included.
    pub async fn queue_has(&self, name: &LockName, entries: usize) {
        let what = format!("{entries} entries in the queue of {name}");
        self.eventually(&what, async || self.queue(name).await.len() == entries)
            .await;
    }

    /// Waits until this lease's entry is in a lock's queue.
    pub async fn queued(&self, name: &LockName, lease: LeaseId) {
        let key = name.key(lease);
        self.eventually(&format!("{key} in the queue"), async || {
            let queue = self.queue(name).await;
            queue.iter().any(|kv| kv.key == *key.as_bytes())
        })
        .await;
    }

    /// Looks for a while whether a lock's queue stays as it is: for what must not happen.
    ///
    /// # Panics
    /// When it changes.
    pub async fn stays(&self, name: &LockName) {
        let before = self.queue(name).await;
        for _ in 0..20 {
            sleep(Duration::from_millis(5)).await;
            assert_eq!(self.queue(name).await, before);
        }
    }

    /// Waits until something is so.
    ///
    /// # Panics
    /// When it doesn't come to be so.
    pub async fn eventually(&self, what: &str, mut is_so: impl AsyncFnMut() -> bool) {
        let watching = async {
            while !is_so().await {
                sleep(Duration::from_millis(2)).await;
            }
        };
        timeout(PATIENCE, watching)
            .await
            .unwrap_or_else(|_| panic!("not within {PATIENCE:?}: {what}"));
    }

    async fn party_with_ttl(&self, client: &Client, secs: u64) -> Party {
        let ttl = Duration::from_secs(secs);
        let lease = lease::grant(client, ttl).await.unwrap();
        Party::new(client.clone(), lease.id)
    }
}

/// A lock's name, from text or bytes that can be one.
///
/// # Panics
/// When they can't.
pub fn name(name: impl AsRef<[u8]>) -> LockName {
    LockName::new(name.as_ref().to_vec()).unwrap()
}
