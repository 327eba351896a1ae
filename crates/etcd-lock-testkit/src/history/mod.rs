//! Histories: the changes in etcd and the claims of its clients, as data that any source can write and [`checker`] judges.
//!
//! A history is a list of [`Record`]s in the order of one observer's clock. The simulation writes one as it runs, and a
//! [`Recorder`](crate::recorder::Recorder) writes one of real etcds.
//! As text it is one JSON object a line: [`to_lines`] and [`from_lines`].
//!
//! [`checker`]: crate::checker

use etcd_lock_core::ErrorKind;
use serde::{Deserialize, Serialize};

mod kind;

/// Microseconds of some clock.
pub type Micros = u64;

/// One life of one process: the things that one knows, wants or has given up are nothing to another life of the same process.
#[derive(
    Clone, Copy, Debug, Default, Deserialize, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize,
)]
pub struct Client {
    /// The process.
    pub process: u32,
    /// Which of its lives, counted from 1.
    pub life: u32,
}

impl Client {
    /// One life of a process.
    #[must_use]
    pub const fn new(process: u32, life: u32) -> Self {
        Self { process, life }
    }
}

/// The cause of a change on the server.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize)]
#[non_exhaustive]
pub enum Author {
    /// A request of a client.
    Client(Client),
    /// The end of a lease that nobody renewed.
    Expiry,
    /// etcd itself, which cleans up after a `Lock` call of this or another time.
    Server,
    /// Somebody who is none of the clients: an operator, another program.
    Stranger,
    /// The observer can't know: a watch tells of a deletion, but not whose it was.
    Unknown,
}

/// An entry of a lock's queue, in the order in which entries are granted.
#[derive(Clone, Debug, Deserialize, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize)]
pub struct Entry {
    /// The revision that created it.
    pub created: i64,
    /// Its key.
    pub key: String,
}

impl Entry {
    /// The entry of this key that was created at a revision.
    pub fn new(created: i64, key: impl Into<String>) -> Self {
        Self {
            created,
            key: key.into(),
        }
    }
}

/// How long a client waits for a lock.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Hash, PartialEq, Serialize)]
#[non_exhaustive]
pub enum How {
    /// For as long as it takes.
    Lock,
    /// For so many microseconds of its own clock.
    Timeout(Micros),
    /// Not at all.
    Try,
}

/// The ground on which a client claims a lock.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Hash, PartialEq, Serialize)]
#[non_exhaustive]
pub enum Mode {
    /// A guard of ours, which also looks after the entry.
    Guard,
    /// The lease alone, as a caller of [`Queue`](etcd_lock_session::Queue) or of etcd's `Lock` does.
    Lease,
}

/// How a fenced write ended for its writer.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Hash, PartialEq, Serialize)]
#[non_exhaustive]
pub enum WriteEnd {
    /// It was acknowledged.
    Done,
    /// It failed before etcd executed it.
    NotDone,
    /// etcd said that the lock is not held.
    Refused,
    /// Nobody knows.
    Unknown,
}

/// Something that happened.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(tag = "fact", rename_all = "snake_case")]
#[non_exhaustive]
#[allow(missing_docs, reason = "the fields are what the variants say")]
pub enum Fact {
    /// etcd: an entry was created.
    Entered {
        lock: String,
        entry: Entry,
        lease: i64,
    },
    /// etcd: an entry was deleted, at a revision.
    Left {
        lock: String,
        entry: Entry,
        revision: i64,
        by: Author,
    },
    /// etcd: a fenced write was committed.
    Committed { write: u64 },
    /// etcd: a lease came to exist.
    LeaseBegan { lease: i64 },
    /// etcd: a lease ended, or was found ended.
    LeaseEnded { lease: i64, by: Author },
    /// Until then requests may be lost, refused or late: those of one process, or everybody's.
    Disturbed {
        process: Option<u32>,
        cause: String,
        until: Micros,
    },
    /// A client was told that etcd refuses a request, with an error of this kind.
    Refused {
        client: Client,
        #[serde(with = "kind")]
        kind: ErrorKind,
    },
    /// etcd ended or refused a watch of a client, with a reason that means this kind of error.
    WatchRefused {
        client: Client,
        #[serde(with = "kind")]
        kind: ErrorKind,
    },
    /// A living watch was not told that a key was deleted.
    EventLost { client: Client, key: String },
    /// etcd began a watch of a key for a client.
    Watched { client: Client, key: String },
    /// A watch told a client of the deletion of a key.
    Told {
        client: Client,
        key: String,
        revision: i64,
    },
    /// A client began to live.
    Started { client: Client },
    /// A client ended without a goodbye.
    Died { client: Client },
    /// A client stands still: it claims nothing, since it can't act on it.
    Paused { client: Client },
    /// It goes on.
    Resumed { client: Client },
    /// A client asked for a lease, which is its own.
    Leased {
        client: Client,
        lease: i64,
        ttl: Micros,
    },
    /// A client began to close the session of a lease.
    Closed { client: Client, lease: i64 },
    /// A task of a client wants a lock.
    Asked {
        client: Client,
        wait: u64,
        lock: String,
        /// The key that its entry has or would have.
        key: String,
        lease: i64,
        how: How,
    },
    /// A wait ended with the lock. `held` is what the guard said first.
    Granted {
        client: Client,
        wait: u64,
        grant: u64,
        entry: Entry,
        handover: u64,
        mode: Mode,
        /// How often in a row the session hands a lock over while others wait.
        limit: u64,
        held: bool,
    },
    /// A wait was dropped.
    GaveUp { client: Client, wait: u64 },
    /// A wait failed.
    Failed {
        client: Client,
        wait: u64,
        #[serde(with = "kind")]
        kind: ErrorKind,
    },
    /// The answer of a guard to whether it holds its lock.
    Claimed {
        client: Client,
        grant: u64,
        held: bool,
    },
    /// A guard said that its lock is lost. `held` is what it answered to whether it holds the lock all the same.
    Lost {
        client: Client,
        grant: u64,
        #[serde(with = "kind")]
        kind: ErrorKind,
        held: bool,
    },
    /// A hold was ended on purpose. `held` is what the guard said last.
    Released {
        client: Client,
        grant: u64,
        held: bool,
    },
    /// A fenced write was sent.
    WriteBegan {
        client: Client,
        write: u64,
        grant: u64,
    },
    /// A fenced write ended for its writer.
    WriteEnded {
        client: Client,
        write: u64,
        end: WriteEnd,
    },
    /// Nothing goes wrong any more.
    Healed,
    /// Nothing happens any more.
    Ended,
}

impl Fact {
    /// The client whose doing it is, if it is one's.
    #[must_use]
    pub const fn client(&self) -> Option<Client> {
        match self {
            Self::Started { client }
            | Self::Died { client }
            | Self::Paused { client }
            | Self::Resumed { client }
            | Self::Leased { client, .. }
            | Self::Closed { client, .. }
            | Self::Asked { client, .. }
            | Self::Granted { client, .. }
            | Self::GaveUp { client, .. }
            | Self::Failed { client, .. }
            | Self::Claimed { client, .. }
            | Self::Lost { client, .. }
            | Self::Released { client, .. }
            | Self::WriteBegan { client, .. }
            | Self::WriteEnded { client, .. } => Some(*client),
            _ => None,
        }
    }
}

/// Something that happened, and when.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct Record {
    /// When, by the observer's clock.
    pub at: Micros,
    /// When, by the clock of the client whose doing it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub clock: Option<Micros>,
    /// The thing that happened.
    #[serde(flatten)]
    pub fact: Fact,
}

impl Record {
    /// Something that happened, of which no client's clock is known.
    #[must_use]
    pub const fn observed(at: Micros, fact: Fact) -> Self {
        let clock = None;
        Self { at, clock, fact }
    }

    /// Something that happened by the observer's clock, which its client's clock agrees with.
    #[must_use]
    pub const fn new(at: Micros, fact: Fact) -> Self {
        let clock = match fact.client() {
            Some(_) => Some(at),
            None => None,
        };
        Self { at, clock, fact }
    }

    /// The same by another clock of its client.
    #[must_use]
    pub const fn with_clock(mut self, clock: Micros) -> Self {
        self.clock = Some(clock);
        self
    }
}

/// A history as text, one record a line.
///
/// # Errors
/// None that a history can cause: writing into memory can't fail.
pub fn to_lines(history: &[Record]) -> serde_json::Result<String> {
    let mut text = String::new();
    for record in history {
        text.push_str(&serde_json::to_string(record)?);
        text.push('\n');
    }
    Ok(text)
}

/// A history from its text. Records are put in the order of their times, those of one time as they stand.
///
/// # Errors
/// Where a line is no record.
pub fn from_lines(text: &str) -> serde_json::Result<Vec<Record>> {
    let lines = text.lines().filter(|line| !line.is_empty());
    let mut history = lines
        .map(serde_json::from_str)
        .collect::<serde_json::Result<Vec<Record>>>()?;
    history.sort_by_key(|record| record.at);
    Ok(history)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_history_survives_its_text() {
        let client = Client::new(1, 2);
        let facts = [
            Fact::Entered {
                lock: "a".to_owned(),
                entry: Entry::new(5, "a/7"),
                lease: 7,
            },
            Fact::Failed {
                client,
                wait: 3,
                kind: ErrorKind::LeaseNotFound,
            },
            Fact::Left {
                lock: "a".to_owned(),
                entry: Entry::new(5, "a/7"),
                revision: 6,
                by: Author::Client(client),
            },
            Fact::Ended,
        ];
        let history: Vec<_> = (1..).zip(facts).map(|(at, f)| Record::new(at, f)).collect();
        let text = to_lines(&history).unwrap();
        assert_eq!(text.lines().count(), 4);
        assert_eq!(from_lines(&text).unwrap(), history);
    }

    #[test]
    fn lines_out_of_order_are_put_in_order() {
        let lines = [
            "{\"at\":2,\"fact\":\"ended\"}",
            "{\"at\":1,\"fact\":\"healed\"}",
        ];
        let history = from_lines(&lines.join("\n")).unwrap();
        assert_eq!(history[0].fact, Fact::Healed);
        assert!(from_lines("{}").is_err());
    }
}
