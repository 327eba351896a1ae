//! Names of locks, and the keys of their queues.

use std::fmt;
use std::str::FromStr;

use bytes::Bytes;

use crate::{Error, LeaseId, Result};

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
        let (prefix, lease) = (self.queue_prefix(), lease.to_string());
        LockKey([&prefix, lease.as_bytes()].concat().into())
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

/// The key of an entry in the queue of a lock: `<name>/<lease in lower-case hex>`, the bytes that etcd stores.
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

/// The conversions that both have: from text and bytes by their `new`, and to bytes.
macro_rules! bytes_with_rules {
    ($($type:ident),*) => {$(
        impl AsRef<[u8]> for $type {
            fn as_ref(&self) -> &[u8] {
                &self.0
            }
        }

        impl From<$type> for Bytes {
            fn from(it: $type) -> Self {
                it.0
            }
        }

        impl From<&$type> for Bytes {
            fn from(it: &$type) -> Self {
                it.0.clone()
            }
        }

        impl FromStr for $type {
            type Err = Error;

            fn from_str(text: &str) -> Result<Self> {
                Self::new(text.to_owned())
            }
        }

        impl TryFrom<&[u8]> for $type {
            type Error = Error;

            fn try_from(bytes: &[u8]) -> Result<Self> {
                Self::new(bytes.to_vec())
            }
        }

        impl TryFrom<&str> for $type {
            type Error = Error;

            fn try_from(text: &str) -> Result<Self> {
                text.parse()
            }
        }
    )*};
}

bytes_with_rules!(LockKey, LockName);

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
        assert_eq!(key.parts(), Some((name, LeaseId::new(0x309).unwrap())));
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
    fn names_and_keys_of_text_and_of_bytes_keep_the_rules() {
        let name = LockName::new("jobs").unwrap();
        assert_eq!("jobs".parse::<LockName>().unwrap(), name);
        assert_eq!(LockName::try_from(&b"jobs"[..]).unwrap(), name);
        assert_eq!(
            (name.as_ref(), Bytes::from(&name)),
            (&b"jobs"[..], Bytes::from("jobs"))
        );
        assert!(LockName::try_from("").is_err() && "".parse::<LockKey>().is_err());
    }
}
