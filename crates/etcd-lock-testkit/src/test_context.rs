//! Where a check runs: a backend, names of its own, and ways to wait for something without sleeping.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use etcd_lock_core::kv::{DeleteRequest, KeyValue, RangeRequest, SortOrder, SortTarget};
use etcd_lock_core::{CallOptions, Client, LeaseId, LockName, lease};
use futures_util::future::LocalBoxFuture;
use tokio::runtime::{Builder, Runtime};
use tokio::time::{sleep, timeout};

use crate::{Backend, Contender, NestedNames, store};

/// How long [`TestContext::eventually`] waits for what must come, and a call that must succeed.
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
    check: impl AsyncFnOnce(&TestContext),
) {
    clock.runtime().block_on(async {
        let test = TestContext::new(clock, start().await).await;
        timeout(LIMIT, check(&test))
            .await
            .unwrap_or_else(|_| panic!("the check did not end within {LIMIT:?}"));
    });
}

/// A check with its name, to be run with others.
pub type NamedCheck = (&'static str, fn(&TestContext) -> LocalBoxFuture<'_, ()>);

/// Runs checks one after the other on one backend, which is emptied before each, and reports those that fail by name.
///
/// # Panics
/// When a check does, once all have run.
pub fn run_in_turn(
    clock: Clock,
    start: impl AsyncFnOnce() -> Box<dyn Backend>,
    checks: &[NamedCheck],
) {
    let runtime = clock.runtime();
    let test = runtime.block_on(async { TestContext::new(clock, start().await).await });
    let mut failed = Vec::new();
    for (name, check) in checks {
        let checked = catch_unwind(AssertUnwindSafe(|| {
            runtime.block_on(async {
                test.empty().await;
                timeout(LIMIT, check(&test)).await.unwrap();
            });
        }));
        println!("{name}: {}", if checked.is_ok() { "ok" } else { "FAILED" });
        if checked.is_err() {
            failed.push(*name);
        }
    }
    // Its connections end inside of the runtime that they belong to.
    runtime.block_on(async { drop(test) });
    assert!(failed.is_empty(), "failed: {failed:?}");
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

/// The context that a check gets.
#[derive(Debug)]
pub struct TestContext {
    clock: Clock,
    inspector: Client,
    backend: Box<dyn Backend>,
    /// The beginning of the names of this test.
    prefix: String,
}

impl TestContext {
    /// A test on a backend. On one that other tests use at the same time, its names begin with something that theirs don't.
    pub async fn new(clock: Clock, backend: Box<dyn Backend>) -> Self {
        let prefix = match backend.is_shared() {
            true => format!("{:016x}-", fastrand::u64(..)),
            false => String::new(),
        };
        Self {
            clock,
            inspector: backend.inspector().await,
            backend,
            prefix,
        }
    }

    /// By which clock it lives.
    #[must_use]
    pub const fn clock(&self) -> Clock {
        self.clock
    }

    /// A lock's name that no other test uses, from text or bytes that can be one.
    ///
    /// # Panics
    /// When they can't.
    #[must_use]
    pub fn name(&self, name: impl AsRef<[u8]>) -> LockName {
        let prefix = self.prefix.as_bytes();
        LockName::new([prefix, name.as_ref()].concat()).unwrap()
    }

    /// A key that no other test uses.
    #[must_use]
    pub fn key(&self, key: &str) -> String {
        format!("{}{key}", self.prefix)
    }

    /// A client with a connection of its own.
    pub async fn client(&self) -> Client {
        self.backend.client().await.0
    }

    /// A client that sees the store as it is, past the decorator under test.
    #[must_use]
    pub const fn inspector(&self) -> &Client {
        &self.inspector
    }

    /// A contender with a connection of its own, and what that makes of nested names.
    pub async fn contender_with_promise(&self) -> (Contender, NestedNames) {
        let (client, promise) = self.backend.client().await;
        (self.contender_on(&client).await, promise)
    }

    /// A contender with a connection and a lease of its own, which lives for a minute.
    pub async fn contender(&self) -> Contender {
        self.contender_on(&self.client().await).await
    }

    /// Another contender on a connection that others use, too.
    pub async fn contender_on(&self, client: &Client) -> Contender {
        self.contender_with_ttl(client, 60).await
    }

    /// A contender whose lease ends soon: after two seconds, the least that etcd grants.
    pub async fn short_lived_contender(&self) -> Contender {
        self.contender_with_ttl(&self.client().await, 2).await
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
    pub async fn queue_stays(&self, name: &LockName) {
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

    /// Ends all leases, and deletes all keys.
    async fn empty(&self) {
        let client = self.client().await;
        for lease in lease::leases(&client).await.unwrap().leases {
            lease::revoke(&client, lease).await.unwrap();
        }
        let mut all = DeleteRequest::key("\0");
        all.range_end = "\0".into();
        store::run(&client, all).await;
    }

    async fn contender_with_ttl(&self, client: &Client, secs: u64) -> Contender {
        let ttl = Duration::from_secs(secs);
        let lease = lease::grant(client, ttl).await.unwrap();
        Contender::new(client.clone(), lease.id)
    }
}
