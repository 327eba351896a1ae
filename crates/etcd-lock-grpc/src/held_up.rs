//! Bounds in a runtime that may be held up.

use std::time::Duration;

use tokio::time::{Instant, sleep};

/// After its runtime was held up for so long, a task lets the answers be read that came meanwhile, before it takes an endpoint
/// for silent.
const HELD_UP: Duration = Duration::from_millis(250);

/// Called when a bound has passed: returns at once, or after what came in time has been read where nothing could read it.
pub(crate) async fn catch_up(mut bound: Instant) {
    while Instant::now() > bound + HELD_UP {
        bound = Instant::now() + HELD_UP;
        sleep(HELD_UP).await;
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::advance;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_task_that_is_in_time_goes_on_at_once_and_one_that_was_held_up_does_not() {
        let bound = Instant::now();
        advance(HELD_UP).await;
        catch_up(bound).await;
        assert_eq!(bound.elapsed(), HELD_UP);
        advance(Duration::from_millis(1)).await;
        catch_up(bound).await;
        assert!(bound.elapsed() > 2 * HELD_UP);
    }
}
