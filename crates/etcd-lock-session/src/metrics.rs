//! The counters and timers, for recorders of the `metrics` crate. Without the feature `metrics` none of this does
//! anything. Names and units are in the facade's page on observability.

#![cfg_attr(
    not(feature = "metrics"),
    allow(
        unused_mut,
        unused_variables,
        clippy::missing_const_for_fn,
        reason = "nothing is recorded"
    )
)]

use std::time::Duration;

use etcd_lock_core::{Error, Result};
#[cfg(feature = "metrics")]
use metrics::{
    Unit, counter, describe_counter, describe_gauge, describe_histogram, gauge, histogram,
};
#[cfg(feature = "metrics")]
use tokio::time::Instant;

/// Says what the names mean, to the recorder that is installed now.
pub(crate) fn describe() {
    #[cfg(feature = "metrics")]
    {
        use Unit::{Count, Seconds};
        describe_histogram!(
            "lock.wait.duration",
            Seconds,
            "From asking for a lock to the end of the wait"
        );
        describe_gauge!(
            "lock.waiters",
            Count,
            "Tasks of this process that wait for a lock"
        );
        describe_histogram!(
            "lock.queue.length",
            Count,
            "Entries of a lock's queue when one was added, itself included"
        );
        describe_counter!(
            "lock.handovers",
            Count,
            "Locks that were handed over between tasks of one session"
        );
        describe_histogram!(
            "lock.hold.duration",
            Seconds,
            "From the grant of a lock to its release"
        );
        describe_counter!(
            "lock.sessions.lost",
            Count,
            "Sessions that could not be kept alive"
        );
        describe_histogram!(
            "lock.keep_alive.duration",
            Seconds,
            "From sending a keep-alive to its answer"
        );
        describe_counter!(
            "lock.retries",
            Count,
            "Requests of waits, releases and withdrawals that were made again"
        );
    }
}

/// A task that waits for a lock.
#[derive(Debug)]
pub(crate) struct Wait {
    #[cfg(feature = "metrics")]
    begun: Instant,
    #[cfg(feature = "metrics")]
    outcome: &'static str,
}

impl Wait {
    pub(crate) fn begin() -> Self {
        #[cfg(feature = "metrics")]
        gauge!("lock.waiters").increment(1);
        Self {
            #[cfg(feature = "metrics")]
            begun: Instant::now(),
            #[cfg(feature = "metrics")]
            outcome: "dropped",
        }
    }

    pub(crate) fn end<T>(mut self, result: &Result<T>) {
        #[cfg(feature = "metrics")]
        {
            self.outcome = match result {
                Ok(_) => "granted",
                Err(error) => error.kind().as_str(),
            };
        }
        drop(self);
    }
}

impl Drop for Wait {
    fn drop(&mut self) {
        #[cfg(feature = "metrics")]
        {
            gauge!("lock.waiters").decrement(1);
            histogram!("lock.wait.duration", "outcome" => self.outcome)
                .record(self.begun.elapsed());
        }
    }
}

/// A lock that is held, until this is dropped.
#[derive(Debug)]
pub(crate) struct Hold {
    #[cfg(feature = "metrics")]
    begun: Instant,
}

impl Hold {
    pub(crate) fn begin() -> Self {
        Self {
            #[cfg(feature = "metrics")]
            begun: Instant::now(),
        }
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        #[cfg(feature = "metrics")]
        histogram!("lock.hold.duration").record(self.begun.elapsed());
    }
}

pub(crate) fn entered_queue(length: usize) {
    #[cfg(feature = "metrics")]
    histogram!("lock.queue.length").record(length as f64);
}

pub(crate) fn handed_over() {
    #[cfg(feature = "metrics")]
    counter!("lock.handovers").increment(1);
}

pub(crate) fn session_lost(why: &Error) {
    #[cfg(feature = "metrics")]
    counter!("lock.sessions.lost", "reason" => why.kind().as_str()).increment(1);
}

pub(crate) fn kept_alive(took: Duration) {
    #[cfg(feature = "metrics")]
    histogram!("lock.keep_alive.duration").record(took);
}

pub(crate) fn retried() {
    #[cfg(feature = "metrics")]
    counter!("lock.retries").increment(1);
}
