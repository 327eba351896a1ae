//! How many requests are on their way at once.
//!
//! The best number depends on etcd: while it is busy, each further request takes its processor from the others, and few
//! requests with many transactions are faster; while a request mostly waits, for a disk or for a far member, transactions that
//! wait for a slot lose time. So the number is found by trial. While transactions wait for slots, the mean time from the
//! arrival of a transaction to its answer is measured over [`EPOCH`] of them. Now and then the next greater or smaller number is
//! tried for one such measurement, and kept if the mean is better by a twentieth. Each trial that fails makes the next one rarer,
//! up to one in 64 measurements.
//!
//! A request that takes longer than four mean deviations above the mean, and than one and a half times the mean, gives its slot
//! up: its outcome may take until its deadline, and other transactions need not wait for that.

use std::time::Duration;

use tokio::time::Instant;

/// How many transactions are measured before the number of slots may change.
const EPOCH: u32 = 256;

/// The numbers of slots that are tried.
const STEPS: [usize; 6] = [1, 2, 4, 8, 16, 32];
/// Where the trials begin.
pub(crate) const FIRST: usize = 2;
/// The least patience with a request, so that an answer is not called late for a pause of the scheduler.
const LEAST_PATIENCE: Duration = Duration::from_millis(20);
/// The patience before any request was answered.
const FIRST_PATIENCE: Duration = Duration::from_millis(500);
/// A trial is kept that is better by this.
const GAIN: f64 = 0.95;
/// How many measurements there are between two trials, at the most.
const MOST_RESTS: u32 = 64;

/// The slots of one transport.
#[derive(Debug)]
pub(crate) struct Slots {
    step: usize,
    busy: Vec<(u64, Instant)>,
    last: u64,
    pace: Pace,
    epoch: Option<Epoch>,
    trials: Trials,
}

/// A request's place among the slots.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Slot(u64);

impl Slots {
    /// As many slots as that at first, or the next smaller number that is tried.
    pub(crate) fn new(first: usize) -> Self {
        Self {
            step: STEPS
                .partition_point(|slots| *slots <= first)
                .saturating_sub(1),
            busy: Vec::new(),
            last: 0,
            pace: Pace::default(),
            epoch: None,
            trials: Trials::default(),
        }
    }

    /// Whether nothing is on its way.
    pub(crate) const fn are_idle(&self) -> bool {
        self.busy.is_empty()
    }

    /// Whether another request may be sent.
    pub(crate) fn are_free(&self) -> bool {
        self.busy.len() < STEPS[self.step]
    }

    pub(crate) fn take(&mut self, now: Instant) -> Option<Slot> {
        if !self.are_free() {
            return None;
        }
        self.last += 1;
        self.busy.push((self.last, now));
        Some(Slot(self.last))
    }

    /// Ends a request, which began at `begun`, whether its slot was given up or not.
    pub(crate) fn end(&mut self, Slot(slot): Slot, begun: Instant, now: Instant) {
        self.busy.retain(|(busy, _)| *busy != slot);
        self.pace.record(now - begun);
    }

    /// Gives up the slots of the requests that take longer than usual.
    pub(crate) fn give_up_overdue(&mut self, now: Instant) {
        let patience = self.patience();
        self.busy.retain(|(_, begun)| now - *begun < patience);
    }

    /// How long a request may keep its slot.
    pub(crate) fn patience(&self) -> Duration {
        self.pace.patience()
    }

    /// Counts a transaction that had to wait for a slot and was answered.
    pub(crate) fn answered(&mut self, arrived: Instant, now: Instant) {
        let epoch = self.epoch.get_or_insert_with(|| Epoch::new(arrived));
        if let Some(mean) = epoch.record(arrived, now) {
            self.step = self.trials.next(self.step, mean);
            self.epoch = Some(Epoch::new(now));
        }
    }
}

/// How long requests take: a moving mean, and the moving mean of the deviation from it.
#[derive(Debug, Default)]
struct Pace(Option<(Duration, Duration)>);

impl Pace {
    fn record(&mut self, took: Duration) {
        self.0 = Some(match self.0 {
            None => (took, took / 2),
            Some((mean, deviation)) => {
                let off = mean.abs_diff(took);
                ((mean * 7 + took) / 8, (deviation * 3 + off) / 4)
            }
        });
    }

    fn patience(&self) -> Duration {
        let usual = |(mean, deviation): (Duration, Duration)| mean + (deviation * 4).max(mean / 2);
        self.0.map_or(FIRST_PATIENCE, usual).max(LEAST_PATIENCE)
    }
}

/// The mean of a number of transactions that arrived after its begin.
#[derive(Debug)]
struct Epoch {
    begun: Instant,
    count: u32,
    sum: Duration,
}

impl Epoch {
    const fn new(begun: Instant) -> Self {
        Self {
            begun,
            count: 0,
            sum: Duration::ZERO,
        }
    }

    fn record(&mut self, arrived: Instant, now: Instant) -> Option<Duration> {
        // Those that arrived earlier waited for slots under another number.
        if arrived >= self.begun {
            self.count += 1;
            self.sum += now - arrived;
        }
        (self.count >= EPOCH).then(|| self.sum / self.count)
    }
}

/// When to try which number.
#[derive(Debug)]
struct Trials {
    /// The step before the trial under way, and the mean then.
    trial: Option<(usize, Duration)>,
    is_upward: bool,
    rests: u32,
    rests_left: u32,
}

impl Trials {
    /// The step for the next measurement, after one with `step` gave this mean.
    fn next(&mut self, step: usize, mean: Duration) -> usize {
        let Some((before, mean_before)) = self.trial.take() else {
            if self.rests_left > 0 {
                self.rests_left -= 1;
                return step;
            }
            return self.begin(step, mean);
        };
        if mean.as_secs_f64() < mean_before.as_secs_f64() * GAIN {
            self.rests = 1;
            return self.begin(step, mean);
        }
        self.is_upward = !self.is_upward;
        self.rests = (self.rests * 2).min(MOST_RESTS);
        self.rests_left = self.rests;
        before
    }

    fn begin(&mut self, step: usize, mean: Duration) -> usize {
        if step == 0 {
            self.is_upward = true;
        } else if step == STEPS.len() - 1 {
            self.is_upward = false;
        }
        self.trial = Some((step, mean));
        if self.is_upward { step + 1 } else { step - 1 }
    }
}

impl Default for Trials {
    fn default() -> Self {
        Self {
            trial: None,
            is_upward: true,
            rests: 1,
            rests_left: 1,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Feeds measurements whose mean follows from the number of slots, and gives the share of them with each step.
    fn settle(mean: impl Fn(usize) -> u64) -> [u32; STEPS.len()] {
        let mut trials = Trials::default();
        let mut step = 1;
        let mut seen = [0; STEPS.len()];
        for _ in 0..2000 {
            seen[step] += 1;
            step = trials.next(step, Duration::from_micros(mean(STEPS[step])));
        }
        seen
    }

    #[test]
    fn a_busy_server_gets_few_requests() {
        let seen = settle(|slots| 1000 + 200 * slots as u64);
        assert!(seen[0] > 1800, "{seen:?}");
    }

    #[test]
    fn a_slow_disk_gets_many_requests() {
        let seen = settle(|slots| 20_000 + 20_000 / slots as u64);
        assert!(seen[3..].iter().sum::<u32>() > 1800, "{seen:?}");
    }

    #[test]
    fn a_server_without_preference_is_left_alone() {
        let seen = settle(|_| 1000);
        assert!(seen[1] > 1800, "{seen:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_request_that_takes_long_gives_its_slot_up() {
        let mut slots = Slots::new(FIRST);
        let begun = Instant::now();
        let taken: Vec<_> = std::iter::from_fn(|| slots.take(begun)).collect();
        assert_eq!(taken.len(), FIRST);
        tokio::time::advance(slots.patience()).await;
        slots.give_up_overdue(Instant::now());
        assert!(slots.take(Instant::now()).is_some());

        // Its end frees no second one.
        let free = |slots: &Slots| STEPS[slots.step] - slots.busy.len();
        let before = free(&slots);
        slots.end(taken[0], begun, Instant::now());
        assert_eq!(free(&slots), before);
    }

    #[test]
    fn patience_is_above_the_usual_time() {
        let mut pace = Pace::default();
        for _ in 0..100 {
            pace.record(Duration::from_millis(50));
        }
        assert!(pace.patience() > Duration::from_millis(50));
        assert!(pace.patience() < Duration::from_millis(80));
    }
}
