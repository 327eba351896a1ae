//! Options that can't work are refused before anything is sent.

use std::time::Duration;

use etcd_lock_core::{Error, Result};
use secrecy::ExposeSecret;

use super::{ConnectOptions, Login, SHORTEST_KEEP_ALIVE};

/// The shortest time that an attempt may have.
const SHORTEST_ATTEMPT: Duration = Duration::from_millis(100);

/// A longer time is as good as none, and more than a clock can count to. Linux takes no more than 24 days for one of them.
const LONGEST: Duration = Duration::from_secs(24 * 60 * 60);

impl ConnectOptions {
    /// Refuses options that can't work with any endpoint.
    pub(crate) fn checked(mut self) -> Result<Self> {
        self.check_values()?;
        if let Some(login) = &self.login {
            login.check()?;
        }
        for time in [
            &mut self.connect_timeout,
            &mut self.keep_alive_interval,
            &mut self.keep_alive_timeout,
            &mut self.attempt_timeout,
        ] {
            *time = (*time).min(LONGEST);
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
                ConnectOptions::new().with_connect_timeout(Duration::ZERO),
                "connect timeout is zero",
            ),
            (
                ConnectOptions::new().with_keep_alive_timeout(Duration::ZERO),
                "keep-alive timeout is zero",
            ),
            (
                ConnectOptions::new().with_keep_alive_interval(9 * second),
                "below 10 s",
            ),
            (ConnectOptions::new().with_max_attempts(0), "no attempts"),
            (
                ConnectOptions::new().with_attempt_timeout(second / 20),
                "less than 100 ms",
            ),
            (
                ConnectOptions::new().with_member_sync(Duration::ZERO),
                "without a pause",
            ),
            (
                ConnectOptions::new().with_login("", "secret"),
                "name is empty",
            ),
            (
                ConnectOptions::new().with_login("me", ""),
                "password is empty",
            ),
        ] {
            let error = options.checked().unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidArgument);
            assert!(error.to_string().contains(text), "{error}");
        }
        assert!(ConnectOptions::new().checked().is_ok());
    }

    #[test]
    fn times_without_a_bound_are_bounded() {
        let options = ConnectOptions::new()
            .with_connect_timeout(Duration::MAX)
            .with_keep_alive_interval(Duration::MAX)
            .with_keep_alive_timeout(Duration::MAX)
            .with_attempt_timeout(Duration::MAX);
        let options = options.checked().unwrap();
        assert_eq!(options.connect_timeout, LONGEST);
        assert_eq!(options.keep_alive_interval, LONGEST);
        assert_eq!(options.keep_alive_timeout, LONGEST);
        assert_eq!(options.attempt_timeout, LONGEST);
    }

    #[test]
    fn passwords_are_not_printed() {
        let options = ConnectOptions::new().with_login("me", "secret");
        assert!(!format!("{options:?}").contains("secret"));
    }
}
