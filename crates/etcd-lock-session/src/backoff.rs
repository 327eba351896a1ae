//! The pauses between attempts to reach a server again.

use std::time::Duration;

use backon::{BackoffBuilder, ExponentialBackoff, ExponentialBuilder};

use crate::metrics;
use crate::tuning::Tuning;

/// Grows from the shortest pause to the longest, without end. Jitter keeps the clients of a restarted server from coming back all at once.
#[derive(Debug)]
pub(crate) struct Backoff {
    pauses: ExponentialBackoff,
    longest: Duration,
}

impl Backoff {
    pub(crate) fn new() -> Self {
        Self::with(&Tuning::new())
    }

    pub(crate) fn with(tuning: &Tuning) -> Self {
        let longest = tuning.longest_pause;
        let pauses = ExponentialBuilder::default()
            .with_min_delay(tuning.shortest_pause)
            .with_max_delay(longest)
            .with_jitter()
            .without_max_times();
        Self {
            pauses: pauses.build(),
            longest,
        }
    }

    /// The next pause.
    pub(crate) fn next(&mut self) -> Duration {
        metrics::retried();
        self.pauses.next().unwrap_or(self.longest)
    }

    /// Waits for the next pause to pass.
    pub(crate) async fn pause(&mut self) {
        tokio::time::sleep(self.next()).await;
    }
}
