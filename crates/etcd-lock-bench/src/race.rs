//! Contenders that do the same over and over, and how often they manage to in a while.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::time::Duration;

use tokio::time::{Instant, sleep, timeout};

use crate::etcd::Etcd;
use crate::usage::micros;

/// How long it may take until every contender was granted the lock once.
pub(crate) const WARM_UP: Duration = Duration::from_secs(60);

/// The extent to which contenders share a client.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Share {
    /// Nothing: each has a client of its own.
    Nothing,
    /// One client, and each has a session of its own.
    Client,
}

impl Share {
    /// The noun for the part that each contender has to itself.
    pub(crate) const fn noun(self) -> &'static str {
        match self {
            Self::Nothing => "clients",
            Self::Client => "sessions",
        }
    }
}

/// How a race went.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Outcome {
    /// Grants a second.
    pub(crate) rate: f64,
    /// Processor time of etcd for one grant, in microseconds.
    pub(crate) etcds_time: f64,
}

/// A count that grows with every grant, and a sign to stop.
#[derive(Clone, Default)]
pub(crate) struct Race {
    grants: Arc<AtomicU64>,
    over: Arc<AtomicBool>,
    /// How many contenders were granted the lock at least once.
    warm: Arc<AtomicUsize>,
}

/// One contender's part in a race.
pub(crate) struct Part {
    race: Race,
    is_warm: bool,
}

impl Part {
    pub(crate) fn granted(&mut self) {
        self.race.grants.fetch_add(1, Relaxed);
        if !self.is_warm {
            self.is_warm = true;
            self.race.warm.fetch_add(1, Relaxed);
        }
    }

    pub(crate) fn is_over(&self) -> bool {
        self.race.over.load(Relaxed)
    }
}

impl Race {
    pub(crate) fn part(&self) -> Part {
        Part {
            race: self.clone(),
            is_warm: false,
        }
    }

    /// How many grants there were so far.
    pub(crate) fn grants(&self) -> u64 {
        self.grants.load(Relaxed)
    }

    /// Asks the contenders to stop.
    pub(crate) fn stop(&self) {
        self.over.store(true, Relaxed);
    }

    /// Counts for a while, once all contenders have been granted the lock: then they all are in its queue.
    pub(crate) async fn count(&self, contenders: usize, etcd: &Etcd, window: Duration) -> Outcome {
        let warm = async {
            while self.warm.load(Relaxed) < contenders {
                sleep(Duration::from_millis(5)).await;
            }
        };
        timeout(WARM_UP, warm)
            .await
            .expect("not all contenders were granted the lock");
        let (begun, before) = (Instant::now(), self.grants());
        let etcds = etcd.processor();
        sleep(window).await;
        let grants = (self.grants() - before) as f64;
        let outcome = Outcome {
            rate: grants / begun.elapsed().as_secs_f64(),
            etcds_time: micros(etcd.processor() - etcds) / grants,
        };
        self.stop();
        outcome
    }
}
