//! How connections behave.

use std::time::Duration;

use etcd_lock_core::{Error, Result};
use secrecy::{ExposeSecret, SecretString};

use crate::TlsOptions;
use crate::scheme::{Scheme, is_loopback};

/// The shortest time between two pings of a connection. etcd closes one that pings more often than every 5 s.
const SHORTEST_KEEP_ALIVE: Duration = Duration::from_secs(10);

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
        }
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

    /// How long to wait for the answer to a ping before the connection is closed. Default: 5 s. Zero is refused.
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

    /// Refuses what can't work with any endpoint.
    pub(crate) fn checked(self) -> Result<Self> {
        self.check_values()?;
        if let Some(login) = &self.login {
            login.check()?;
        }
        Ok(self)
    }

    /// Refuses what can't work with these endpoints.
    pub(crate) fn check_endpoints(&self, endpoints: &[impl AsRef<str>]) -> Result<()> {
        if endpoints.iter().any(|it| it.as_ref().contains('@')) {
            // It may be a password, so it isn't repeated.
            return Err(Error::invalid(
                "an endpoint has a user in it, before its @: log in with with_login, or ETCDCTL_USER",
            ));
        }
        let schemes = || {
            endpoints
                .iter()
                .map(|it| (it.as_ref(), self.scheme(it.as_ref())))
        };
        if self.tls.is_some() && !schemes().any(|(_, scheme)| scheme == Scheme::Https) {
            return Err(Error::invalid(
                "there are options for TLS, and no endpoint with it: write https:// before it",
            ));
        }
        let mut schemes = schemes();
        let plain = schemes.find(|(it, scheme)| *scheme == Scheme::Http && !is_loopback(it));
        match plain {
            Some((endpoint, _)) if self.login.is_some() => Err(Error::invalid(format!(
                "a password goes over plain TCP to loopback addresses only, and {endpoint} is none: write https:// before \
                 it"
            ))),
            _ => Ok(()),
        }
    }

    /// How an endpoint is reached.
    pub(crate) fn scheme(&self, endpoint: &str) -> Scheme {
        let default = match self.tls {
            Some(_) => Scheme::Https,
            None => Scheme::Http,
        };
        Scheme::of(endpoint).unwrap_or(default)
    }

    fn check_values(&self) -> Result<()> {
        if self.keep_alive_interval < SHORTEST_KEEP_ALIVE {
            return Err(Error::invalid(
                "the keep-alive interval is below 10 s: etcd closes connections that ping too often",
            ));
        }
        for (what, value) in [
            ("connect timeout", self.connect_timeout),
            ("keep-alive timeout", self.keep_alive_timeout),
        ] {
            if value.is_zero() {
                let text = format!("the {what} is zero, it must be longer");
                return Err(Error::invalid(text));
            }
        }
        match self.max_attempts {
            0 => Err(Error::invalid("no attempts: nothing could be sent")),
            _ => Ok(()),
        }
    }
}

impl Default for Options {
    fn default() -> Self {
        Self::new()
    }
}

impl Login {
    fn check(&self) -> Result<()> {
        if self.name.is_empty() {
            return Err(Error::invalid("the user's name is empty"));
        }
        if self.password.expose_secret().is_empty() {
            return Err(Error::invalid("the user's password is empty"));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use etcd_lock_core::ErrorKind;

    use super::*;

    const HTTP: &[&str] = &["http://10.0.0.1:1", "10.0.0.2:1"];

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
            (Options::new().with_login("", "secret"), "name is empty"),
            (Options::new().with_login("me", ""), "password is empty"),
        ] {
            says(&options.checked().unwrap_err(), text);
        }
        assert!(Options::new().checked().is_ok());
    }

    #[test]
    fn tls_options_need_an_endpoint_with_tls() {
        let options = Options::new().with_tls(TlsOptions::new());
        for plain in [
            &["http://a:1"][..],
            &["unix:///a"],
            &["http://a:1", "unix:b"],
        ] {
            refused(&options, plain, "write https://");
        }
        for good in [
            &["https://a:1"][..],
            &["a:1"],
            &["http://127.0.0.1:1", "https://a:1"],
        ] {
            options.check_endpoints(good).unwrap();
        }
    }

    #[test]
    fn password_goes_over_plain_tcp_to_loopback_only() {
        let options = Options::new().with_login("me", "secret");
        for good in [
            "127.0.0.1:1",
            "localhost:1",
            "http://[::1]:1",
            "https://a:1",
            "unix:///a",
        ] {
            options.check_endpoints(&[good]).unwrap();
        }
        for bad in ["10.0.0.1:1", "http://localhost.example.org:1", "http://a:1"] {
            refused(&options, &["https://b:1", bad], bad);
        }
        let with_tls = options.with_tls(TlsOptions::new());
        with_tls.check_endpoints(&["a:1"]).unwrap();
        refused(&with_tls, &["a:1", "http://b:1"], "http://b:1");
    }

    #[test]
    fn passwords_are_not_printed() {
        let options = Options::new().with_login("me", "secret");
        assert!(!format!("{options:?}").contains("secret"));
        for endpoints in [HTTP, &["http://me:secret@127.0.0.1:1"]] {
            let error = options.check_endpoints(endpoints).unwrap_err();
            assert!(!format!("{error:?}").contains("secret"));
        }
    }

    #[track_caller]
    fn refused(options: &Options, endpoints: &[&str], text: &str) {
        says(&options.check_endpoints(endpoints).unwrap_err(), text);
    }

    #[track_caller]
    fn says(error: &Error, text: &str) {
        assert_eq!(error.kind(), ErrorKind::InvalidArgument);
        assert!(error.to_string().contains(text), "{error}");
    }
}
