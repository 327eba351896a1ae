//! What a check runs on.

use std::fmt;

use async_trait::async_trait;
use etcd_lock_core::Client;

/// An etcd, or what passes for one, and the transport under test on it. It ends when it is dropped.
#[async_trait]
pub trait Backend: fmt::Debug + Send + Sync {
    /// A client with a connection of its own.
    async fn client(&self) -> Client;

    /// A client that looks at the store from outside: without the decorator that is under test, where there is one.
    async fn inspector(&self) -> Client;

    /// In what it differs from others that are right, too.
    fn profile(&self) -> Profile;
}

/// What two backends may do differently and both be right.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct Profile {
    /// What a lock does while a lock below its name is held.
    pub nested_names: NestedNames,
}

impl Profile {
    /// What etcd's own lock service does.
    pub const ETCD: Self = Self {
        nested_names: NestedNames::Wait,
    };

    /// What our own queue does.
    pub const QUEUE: Self = Self {
        nested_names: NestedNames::Apart,
    };

    /// What clients do of which some use the one and some the other.
    pub const MIXED: Self = Self {
        nested_names: NestedNames::Either,
    };
}

/// Whether `a` and `a/b` are one lock or two.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[allow(
    clippy::exhaustive_enums,
    reason = "they have to do with each other or not"
)]
pub enum NestedNames {
    /// They are two locks.
    Apart,
    /// It depends on who asks.
    Either,
    /// `a` waits for a holder of `a/b`, since etcd takes every key below `a/` for an entry of its queue.
    Wait,
}
