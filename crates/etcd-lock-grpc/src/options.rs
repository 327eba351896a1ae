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
    pub(crate) endpoint_choice: EndpointChoice,
    pub(crate) attempt_timeout: Duration,
    pub(crate) member_sync: Option<Duration>,
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
            endpoint_choice: EndpointChoice::Random,
            attempt_timeout: Duration::from_secs(2),
            member_sync: None,
        }
    }

    /// Which endpoint is asked while several are healthy. [`EndpointChoice::Random`] by default.
    pub const fn with_endpoint_choice(mut self, choice: EndpointChoice) -> Self {
        self.endpoint_choice = choice;
        self
    }

    /// How long an endpoint may leave a request unanswered before it is taken for dead, and another one is asked. 2 s by
    /// default.
    ///
    /// It bounds each attempt of a request, the look-up of a name, the connection and the login included; a request whose
    /// own timeout is short has attempts of a third of that, but of at least 500 ms. A request that can't be repeated safely
    /// is not ended by it as long as its endpoint gives other signs of life.
    pub const fn with_attempt_timeout(mut self, timeout: Duration) -> Self {
        self.attempt_timeout = timeout;
        self
    }

    /// How often the endpoints are replaced by the client URLs that the cluster lists for its members. Never by default.
    ///
    /// The URLs must be such that this client can reach them. The endpoints stay as they are while the list can't be had.
    pub const fn with_member_sync(mut self, every: Duration) -> Self {
        self.member_sync = Some(every);
        self
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
        if self.keep_alive_timeout.is_zero() {
            return Err(Error::invalid(
                "the keep-alive timeout is zero: no connection could stay",
            ));
        }
        if self.attempt_timeout < Duration::from_millis(100) {
            return Err(Error::invalid(
                "an attempt has less than 100 ms: healthy endpoints would be left",
            ));
        }
        if self.member_sync.is_some_and(|every| every.is_zero()) {
            return Err(Error::invalid(
                "the members would be listed without a pause",
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

/// Which endpoint is asked while several are healthy.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub enum EndpointChoice {
    /// The first that is healthy, in the order in which they were given: for members of which one is near.
    Listed,
    /// One at random, and the same one for as long as it is healthy, so that many clients are spread over the members.
    #[default]
    Random,
    /// Each in turn, as `connect_all` of eetcd.
    RoundRobin,
}
