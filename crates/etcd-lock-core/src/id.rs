//! Leases, revisions and times to live: checked once, then passed around as types.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use crate::{Error, Result};

/// The number of a lease: greater than zero, or negative where it was found in a key that another client chose. It prints
/// as etcd writes it into lock keys, in lower-case hex.
#[derive(Clone, Copy, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct LeaseId(i64);

impl LeaseId {
    /// Checks a lease number.
    ///
    /// # Errors
    /// `InvalidArgument` when it is zero or negative. (etcd takes 0 for "grant me a hidden lease of 60 s that
    /// nobody keeps alive": a lock that ends by itself, so it is refused here.)
    pub fn new(id: i64) -> Result<Self> {
        if id <= 0 {
            return Err(Error::invalid_argument(format!(
                "the lease id is {id}, it must be greater than zero: grant a lease first"
            )));
        }
        Ok(Self(id))
    }

    /// The lease of a stored key, as etcd states it: `None` for 0, which is a key without a lease. It may be negative, where
    /// another client chose it.
    #[must_use]
    pub const fn of_stored_key(id: i64) -> Option<Self> {
        match id {
            0 => None,
            id => Some(Self(id)),
        }
    }

    /// The number.
    #[must_use]
    pub const fn get(self) -> i64 {
        self.0
    }

    /// Only the text that [`Display`](fmt::Display) writes: etcd writes no other into lock keys.
    pub(crate) fn from_hex(text: &[u8]) -> Option<Self> {
        let digits = text.strip_prefix(b"-").unwrap_or(text);
        let canonical = digits.len() <= 16
            && digits.first().is_some_and(|&first| first != b'0')
            && digits
                .iter()
                .all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
        if !canonical {
            return None;
        }
        let text = std::str::from_utf8(text).ok()?;
        i64::from_str_radix(text, 16).ok().map(Self)
    }
}

impl fmt::Debug for LeaseId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "LeaseId({self})")
    }
}

impl fmt::Display for LeaseId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sign = if self.0 < 0 { "-" } else { "" };
        write!(f, "{sign}{:x}", self.0.unsigned_abs())
    }
}

impl From<LeaseId> for i64 {
    fn from(id: LeaseId) -> Self {
        id.0
    }
}

impl TryFrom<i64> for LeaseId {
    type Error = Error;

    fn try_from(id: i64) -> Result<Self> {
        Self::new(id)
    }
}

/// Reads hexadecimal digits, as etcd and `etcdctl` print a lease: in lower or upper case, also with zeros in front.
///
/// ```
/// use etcd_lock_core::LeaseId;
///
/// let lease: LeaseId = "0000694d8a2b1f04".parse()?;
/// assert_eq!(lease.to_string(), "694d8a2b1f04");
/// # Ok::<(), etcd_lock_core::Error>(())
/// ```
impl FromStr for LeaseId {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let is_hex = text.bytes().all(|byte| byte.is_ascii_hexdigit());
        let number = is_hex.then(|| i64::from_str_radix(text, 16).ok()).flatten();
        let number = number.ok_or_else(|| {
            Error::invalid_argument(format!(
                "the lease id is {text:?}, it must be a number in hexadecimal"
            ))
        })?;
        Self::new(number)
    }
}

/// A revision of the whole store: it grows by one with every transaction that writes. Never negative.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Revision(i64);

impl Revision {
    /// Zero: before anything was written, and the create revision of a key that isn't there.
    pub const ZERO: Self = Self(0);

    /// Checks a revision.
    ///
    /// # Errors
    /// `InvalidArgument` when it is negative.
    pub fn new(revision: i64) -> Result<Self> {
        if revision < 0 {
            return Err(Error::invalid_argument(format!(
                "the revision {revision} is negative"
            )));
        }
        Ok(Self(revision))
    }

    /// The number.
    #[must_use]
    pub const fn get(self) -> i64 {
        self.0
    }

    /// The revision after this one.
    #[must_use]
    pub const fn next(self) -> Self {
        Self(self.0.saturating_add(1))
    }
}

impl fmt::Display for Revision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl From<Revision> for i64 {
    fn from(revision: Revision) -> Self {
        revision.0
    }
}

impl TryFrom<i64> for Revision {
    type Error = Error;

    fn try_from(revision: i64) -> Result<Self> {
        Self::new(revision)
    }
}

/// How long a lease lives without being kept alive: whole seconds, at least one.
///
/// etcd grants more than was asked where its election timeout demands it (two seconds at its defaults): the reply
/// of a grant holds what counts.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Ttl(i64);

impl Ttl {
    /// The longest time to live that etcd grants, in seconds (`maxLeaseTTL` in its `lessor.go`).
    pub const MAX_SECS: i64 = 9_000_000_000;

    /// Checks a number of seconds.
    ///
    /// # Errors
    /// `InvalidArgument` when it is below one or above [`Ttl::MAX_SECS`].
    pub fn from_secs(secs: i64) -> Result<Self> {
        if !(1..=Self::MAX_SECS).contains(&secs) {
            return Err(Error::invalid_argument(format!(
                "the time to live is {secs} s, it must be from 1 to {} s",
                Self::MAX_SECS
            )));
        }
        Ok(Self(secs))
    }

    /// The number of seconds.
    #[must_use]
    pub const fn as_secs(self) -> i64 {
        self.0
    }

    /// The same as a duration.
    #[must_use]
    pub const fn as_duration(self) -> Duration {
        Duration::from_secs(self.0.unsigned_abs())
    }
}

impl From<Ttl> for Duration {
    fn from(ttl: Ttl) -> Self {
        ttl.as_duration()
    }
}

impl TryFrom<Duration> for Ttl {
    type Error = Error;

    /// Rounds up to whole seconds, since a lease that ends early is the worse surprise.
    fn try_from(duration: Duration) -> Result<Self> {
        let secs = duration
            .as_secs()
            .saturating_add(u64::from(duration.subsec_nanos() > 0));
        Self::from_secs(i64::try_from(secs).unwrap_or(i64::MAX))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lease_of_text_that_is_no_positive_hexadecimal_number_is_refused() {
        for bad in [
            "",
            "0",
            "-1f",
            "+1f",
            "0x1f",
            "xyz",
            "1 ",
            "8000000000000000",
        ] {
            assert!(bad.parse::<LeaseId>().is_err(), "{bad:?}");
        }
        assert_eq!("1F".parse::<LeaseId>().unwrap(), LeaseId(0x1f));
    }

    #[test]
    fn lease_of_a_stored_key_is_none_for_zero() {
        assert_eq!(LeaseId::of_stored_key(0), None);
        assert_eq!(LeaseId::of_stored_key(-5).map(LeaseId::get), Some(-5));
    }

    #[test]
    fn a_ttl_rounds_up() {
        let ttl = |duration| Ttl::try_from(duration).map(Ttl::as_secs).ok();
        assert_eq!(ttl(Duration::ZERO), None);
        assert_eq!(ttl(Duration::from_millis(1)), Some(1));
        assert_eq!(ttl(Duration::from_millis(2_001)), Some(3));
        assert_eq!(ttl(Duration::MAX), None);
    }
}
