//! How much time a tick of the explorer's clock is, and what may be relied on for how many of them.

use crate::history::Micros;

/// The meaning of a tick.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub(super) enum Pace {
    /// More time than a heartbeat and its answer take. It keeps exhaustive searches small.
    Coarse,
    /// The time that an attempt to read may take, half of a heartbeat. The bounds of the checker can be told apart.
    Fine,
}

impl Pace {
    /// How many ticks after its confirmation an entry may be granted.
    pub(super) const fn fresh(self) -> u64 {
        match self {
            Self::Coarse => 0,
            Self::Fine => 1,
        }
    }

    /// How many ticks after its confirmation a hold may be relied on: to the end of the last one, less than nine tenths
    /// of the time to live pass.
    pub(super) const fn valid(self) -> u64 {
        match self {
            Self::Coarse => 1,
            Self::Fine => 4,
        }
    }

    /// How many ticks there are between two heartbeats of a session, where they are sent by the clock.
    pub(super) const fn heartbeat(self) -> Option<u64> {
        match self {
            Self::Coarse => None,
            Self::Fine => Some(2),
        }
    }

    /// The length of a tick.
    pub(super) const fn tick(self) -> Micros {
        match self {
            Self::Coarse => 4_000_000,
            Self::Fine => 1_000_000,
        }
    }

    /// The time to live of each lease.
    pub(super) const fn ttl(self) -> Micros {
        match self {
            Self::Coarse => 9_000_000,
            Self::Fine => 6_000_000,
        }
    }
}
