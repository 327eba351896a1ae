//! A contender for locks.

use std::time::Duration;

use etcd_lock_core::{
    Client, Context, LeaseId, LockName, LockResponse, Result, UnlockRequest, lease, new,
};
use tokio::task::JoinHandle;

use crate::test_context::PATIENCE;

/// Somebody with a connection and a lease, who takes locks through the public door: a [`Context`].
#[derive(Clone, Debug)]
pub struct Contender {
    client: Client,
    lease: LeaseId,
}

impl Contender {
    /// A contender.
    #[must_use]
    pub const fn new(client: Client, lease: LeaseId) -> Self {
        Self { client, lease }
    }

    /// The connection.
    #[must_use]
    pub const fn client(&self) -> &Client {
        &self.client
    }

    /// The lease.
    #[must_use]
    pub const fn lease(&self) -> LeaseId {
        self.lease
    }

    /// A context with everything that `lock` needs, and a generous timeout.
    pub fn context(&self, name: &LockName) -> Context {
        new(&self.client)
            .with_name(name.as_bytes().clone())
            .with_lease(self.lease)
            .with_timeout(PATIENCE)
    }

    /// Waits for a lock that must be granted.
    ///
    /// # Panics
    /// When it isn't.
    pub async fn lock(&self, name: &LockName) -> LockResponse {
        self.context(name).lock().await.unwrap()
    }

    /// Waits for a lock for so long.
    ///
    /// # Errors
    /// As [`Context::lock`].
    pub async fn lock_within(&self, name: &LockName, bound: Duration) -> Result<LockResponse> {
        self.context(name).with_timeout(bound).lock().await
    }

    /// Waits for a lock in a task of its own.
    #[must_use]
    pub fn waiting(&self, name: &LockName) -> Waiting {
        let context = self.context(name);
        Waiting(tokio::spawn(async move { context.lock().await }))
    }

    /// Releases a lock, which must work.
    ///
    /// # Panics
    /// When it doesn't.
    pub async fn unlock(&self, held: &LockResponse) {
        let ctx = new(&self.client).with_key(held.key.as_bytes().clone());
        ctx.with_timeout(PATIENCE).unlock().await.unwrap();
    }

    /// Releases this very hold and no later one.
    ///
    /// # Panics
    /// When it doesn't work.
    pub async fn unlock_exactly(&self, held: &LockResponse) {
        let request =
            UnlockRequest::new(held.key.clone()).with_create_revision(held.create_revision);
        let transport = self.client.transport();
        transport.unlock(request, options()).await.unwrap();
    }

    /// Ends the lease, and with it every hold and place in a queue.
    ///
    /// # Panics
    /// When there is no such lease any more.
    pub async fn revoke(&self) {
        lease::revoke(&self.client, self.lease).await.unwrap();
    }
}

/// A lock that is waited for. Dropping this gives the wait up.
#[derive(Debug)]
pub struct Waiting(JoinHandle<Result<LockResponse>>);

impl Waiting {
    /// How the wait ends.
    ///
    /// # Panics
    /// When the waiting task did.
    pub async fn outcome(mut self) -> Result<LockResponse> {
        (&mut self.0).await.unwrap()
    }

    /// The grant in which the wait must end.
    ///
    /// # Panics
    /// When it ends otherwise.
    pub async fn granted(self) -> LockResponse {
        self.outcome().await.unwrap()
    }

    /// Whether it has ended.
    #[must_use]
    pub fn is_over(&self) -> bool {
        self.0.is_finished()
    }

    /// Drops the waiting future, and returns when that is done: with the outcome, where there was one before.
    pub async fn give_up(mut self) -> Option<Result<LockResponse>> {
        self.0.abort();
        (&mut self.0).await.ok()
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        self.0.abort();
    }
}

fn options() -> etcd_lock_core::CallOptions {
    etcd_lock_core::CallOptions::new(PATIENCE.into())
}
