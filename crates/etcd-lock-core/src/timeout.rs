//! How long to wait for a reply.

use std::fmt;
use std::time::Duration;

use crate::{Error, Result};

/// How long a call may take from when it begins to its result, waiting for a lock included.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[allow(clippy::exhaustive_enums, reason = "a wait is bounded or it is not")]
pub enum Timeout {
    /// Fail with [`Timeout`](crate::ErrorKind::Timeout), or [`LockTimeout`](crate::ErrorKind::LockTimeout), after this long.
    After(Duration),
    /// Wait until there is an answer.
    Infinity,
}

impl Timeout {
    /// The default of a [`Context`](crate::Context): 9 s, as in eetcd.
    pub const DEFAULT: Self = Self::After(Duration::from_secs(9));

    /// The bound as a duration, where there is one.
    #[must_use]
    pub const fn as_duration(self) -> Option<Duration> {
        match self {
            Self::After(duration) => Some(duration),
            Self::Infinity => None,
        }
    }

    /// Refuses a timeout that could never see an answer.
    ///
    /// # Errors
    /// `InvalidArgument` when it is zero.
    pub fn checked(self) -> Result<Self> {
        match self {
            Self::After(Duration::ZERO) => Err(Error::invalid_argument(
                "the timeout is zero, it must be longer (or Timeout::Infinity)",
            )),
            bound => Ok(bound),
        }
    }
}

impl Default for Timeout {
    fn default() -> Self {
        Self::DEFAULT
    }
}

impl fmt::Display for Timeout {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::After(duration) => write!(f, "{duration:?}"),
            Self::Infinity => f.write_str("infinity"),
        }
    }
}

impl From<Duration> for Timeout {
    fn from(duration: Duration) -> Self {
        Self::After(duration)
    }
}
