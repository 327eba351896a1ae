//! The constants of the wait queue in one place, so that a simulation can draw others.

use std::time::Duration;

/// How a [`Queue`](crate::Queue) goes about waiting. The defaults are what it ships with; others are for tests, which find
/// what only holds for the shipped ones.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct Tuning {
    /// How long one request to enter or to leave the queue may take before it is given up and sent again.
    pub request_timeout: Duration,
    /// How many watches that nobody needs at the moment are kept: the next wait is often for the same keys.
    pub idle_watches: usize,
    /// A hold is watched once its entry is this old: most are over by then.
    pub watched_age: Duration,
    /// How often a session whose tasks hand the lock over asks whether anybody else waits.
    pub ask_interval: Duration,
    /// How long the tasks of a session may hand the lock over once somebody else is known to wait.
    pub handover_time: Duration,
    /// The first pause between attempts to reach a server again. Each is longer than the one before.
    pub shortest_pause: Duration,
    /// The longest of them.
    pub longest_pause: Duration,
}

impl Tuning {
    /// The defaults.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            request_timeout: Duration::from_secs(10),
            idle_watches: 64,
            watched_age: Duration::from_millis(100),
            ask_interval: Duration::from_millis(250),
            handover_time: Duration::from_secs(1),
            shortest_pause: Duration::from_millis(20),
            longest_pause: Duration::from_secs(2),
        }
    }
}

impl Default for Tuning {
    fn default() -> Self {
        Self::new()
    }
}
