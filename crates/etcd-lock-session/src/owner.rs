//! The owner of a queue entry.

use std::time::SystemTime;

use bytes::Bytes;
use etcd_lock_queue::EntryValue;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::SessionOptions;

/// A description of the owner of a queue entry, for people to read: which process holds a lock, and on which machine.
///
/// It is in the entry's value, as JSON. Other clients leave theirs empty, and it has no part in deciding which client holds a
/// lock.
///
/// ```
/// # use etcd_lock_session::Owner;
/// let owner = Owner::current().with_note("nightly report");
/// let read = Owner::from_bytes(&owner.to_bytes()).unwrap();
/// assert_eq!((read.pid, read.note), (std::process::id(), "nightly report".to_owned()));
/// ```
#[derive(Clone, Debug, Default, Eq, PartialEq)]
#[must_use]
#[non_exhaustive]
pub struct Owner {
    /// The machine.
    pub host: String,
    /// The number of the process on it.
    pub pid: u32,
    /// The user that runs the process.
    pub user: String,
    /// Anything else.
    pub note: String,
    /// When the entry was made, by the machine's own clock.
    pub since: Option<SystemTime>,
}

impl Owner {
    /// This process. A field that the machine doesn't tell stays empty.
    pub fn current() -> Self {
        Self {
            host: whoami::hostname().unwrap_or_default(),
            pid: std::process::id(),
            user: whoami::username().unwrap_or_default(),
            ..Self::default()
        }
    }

    /// Adds a remark, like what the lock is taken for.
    pub fn with_note(mut self, note: impl Into<String>) -> Self {
        self.note = note.into();
        self
    }

    /// Says when the entry is made. A session does that by itself.
    pub const fn with_since(mut self, since: SystemTime) -> Self {
        self.since = Some(since);
        self
    }

    /// The description as an entry has it, as JSON.
    #[must_use]
    pub fn to_bytes(&self) -> Bytes {
        let form = Form {
            host: self.host.clone(),
            pid: self.pid,
            user: self.user.clone(),
            note: self.note.clone(),
            since: self.since.and_then(|since| since.try_into().ok()),
        };
        // Strings and numbers can always be written.
        serde_json::to_vec(&form).unwrap_or_default().into()
    }

    /// Reads the value of a queue entry: `None` where another client wrote it, or one without a description.
    #[must_use]
    pub fn from_entry(value: &[u8]) -> Option<Self> {
        Self::from_bytes(EntryValue::parse(value)?.owner())
    }

    /// Reads what [`to_bytes`](Self::to_bytes) wrote: `None` for anything else.
    #[must_use]
    pub fn from_bytes(value: &[u8]) -> Option<Self> {
        let form: Form = serde_json::from_slice(value).ok()?;
        Some(Self {
            host: form.host,
            pid: form.pid,
            user: form.user,
            note: form.note,
            since: form.since.and_then(|since| since.try_into().ok()),
        })
    }
}

impl SessionOptions {
    /// Describes the owner in the session's queue entries, which [`queue`](crate::queue) lists. By default they have no
    /// description.
    pub fn with_owner(mut self, owner: Owner) -> Self {
        self.owner = Some(owner);
        self
    }
}

/// How it is written.
#[derive(Deserialize, Serialize)]
struct Form {
    host: String,
    pid: u32,
    user: String,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    note: String,
    since: Option<Timestamp>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_of_others_are_no_owners() {
        for value in [&b""[..], b"{}", b"\xff", b"12", b"{\"host\":\"a\"}"] {
            assert_eq!(Owner::from_bytes(value), None);
        }
    }

    #[test]
    fn what_is_written_is_for_people() {
        let owner = Owner {
            host: "a".into(),
            pid: 7,
            user: "b".into(),
            ..Owner::default()
        };
        let since = SystemTime::UNIX_EPOCH + std::time::Duration::from_millis(1_500);
        assert_eq!(
            owner.with_since(since).to_bytes(),
            r#"{"host":"a","pid":7,"user":"b","since":"1970-01-01T00:00:01.5Z"}"#
        );
    }
}
