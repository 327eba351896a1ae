//! Notes that a process gives the world, beside its requests. They take no time and are never lost.

use std::fmt;
use std::sync::Weak;

use crate::history::Fact;

#[derive(Debug)]
#[allow(dead_code, reason = "some of it is there for the trace alone")]
pub(super) enum Note {
    /// For the history.
    Fact(Fact),
    /// The same of a grant, with the holder, who can be asked.
    Granted {
        fact: Fact,
        grant: u64,
        held: Weak<dyn Held>,
    },
    /// All tasks have done their steps.
    Finished,
    Said(String),
}

/// A holder's own view of its hold.
pub(super) trait Held: fmt::Debug + Send + Sync {
    /// Whether it claims to hold the lock, by its own clock.
    fn is_held(&self) -> bool;
}
