//! The pauses between attempts to reach a server again.

use std::time::Duration;

use backon::{BackoffBuilder, ExponentialBackoff, ExponentialBuilder};

use crate::metrics;

/// Grows from 20 ms to 2 s, without end. Jitter keeps the clients of a restarted server from coming back all at once.
#[derive(Debug)]
pub(crate) struct Backoff(ExponentialBackoff);

impl Backoff {
    pub(crate) fn new() -> Self {
        let pauses = ExponentialBuilder::default()
            .with_min_delay(Duration::from_millis(20))
            .with_max_delay(Duration::from_secs(2))
            .with_jitter()
            .without_max_times();
        Self(pauses.build())
    }

    /// Waits for the next pause to pass.
    pub(crate) async fn pause(&mut self) {
        let pause = self.0.next().unwrap_or(Duration::from_secs(2));
        metrics::retried();
        tokio::time::sleep(pause).await;
    }
}
