//! How connections behave.

use std::time::Duration;

use etcd_lock_core::{Error, Result};
use secrecy::{ExposeSecret, SecretString};

use crate::TlsOptions;

/// The shortest time between two pings of a connection. etcd closes one that pings more often than every 5 s.
const SHORTEST_KEEP_ALIVE: Duration = Duration::from_secs(10);

/// The shortest time that an attempt may have.
const SHORTEST_ATTEMPT: Duration = Duration::from_millis(100);

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
    pub(crate) tls: Option<TlsOptions>,
    pub(crate) endpoint_choice: EndpointChoice,
    pub(crate) attempt_timeout: Duration,
    pub(crate) member_sync: Option<Duration>,
}

/// A user's name and password. The password isn't printed, and is overwritten in memory when it is dropped.
#[derive(Clone, Debug)]
pub(crate) struct Login {
    pub(crate) name: String,
    pub(crate) password: SecretString,
}

impl Options {
    /// The defaults.
    pub const fn new() -> Self {
        Self {
            connect_timeout: Duration::from_secs(2),
            keep_alive_interval: SHORTEST_KEEP_ALIVE,
            keep_alive_timeout: Duration::from_secs(5),
            max_attempts: 5,
            login: None,
            tls: None,
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

    /// Bounds each attempt to connect, the TLS handshake included. Default: 2 s. Zero is refused.
    pub const fn with_connect_timeout(mut self, timeout: Duration) -> Self {
        self.connect_timeout = timeout;
        self
    }

    /// Idle time before an HTTP/2 ping is sent while calls are in flight. Default and minimum: 10 s (etcd closes
    /// connections that ping more often than every 5 s).
    pub const fn with_keep_alive_interval(mut self, interval: Duration) -> Self {
        self.keep_alive_interval = interval;
        self
    }

    /// How long to wait for the answer to a ping, and on Linux for the acknowledgement of anything sent, before the connection
    /// is closed. Default: 5 s. Zero is refused.
    pub const fn with_keep_alive_timeout(mut self, timeout: Duration) -> Self {
        self.keep_alive_timeout = timeout;
        self
    }

    /// How often a request is sent at most, where it may be retried at all. Default: 5. Zero is refused.
    pub const fn with_max_attempts(mut self, attempts: usize) -> Self {
        self.max_attempts = attempts;
        self
    }

    /// Logs in as this user, for an etcd with authentication on. With it off, nothing changes. Default: no user.
    ///
    /// A password goes to `https://` endpoints, to Unix sockets and to loopback addresses only: other endpoints are
    /// refused with it. The password isn't printed, and is overwritten in memory when it is dropped; copies that are
    /// made to send it are not.
    pub fn with_login(
        mut self,
        user: impl Into<String>,
        password: impl Into<SecretString>,
    ) -> Self {
        self.login = Some(Login {
            name: user.into(),
            password: password.into(),
        });
        self
    }

    /// Which servers are trusted, and the client certificate. Default: [`TlsOptions::new`].
    ///
    /// They are for `https://` endpoints, and an endpoint `host:port` means `https://host:port` with them. There must be
    /// such an endpoint. TLS needs the feature `tls-ring` or `tls-aws-lc`.
    pub fn with_tls(mut self, tls: TlsOptions) -> Self {
        self.tls = Some(tls);
        self
    }

    /// Refuses options that can't work with any endpoint.
    pub(crate) fn checked(self) -> Result<Self> {
        self.check_values()?;
        if let Some(login) = &self.login {
            login.check()?;
        }
        Ok(self)
    }

    fn check_values(&self) -> Result<()> {
        if self.keep_alive_interval < SHORTEST_KEEP_ALIVE {
            return Err(Error::invalid_argument(
                "the keep-alive interval is below 10 s: etcd closes connections that ping too often",
            ));
        }
        for (what, value) in [
            ("connect timeout", self.connect_timeout),
            ("keep-alive timeout", self.keep_alive_timeout),
        ] {
            if value.is_zero() {
                let text = format!("the {what} is zero, it must be longer");
                return Err(Error::invalid_argument(text));
            }
        }
        if self.attempt_timeout < SHORTEST_ATTEMPT {
            return Err(Error::invalid_argument(
                "an attempt has less than 100 ms: healthy endpoints would be left",
            ));
        }
        if self.member_sync.is_some_and(|every| every.is_zero()) {
            return Err(Error::invalid_argument(
                "the members would be listed without a pause",
            ));
        }
        match self.max_attempts {
            0 => Err(Error::invalid_argument(
                "no attempts: nothing could be sent",
            )),
            _ => Ok(()),
        }
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

impl Login {
    fn check(&self) -> Result<()> {
        if self.name.is_empty() {
            return Err(Error::invalid_argument("the user's name is empty"));
        }
        if self.password.expose_secret().is_empty() {
            return Err(Error::invalid_argument("the user's password is empty"));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use etcd_lock_core::ErrorKind;

    use super::*;

    #[test]
    fn values_that_cant_work_are_refused() {
        let second = Duration::from_secs(1);
        for (options, text) in [
            (
                Options::new().with_connect_timeout(Duration::ZERO),
                "connect timeout is zero",
            ),
            (
                Options::new().with_keep_alive_timeout(Duration::ZERO),
                "keep-alive timeout is zero",
            ),
            (
                Options::new().with_keep_alive_interval(9 * second),
                "below 10 s",
            ),
            (Options::new().with_max_attempts(0), "no attempts"),
            (
                Options::new().with_attempt_timeout(second / 20),
                "less than 100 ms",
            ),
            (
                Options::new().with_member_sync(Duration::ZERO),
                "without a pause",
            ),
            (Options::new().with_login("", "secret"), "name is empty"),
            (Options::new().with_login("me", ""), "password is empty"),
        ] {
            let error = options.checked().unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidArgument);
            assert!(error.to_string().contains(text), "{error}");
        }
        assert!(Options::new().checked().is_ok());
    }

    #[test]
    fn passwords_are_not_printed() {
        let options = Options::new().with_login("me", "secret");
        assert!(!format!("{options:?}").contains("secret"));
    }
}
