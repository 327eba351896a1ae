//! Time as a client counts it: it never goes back, and it goes on while the computer sleeps.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use etcd_lock_core::{Error, ErrorKind, Result};
use etcd_lock_queue::Stamp;
use tokio::time::Instant;

/// A timer may stand still while the system is suspended, so no sleep towards a deadline is longer than this.
const LONGEST_SLEEP: Duration = Duration::from_secs(1);

/// The stamp of the instant at which a clock was made. Earlier instants have lower ones.
const START: u64 = 1 << 50;

/// The services of the operating system that a client uses. A simulation has one of its own.
#[doc(hidden)]
pub trait System: fmt::Debug + Send + Sync {
    /// How long the system has been suspended: of two answers, only the difference counts.
    fn suspended(&self) -> Duration;

    /// Eight random bytes.
    ///
    /// # Errors
    /// When the system has none.
    fn random(&self) -> Result<u64>;
}

/// The operating system that this process runs on.
#[derive(Debug)]
pub(crate) struct OperatingSystem;

impl System for OperatingSystem {
    /// Linux counts suspended time in one of its clocks and leaves it out of another. Elsewhere it can't be known.
    #[cfg(any(target_os = "linux", target_os = "android"))]
    fn suspended(&self) -> Duration {
        use nix::time::{ClockId, clock_gettime};
        let shown = |clock| clock_gettime(clock).map_or(Duration::ZERO, Duration::from);
        shown(ClockId::CLOCK_BOOTTIME).saturating_sub(shown(ClockId::CLOCK_MONOTONIC))
    }

    #[cfg(not(any(target_os = "linux", target_os = "android")))]
    fn suspended(&self) -> Duration {
        Duration::ZERO
    }

    fn random(&self) -> Result<u64> {
        getrandom::u64().map_err(|error| {
            let text = "the operating system has no random numbers";
            Error::new(ErrorKind::Unavailable, text).with_source(error)
        })
    }
}

/// A clock that counts suspended time.
#[derive(Clone, Debug)]
pub(crate) struct Clock {
    started: Instant,
    suspended_before: Duration,
    system: Arc<dyn System>,
}

impl Clock {
    pub(crate) fn new(system: Arc<dyn System>) -> Self {
        Self {
            started: Instant::now(),
            suspended_before: system.suspended(),
            system,
        }
    }

    pub(crate) fn now(&self) -> Stamp {
        let now = Instant::now();
        let suspended = self
            .system
            .suspended()
            .saturating_sub(self.suspended_before);
        let before = self.started.saturating_duration_since(now);
        let since = now.saturating_duration_since(self.started) + suspended;
        Stamp((START + nanos(since)).saturating_sub(nanos(before)))
    }

    pub(crate) fn random(&self) -> Result<u64> {
        self.system.random()
    }

    pub(crate) async fn sleep_until(&self, at: Stamp) {
        loop {
            let left = until(at, self.now());
            if left.is_zero() {
                return;
            }
            tokio::time::sleep(left.min(LONGEST_SLEEP)).await;
        }
    }
}

/// So much later.
pub(crate) fn after(stamp: Stamp, time: Duration) -> Stamp {
    Stamp(stamp.0.saturating_add(nanos(time)))
}

/// How long it is from one stamp to a later one.
pub(crate) const fn until(later: Stamp, now: Stamp) -> Duration {
    Duration::from_nanos(later.0.saturating_sub(now.0))
}

fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX / 2)
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU64, Ordering::SeqCst};

    use super::*;

    #[derive(Debug, Default)]
    struct Laptop(AtomicU64);

    impl System for Laptop {
        fn suspended(&self) -> Duration {
            Duration::from_secs(self.0.load(SeqCst))
        }

        fn random(&self) -> Result<u64> {
            Ok(4)
        }
    }

    #[tokio::test(start_paused = true)]
    async fn suspended_time_counts() {
        let laptop = Arc::new(Laptop::default());
        let clock = Clock::new(laptop.clone());
        let begun = clock.now();
        tokio::time::advance(Duration::from_secs(2)).await;
        laptop.0.store(60, SeqCst);
        assert_eq!(until(clock.now(), begun), Duration::from_secs(62));
    }

    #[tokio::test(start_paused = true)]
    async fn a_sleep_that_the_system_slept_through_ends_soon() {
        let laptop = Arc::new(Laptop::default());
        let clock = Clock::new(laptop.clone());
        laptop.0.store(59, SeqCst);
        let begun = Instant::now();
        clock
            .sleep_until(after(clock.now(), Duration::from_secs(1)))
            .await;
        let woken = after(clock.now(), Duration::from_secs(60));
        let (sleep, suspend) = (clock.sleep_until(woken), async {
            tokio::time::sleep(Duration::from_millis(500)).await;
            laptop.0.store(59 + 60, SeqCst);
        });
        tokio::join!(sleep, suspend);
        assert!(begun.elapsed() <= Duration::from_secs(3));
    }
}
