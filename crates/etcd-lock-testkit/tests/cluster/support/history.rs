//! The holds that callers believed in, and when: no two at once, and later with a greater token.

use std::sync::{Arc, Mutex, PoisonError};

use etcd_lock_core::{FencingToken, Result};
use etcd_lock_session::LockGuard;
use tokio::time::Instant;

/// The holds of one lock, in the clock of this process. Clones are one history.
#[derive(Clone, Debug, Default)]
pub(crate) struct History(Arc<Mutex<Vec<Hold>>>);

#[derive(Clone, Copy, Debug)]
struct Hold {
    token: FencingToken,
    began: Instant,
    /// When it was over for the caller: before the release was sent, or when the loss was seen.
    ended: Option<Instant>,
}

/// A guard whose hold is in a history.
pub(crate) struct Recorded {
    pub(crate) guard: LockGuard,
    history: History,
    number: usize,
}

impl History {
    /// Notes a grant.
    pub(crate) fn granted(&self, guard: LockGuard) -> Recorded {
        let mut holds = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        holds.push(Hold {
            token: guard.token(),
            began: Instant::now(),
            ended: None,
        });
        Recorded {
            guard,
            history: self.clone(),
            number: holds.len() - 1,
        }
    }

    /// How many holds there were.
    pub(crate) fn len(&self) -> usize {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).len()
    }

    /// Panics when two believed to hold the lock at once, or a later one had no greater token.
    pub(crate) fn check(&self) {
        let holds = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let violations = violations(&holds);
        assert!(violations.is_empty(), "{violations:#?}");
    }

    fn end(&self, number: usize) {
        let mut holds = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        holds[number].ended = Some(Instant::now());
    }
}

impl Recorded {
    /// Releases the lock.
    pub(crate) async fn unlock(self) -> Result<()> {
        self.history.end(self.number);
        self.guard.unlock().await
    }

    /// Notes that the guard says that it is lost, and lets it go.
    pub(crate) fn lost(self) {
        assert!(!self.guard.is_held());
        self.history.end(self.number);
    }
}

/// Each pair of holds that is wrong, in the order of grants.
fn violations(holds: &[Hold]) -> Vec<(Hold, Hold)> {
    let mut holds = holds.to_vec();
    holds.sort_by_key(|hold| hold.began);
    let pairs = holds.windows(2).map(|pair| (pair[0], pair[1]));
    pairs
        .filter(|(earlier, later)| {
            let overlap = earlier.ended.is_none_or(|ended| ended > later.began);
            overlap || earlier.token >= later.token
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use etcd_lock_core::Revision;

    use super::*;

    fn hold(revision: i64, began: u64, ended: Option<u64>, start: Instant) -> Hold {
        let at = |ms| start + Duration::from_millis(ms);
        Hold {
            token: FencingToken::new(Revision::new(revision).unwrap(), 0),
            began: at(began),
            ended: ended.map(at),
        }
    }

    #[test]
    fn holds_one_after_the_other_with_growing_tokens_are_right() {
        let now = Instant::now();
        let holds = [hold(2, 0, Some(5), now), hold(3, 5, None, now)];
        assert!(violations(&holds).is_empty());
    }

    #[test]
    fn holds_at_the_same_time_are_wrong() {
        let now = Instant::now();
        let overlapping = [hold(2, 0, Some(6), now), hold(3, 5, Some(7), now)];
        assert_eq!(violations(&overlapping).len(), 1);
        let unended = [hold(2, 0, None, now), hold(3, 5, Some(7), now)];
        assert_eq!(violations(&unended).len(), 1);
    }

    #[test]
    fn tokens_that_do_not_grow_are_wrong() {
        let now = Instant::now();
        for later in [2, 1] {
            let holds = [hold(2, 0, Some(1), now), hold(later, 5, Some(6), now)];
            assert_eq!(violations(&holds).len(), 1);
        }
    }
}
