//! The constants of the wait queue in one place, so that the simulation can draw others.

use std::time::Duration;

/// How a [`Queue`](crate::Queue) goes about waiting. The defaults are what it ships with; others are for tests, which find
/// what only holds for the shipped ones.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct Tuning {
    /// How often the line is read anew although no event came: etcd versions are known that lose watch events.
    pub silence: Duration,
    /// How long after a request of unknown outcome its key is looked after. A request that a stalled server executes later
    /// than that leaves an entry that only the end of its lease removes.
    pub linger: Duration,
    /// How long one request inside a longer wait may take before it is given up and made again.
    pub request_timeout: Duration,
    /// Up to this many entries before ours are all watched, so that the last one to go is the grant, without asking again.
    /// In a longer queue only the predecessor is watched: nobody is woken for every hand-over.
    pub near: usize,
    /// How many watches without a follower are kept open.
    pub idle_watches: usize,
    /// The first pause between attempts to reach a server again. Each is longer than the one before.
    pub shortest_pause: Duration,
    /// The longest of them.
    pub longest_pause: Duration,
}

impl Tuning {
    /// What a queue ships with.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            silence: Duration::from_secs(15),
            linger: Duration::from_secs(30),
            request_timeout: Duration::from_secs(10),
            near: 4,
            idle_watches: 64,
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
