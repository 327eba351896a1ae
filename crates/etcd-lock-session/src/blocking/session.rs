//! Sessions.

use std::time::Duration;

use etcd_lock_core::{Client, Error, LeaseId, Result, Ttl};

use super::runtime::{wait, wait_on};
use crate::SessionOptions;

/// A lease that is kept alive in the background: see [`Session`](crate::Session).
#[derive(Clone, Debug)]
pub struct Session(pub(super) crate::Session);

impl Session {
    /// Opens a session with this time to live.
    ///
    /// # Errors
    /// As the [async one](crate::Session::open).
    pub fn open(client: &Client, ttl: Duration) -> Result<Self> {
        Self::open_with(client, SessionOptions::new().with_ttl(ttl))
    }

    /// Opens a session with these options.
    ///
    /// # Errors
    /// As the [async one](SessionOptions::open).
    pub fn open_with(client: &Client, options: SessionOptions) -> Result<Self> {
        wait(options.open(client)).map(Self)
    }

    /// Keeps alive a lease that somebody else granted.
    ///
    /// # Errors
    /// As the [async one](SessionOptions::adopt).
    pub fn adopt(client: &Client, options: SessionOptions, lease: LeaseId) -> Result<Self> {
        wait(options.adopt(client, lease)).map(Self)
    }

    /// The lease.
    #[must_use]
    pub fn lease(&self) -> LeaseId {
        self.0.lease()
    }

    /// The time to live that the server granted.
    #[must_use]
    pub fn ttl(&self) -> Ttl {
        self.0.ttl()
    }

    /// Whether the lease can be trusted at this moment.
    #[must_use]
    pub fn is_alive(&self) -> bool {
        self.0.is_alive()
    }

    /// Waits until the session is lost, and says why.
    #[must_use]
    pub fn lost(&self) -> Error {
        wait_on(self.0.runtime(), self.0.lost())
    }

    /// Ends the session: revokes the lease, which releases every lock that it holds.
    ///
    /// # Errors
    /// As the [async one](crate::Session::close).
    pub fn close(self) -> Result<()> {
        wait(self.0.close())
    }
}
