//! Names, keys, leases, revisions and times to live: checked once, then passed around as types.

use std::fmt;
use std::time::Duration;

use bytes::Bytes;

use crate::{Error, Result};

/// The name of a lock: any bytes but none, at most [`LockName::MAX_LEN`] of them.
///
/// Two callers with one name exclude each other. `/`, NUL and bytes that are not UTF-8 are allowed, as in etcd.
///
/// ```
/// use etcd_lock_core::LockName;
///
/// let name = LockName::new("jobs/nightly")?;
/// assert_eq!(name.to_string(), "jobs/nightly");
/// assert!(LockName::new("").is_err());
/// # Ok::<(), etcd_lock_core::Error>(())
/// ```
#[derive(Clone, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct LockName(Bytes);

impl LockName {
    /// The longest name, in bytes. One transaction that takes a lock carries the name up to eight times, and etcd
    /// refuses a request of more than 1.5 MiB.
    pub const MAX_LEN: usize = 128 * 1024;

    /// Checks a name.
    ///
    /// # Errors
    /// `InvalidArgument` when it is empty or longer than [`LockName::MAX_LEN`].
    pub fn new(name: impl Into<Bytes>) -> Result<Self> {
        let name = name.into();
        if name.is_empty() {
            return Err(Error::invalid_argument("the lock name is empty"));
        }
        if name.len() > Self::MAX_LEN {
            return Err(Error::invalid_argument(format!(
                "the lock name has {} bytes, at most {} are allowed",
                name.len(),
                Self::MAX_LEN
            )));
        }
        Ok(Self(name))
    }

    /// The name as it was given.
    #[must_use]
    pub const fn as_bytes(&self) -> &Bytes {
        &self.0
    }

    /// Where the keys of this lock's queue begin: the name and a slash.
    #[must_use]
    pub fn queue_prefix(&self) -> Bytes {
        let mut prefix = Vec::with_capacity(self.0.len() + 1);
        prefix.extend_from_slice(&self.0);
        prefix.push(b'/');
        prefix.into()
    }

    /// The key under which `lease` waits for this lock: `<name>/<lease in lower-case hex>`.
    #[must_use]
    pub fn key(&self, lease: LeaseId) -> LockKey {
        let mut key = Vec::from(self.queue_prefix());
        key.extend_from_slice(lease.to_string().as_bytes());
        LockKey(key.into())
    }
}

impl fmt::Debug for LockName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "LockName({self})")
    }
}

impl fmt::Display for LockName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&printable(&self.0))
    }
}

/// A place in the queue of a lock: `<name>/<lease in lower-case hex>`, the bytes that etcd stores.
#[derive(Clone, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct LockKey(Bytes);

impl LockKey {
    /// Takes a key that `lock` returned, here or in another program.
    ///
    /// # Errors
    /// `InvalidArgument` when it is empty or longer than a name and a lease can make it.
    pub fn new(key: impl Into<Bytes>) -> Result<Self> {
        let key = key.into();
        if key.is_empty() {
            return Err(Error::invalid_argument("the lock key is empty"));
        }
        if key.len() > LockName::MAX_LEN + 17 {
            return Err(Error::invalid_argument(format!(
                "the lock key has {} bytes, more than any lock's",
                key.len()
            )));
        }
        Ok(Self(key))
    }

    /// The key as etcd stores it.
    #[must_use]
    pub const fn as_bytes(&self) -> &Bytes {
        &self.0
    }

    /// The name and the lease that make up this key, or `None` where it isn't a queue entry: only
    /// `<name>/<hex>` is one, with at most sixteen lower-case digits and no zero in front. A sign before the digits is
    /// allowed: etcd's lock service takes a negative lease from its caller.
    ///
    /// ```
    /// use etcd_lock_core::LockKey;
    ///
    /// let (name, lease) = LockKey::new("a/b/1f")?.parts().unwrap();
    /// assert_eq!((name.to_string(), lease.get()), ("a/b".to_owned(), 0x1f));
    /// assert_eq!(LockKey::new("a/b/notes")?.parts(), None);
    /// # Ok::<(), etcd_lock_core::Error>(())
    /// ```
    #[must_use]
    pub fn parts(&self) -> Option<(LockName, LeaseId)> {
        let slash = self.0.iter().rposition(|&byte| byte == b'/')?;
        let lease = LeaseId::from_hex(&self.0[slash + 1..])?;
        let name = LockName::new(self.0.slice(..slash)).ok()?;
        Some((name, lease))
    }
}

impl From<LockKey> for Bytes {
    fn from(key: LockKey) -> Self {
        key.0
    }
}

impl From<&LockKey> for Bytes {
    fn from(key: &LockKey) -> Self {
        key.0.clone()
    }
}

impl fmt::Debug for LockKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "LockKey({self})")
    }
}

impl fmt::Display for LockKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&printable(&self.0))
    }
}

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

    /// The number.
    #[must_use]
    pub const fn get(self) -> i64 {
        self.0
    }

    fn from_hex(text: &[u8]) -> Option<Self> {
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

/// Bytes as text that can't move a terminal's cursor: UTF-8 stays, everything else is escaped.
fn printable(bytes: &[u8]) -> String {
    let mut text = String::new();
    for chunk in bytes.utf8_chunks() {
        for character in chunk.valid().chars() {
            if character.is_control() {
                text.extend(character.escape_default());
            } else {
                text.push(character);
            }
        }
        for byte in chunk.invalid() {
            text.push_str(&format!("\\x{byte:02x}"));
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_any_bytes_make_keys() {
        let name = LockName::new(&b"a\0\xff/b"[..]).unwrap();
        let key = name.key(LeaseId::new(0x309).unwrap());
        assert_eq!(key.as_bytes().as_ref(), b"a\0\xff/b/309");
        assert_eq!(key.parts(), Some((name, LeaseId(0x309))));
    }

    #[test]
    fn names_are_bounded() {
        assert!(LockName::new("").is_err());
        assert!(LockName::new(vec![b'x'; LockName::MAX_LEN]).is_ok());
        assert!(LockName::new(vec![b'x'; LockName::MAX_LEN + 1]).is_err());
    }

    #[test]
    fn only_canonical_hex_is_a_queue_entry() {
        for entry in ["n/1", "n/7fffffffffffffff", "n/-5", "/1", "a/b/c0ffee"] {
            let is_entry = LockKey::new(entry).unwrap().parts().is_some();
            assert_eq!(is_entry, !entry.starts_with('/'), "{entry}");
        }
        for other in [
            "n",
            "n/",
            "n/0",
            "n/01",
            "n/1F",
            "n/xyz",
            "n/ffffffffffffffff",
            "n/1 ",
            "n/-",
            "n/--1",
            "n/+1",
        ] {
            assert_eq!(LockKey::new(other).unwrap().parts(), None, "{other}");
        }
    }

    #[test]
    fn control_characters_are_escaped() {
        let name = LockName::new(&b"a\x1b[2Jb\xffc"[..]).unwrap();
        assert_eq!(name.to_string(), "a\\u{1b}[2Jb\\xffc");
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
