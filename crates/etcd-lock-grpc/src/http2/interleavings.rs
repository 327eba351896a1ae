//! Callers that send while the connection's task runs: loom tries all ways in which their steps can follow each other.

use std::future::poll_fn;
use std::mem;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};

use loom::sync::Mutex;
use loom::thread;

use self::driver::Driver;

#[path = "driver.rs"]
#[allow(
    clippy::duplicate_mod,
    reason = "this one is built over loom's atomics"
)]
mod driver;

mod sync {
    pub(super) use loom::sync::atomic::{AtomicBool, AtomicUsize};
    pub(super) use loom::sync::{Mutex, MutexGuard};
}

/// The requests of a connection, as `h2` has them: a request that is queued wakes the waker of the last poll, once.
struct Requests(Mutex<(usize, Option<Waker>)>);

impl Requests {
    fn queue(&self) {
        let mut requests = self.0.lock().unwrap();
        requests.0 += 1;
        let waker = requests.1.take();
        drop(requests);
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    /// Sends all that are queued. As in `h2`, a poll isn't over when it has looked: it looks again, so that loom also tries what
    /// a caller does in between.
    fn poll(&self, cx: &mut Context<'_>) -> Poll<Result<(), h2::Error>> {
        *self.0.lock().unwrap() = (0, Some(cx.waker().clone()));
        drop(self.0.lock().unwrap());
        Poll::Pending
    }
}

/// Whether the task of the connection is to be polled.
struct Woken(Mutex<bool>);

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        *self.0.lock().unwrap() = true;
    }
}

#[test]
fn request_that_a_caller_queues_is_sent() {
    loom::model(|| queue(1));
}

/// All ways would take hours; those in which a thread is interrupted three times find what all do, as a rule.
#[test]
fn requests_that_two_callers_queue_are_all_sent() {
    let mut model = loom::model::Builder::new();
    model.preemption_bound = Some(3);
    model.check(|| queue(2));
}

/// So many callers queue a request each.
fn queue(callers: usize) {
    let requests = Arc::new(Requests(Mutex::new((0, None))));
    let polled = requests.clone();
    let driver = Driver::new(Box::pin(poll_fn(move |cx| polled.poll(cx))));
    let driver = Arc::new(driver);
    let woken = Arc::new(Woken(Mutex::new(true)));
    let task = Waker::from(woken.clone());
    let is_woken = || mem::take(&mut *woken.0.lock().unwrap());
    let poll_while_woken = || {
        while is_woken() {
            assert!(driver.poll(&mut Context::from_waker(&task)).is_pending());
        }
    };
    let callers = (0..callers).map(|_| {
        let (driver, requests) = (driver.clone(), requests.clone());
        thread::spawn(move || {
            let _sending = driver.sending();
            requests.queue();
        })
    });
    let callers: Vec<_> = callers.collect();
    poll_while_woken();
    for caller in callers {
        caller.join().unwrap();
    }
    poll_while_woken();
    driver.close();
    assert_eq!(requests.0.lock().unwrap().0, 0);
}
