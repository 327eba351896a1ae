//! Results, for people and for machines.

use std::fmt;
use std::io::{self, Write};
use std::time::Duration;

use etcd_lock::{LockKey, LockName, Owner, session::QueueEntry};
use serde_json::{Value, json};

use crate::args::{Format, Output};

/// Prints a result to standard output.
pub(crate) fn print(format: Format, text: impl fmt::Display, value: &Value) -> io::Result<()> {
    let mut stdout = io::stdout().lock();
    match format.output {
        Output::Text => write!(stdout, "{text}")?,
        Output::Json => writeln!(stdout, "{value}")?,
    }
    stdout.flush()
}

/// A name or a key for machines: the bytes as they are, where the text for people escapes some. Those of this program are
/// UTF-8.
pub(crate) fn raw(bytes: &[u8]) -> Value {
    String::from_utf8_lossy(bytes).into()
}

/// An entry of a queue for machines.
pub(crate) fn entry(entry: &QueueEntry) -> Value {
    let owner = entry.owner.as_ref().map(owner);
    json!({
        "key": raw(entry.key.as_bytes()),
        "lease": entry.lease.to_string(),
        "token": entry.create_revision.get(),
        "ends_in_seconds": entry.remaining.map(|left| left.as_secs()),
        "owner": owner,
    })
}

fn owner(owner: &Owner) -> Value {
    let since = owner
        .since
        .and_then(|since| jiff::Timestamp::try_from(since).ok());
    json!({
        "host": owner.host,
        "pid": owner.pid,
        "user": owner.user,
        "note": owner.note,
        "since": since.map(|since| since.to_string()),
    })
}

/// An entry of a queue in a line for people.
pub(crate) struct Line<'a>(pub(crate) &'a QueueEntry);

impl fmt::Display for Line<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let QueueEntry {
            lease,
            owner,
            remaining,
            ..
        } = self.0;
        match owner {
            Some(Owner {
                host,
                pid,
                user,
                note,
                since,
                ..
            }) => {
                write!(f, "{user}@{host}, process {pid}")?;
                if let Some(passed) = since.and_then(|since| since.elapsed().ok()) {
                    write!(f, ", for {}", Age(passed))?;
                }
                if !note.is_empty() {
                    write!(f, " ({})", note.escape_debug())?;
                }
            }
            None => f.write_str("a client that says nothing of itself")?,
        }
        write!(f, ", lease {lease}")?;
        match remaining {
            Some(left) => write!(f, " ends in {} s unless it is renewed", left.as_secs()),
            None => f.write_str(" has just ended"),
        }
    }
}

/// A duration to the whole second.
struct Age(Duration);

impl fmt::Display for Age {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let whole =
            jiff::SignedDuration::from_secs(self.0.as_secs().try_into().unwrap_or(i64::MAX));
        write!(f, "{whole:#}")
    }
}

/// The lock of an entry's key.
pub(crate) fn lock_of(key: &LockKey) -> Option<LockName> {
    key.parts().map(|(name, _)| name)
}
