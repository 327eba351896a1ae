//! The transport and the etcd that a check runs on.

use std::fmt;

use async_trait::async_trait;
use etcd_lock_core::Client;

/// An etcd, real or in memory, and the transport under test on it. Processes that were started for it end when it is dropped.
#[async_trait]
pub trait Backend: fmt::Debug + Send + Sync {
    /// A client with a connection of its own, and what it makes of nested names.
    async fn client(&self) -> (Client, NestedNames);

    /// A client that looks at the store from outside: without the decorator that is under test, where there is one.
    async fn inspector(&self) -> Client;

    /// Whether other tests use the same etcd at the same time.
    fn is_shared(&self) -> bool;
}

/// Whether `a` and `a/b` are one lock or two: two clients may differ in that and both be right.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[allow(
    clippy::exhaustive_enums,
    reason = "they have to do with each other or not"
)]
pub enum NestedNames {
    /// They are two locks, as in our own queue.
    Apart,
    /// `a` waits for a holder of `a/b`, since etcd's own lock service takes every key below `a/` for an entry of its queue.
    Wait,
}
