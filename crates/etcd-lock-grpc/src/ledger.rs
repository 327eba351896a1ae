//! The requests that an endpoint hasn't answered, and when it last gave a sign of life.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// The questions to one endpoint.
#[derive(Debug)]
pub(crate) struct Ledger {
    began: Instant,
    /// When something came from the endpoint, in microseconds since the beginning.
    heard: AtomicU64,
    open: Mutex<Open>,
}

#[derive(Debug, Default)]
struct Open {
    last: u64,
    /// When each unanswered question was asked; the first is the oldest.
    asked: BTreeMap<u64, Instant>,
    /// When the oldest of the questions was asked whose callers left before the answer was overdue.
    doubt: Option<Instant>,
    /// How many calls and streams wait for something that may take any time.
    waits: usize,
}

impl Ledger {
    pub(crate) fn new() -> Self {
        Self {
            began: Instant::now(),
            heard: AtomicU64::new(0),
            open: Mutex::default(),
        }
    }

    /// Notes a question. Returns its number.
    pub(crate) fn ask(&self, asked: Instant) -> u64 {
        let mut open = self.open();
        open.last += 1;
        let number = open.last;
        open.asked.insert(number, asked);
        number
    }

    /// Notes that a question is answered, or that nobody waits for the answer any more. Returns whether it was still open.
    pub(crate) fn close(&self, number: u64) -> bool {
        self.open().asked.remove(&number).is_some()
    }

    /// Notes a question that its caller left unanswered.
    pub(crate) fn doubt(&self, asked: Instant) {
        let mut open = self.open();
        open.doubt = Some(open.doubt.map_or(asked, |earlier| earlier.min(asked)));
    }

    /// The request left unanswered, unless the endpoint has given a sign of life since.
    pub(crate) fn take_doubt(&self) -> Option<Instant> {
        let doubt = self.open().doubt.take()?;
        (self.heard() < doubt).then_some(doubt)
    }

    /// Removes the questions that were asked so long ago. Returns when the oldest was.
    pub(crate) fn take_overdue(&self, now: Instant, bound: Duration) -> Option<Instant> {
        let mut open = self.open();
        let (_, &oldest) = open.asked.first_key_value()?;
        if now < oldest + bound {
            return None;
        }
        open.asked.retain(|_, asked| now < *asked + bound);
        Some(oldest)
    }

    /// When the oldest question was asked.
    pub(crate) fn oldest(&self) -> Option<Instant> {
        self.open().asked.first_key_value().map(|(_, &asked)| asked)
    }

    pub(crate) fn begin_wait(&self) {
        self.open().waits += 1;
    }

    pub(crate) fn end_wait(&self) {
        self.open().waits -= 1;
    }

    pub(crate) fn is_waited_on(&self) -> bool {
        self.open().waits > 0
    }

    /// How many questions are unanswered and waits under way.
    pub(crate) fn under_way(&self) -> usize {
        let open = self.open();
        open.asked.len() + open.waits
    }

    /// Notes a sign of life.
    pub(crate) fn hear(&self, now: Instant) {
        self.heard.store(self.micros(now), Relaxed);
    }

    /// When the endpoint last gave a sign of life, or when this began.
    pub(crate) fn heard(&self) -> Instant {
        self.began + Duration::from_micros(self.heard.load(Relaxed))
    }

    /// Stops the watch over the endpoint if there is nothing to watch over. In one step, so that a question that is asked
    /// meanwhile either keeps it going or finds it stopped.
    pub(crate) fn stop_if_idle(&self, stop: impl FnOnce()) -> bool {
        let open = self.open();
        let idle = open.asked.is_empty() && open.waits == 0 && open.doubt.is_none();
        if idle {
            stop();
        }
        idle
    }

    /// Microseconds since the beginning.
    pub(crate) fn micros(&self, at: Instant) -> u64 {
        let since = at.saturating_duration_since(self.began).as_micros();
        u64::try_from(since).unwrap_or(u64::MAX)
    }

    fn open(&self) -> MutexGuard<'_, Open> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
