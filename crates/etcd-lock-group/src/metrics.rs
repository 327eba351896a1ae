//! The timers, for recorders of the `metrics` crate. Without the feature `metrics` none of this does anything. Names and
//! units are in the facade's page on observability.

#![cfg_attr(
    not(feature = "metrics"),
    allow(
        unused_variables,
        clippy::missing_const_for_fn,
        reason = "nothing is recorded"
    )
)]

use std::time::Duration;

/// Says what the names mean, to the recorder that is installed now.
pub(crate) fn describe() {
    #[cfg(feature = "metrics")]
    {
        use metrics::{Unit, describe_histogram};
        describe_histogram!(
            "lock.group.wait.duration",
            Unit::Seconds,
            "From the arrival of a transaction that found no free slot to its sending"
        );
        describe_histogram!(
            "lock.group.size",
            Unit::Count,
            "Transactions that were sent in one request"
        );
    }
}

pub(crate) fn waited(how_long: Duration) {
    #[cfg(feature = "metrics")]
    metrics::histogram!("lock.group.wait.duration").record(how_long);
}

pub(crate) fn sent_together(members: usize) {
    #[cfg(feature = "metrics")]
    metrics::histogram!("lock.group.size").record(members as f64);
}
