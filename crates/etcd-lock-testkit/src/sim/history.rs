//! What happened: notes of the processes, and the line-by-line history of a run.

use std::fmt::{self, Write};
use std::sync::Weak;

use etcd_lock_core::{Error, LockKey, Revision};
use etcd_lock_session::FencingToken;

use super::process::Micros;

/// What a process tells the checker. Notes take no time and are never lost.
#[derive(Debug)]
#[allow(dead_code, reason = "some of it is there for the trace alone")]
pub(super) enum Note {
    Asked {
        lock: usize,
    },
    Failed {
        lock: usize,
        error: Error,
    },
    /// All tasks have done their steps.
    Finished,
    GaveUp {
        lock: usize,
    },
    Granted {
        grant: u64,
        lock: usize,
        key: LockKey,
        token: FencingToken,
        limit: u64,
        /// Whether the holder watches its key, so that it learns of a deletion by others.
        watched: bool,
        held: Weak<dyn Held>,
    },
    /// A holder was told that its lock is lost.
    Lost {
        grant: u64,
        error: Error,
        /// Whether its guard claims it all the same.
        held: bool,
    },
    Released {
        grant: u64,
    },
    Said(String),
    Write {
        id: u64,
        lock: usize,
        created: Revision,
    },
    WriteEnded {
        id: u64,
        end: WriteEnd,
    },
}

/// What a holder thinks of its hold.
pub(super) trait Held: fmt::Debug + Send + Sync {
    /// Whether it claims to hold the lock, by its own clock.
    fn is_held(&self) -> bool;
}

/// How a fenced write ended for its writer.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum WriteEnd {
    Done,
    /// It failed before it reached the server.
    NotDone,
    /// The server said that the lock is not held.
    Refused,
    Unknown,
}

/// The history of a run: its hash always, its lines on demand.
#[derive(Debug)]
pub(super) struct Log {
    hash: Hash,
    lines: Option<Vec<String>>,
}

impl Log {
    pub(super) fn new(keep_lines: bool) -> Self {
        Self {
            hash: Hash(0xcbf2_9ce4_8422_2325),
            lines: keep_lines.then(Vec::new),
        }
    }

    pub(super) fn add(&mut self, at: Micros, what: fmt::Arguments<'_>) {
        // Hashing can't fail.
        let _ = write!(self.hash, "{at} {what}");
        if let Some(lines) = &mut self.lines {
            let (secs, micros) = (at / 1_000_000, at % 1_000_000);
            lines.push(format!("{secs:>3}.{micros:06} {what}"));
        }
    }

    pub(super) fn into_parts(self) -> (u64, Vec<String>) {
        (self.hash.0, self.lines.unwrap_or_default())
    }
}

/// FNV-1a: the same in every build, as the standard library's hasher need not be.
#[derive(Debug)]
struct Hash(u64);

impl Write for Hash {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for byte in text.bytes() {
            self.0 = (self.0 ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
        }
        Ok(())
    }
}
