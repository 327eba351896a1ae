//! How connections behave.

use std::time::Duration;

use etcd_lock_core::{Error, Result};

use crate::auth::Login;

/// How connections are made and kept, and how often a request is sent again.
#[derive(Clone, Debug)]
#[must_use]
#[non_exhaustive]
pub struct Options {
    pub(crate) connect_timeout: Duration,
    pub(crate) keep_alive_interval: Duration,
    pub(crate) keep_alive_timeout: Duration,
    pub(crate) max_attempts: usize,
    pub(crate) login: Option<Login>,
}

impl Options {
    /// The defaults.
    pub const fn new() -> Self {
        Self {
            connect_timeout: Duration::from_secs(2),
            keep_alive_interval: Duration::from_secs(10),
            keep_alive_timeout: Duration::from_secs(5),
            max_attempts: 5,
            login: None,
        }
    }

    /// How long one attempt to connect may take. 2 s by default.
    pub const fn with_connect_timeout(mut self, timeout: Duration) -> Self {
        self.connect_timeout = timeout;
        self
    }

    /// How long a connection with calls under way may be silent before the peer is asked for a sign of life. 10 s by
    /// default, and at least: etcd closes connections that ask more often than every 5 s.
    pub const fn with_keep_alive_interval(mut self, interval: Duration) -> Self {
        self.keep_alive_interval = interval;
        self
    }

    /// How long the peer may take to give it. 5 s by default.
    pub const fn with_keep_alive_timeout(mut self, timeout: Duration) -> Self {
        self.keep_alive_timeout = timeout;
        self
    }

    /// How often a request is sent at the most, where it may be sent again at all. 5 by default.
    pub const fn with_max_attempts(mut self, attempts: usize) -> Self {
        self.max_attempts = attempts;
        self
    }

    /// Who to log in as, for an etcd with authentication on. With it off, nothing changes.
    ///
    /// Nobody by default. A password goes over plain TCP to loopback addresses only: other endpoints are refused with it.
    pub fn with_login(mut self, user: impl Into<String>, password: impl Into<String>) -> Self {
        self.login = Some(Login::new(user.into(), password.into()));
        self
    }

    pub(crate) fn checked(self) -> Result<Self> {
        if self.keep_alive_interval < Duration::from_secs(10) {
            return Err(Error::invalid(
                "the keep-alive interval is below 10 s: etcd would take it for an attack",
            ));
        }
        if self.max_attempts == 0 || self.connect_timeout.is_zero() {
            return Err(Error::invalid(
                "no attempts, or no time to connect: nothing could be sent",
            ));
        }
        Ok(self)
    }
}

impl Default for Options {
    fn default() -> Self {
        Self::new()
    }
}
