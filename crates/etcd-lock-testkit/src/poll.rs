//! Giving a future up after a number of polls.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::task::Poll;

/// Polls `future` at most so many times, and drops it if it isn't done then: `None`.
///
/// A future is dropped at an await point in real programs by `select!`, timeouts and aborted tasks. Counting polls
/// reaches each of these points in turn.
pub async fn at_most<F: Future>(future: F, polls: usize) -> Option<F::Output> {
    let mut future = pin!(future);
    let mut left = polls;
    poll_fn(|cx| {
        if left == 0 {
            return Poll::Ready(None);
        }
        left -= 1;
        match future.as_mut().poll(cx) {
            Poll::Ready(output) => Poll::Ready(Some(output)),
            Poll::Pending if left == 0 => Poll::Ready(None),
            Poll::Pending => Poll::Pending,
        }
    })
    .await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_future_gets_as_many_polls_as_it_is_allowed() {
        let yields_twice = || async {
            tokio::task::yield_now().await;
            tokio::task::yield_now().await;
        };
        assert_eq!(at_most(yields_twice(), 0).await, None);
        assert_eq!(at_most(yields_twice(), 2).await, None);
        assert_eq!(at_most(yields_twice(), 3).await, Some(()));
    }
}
