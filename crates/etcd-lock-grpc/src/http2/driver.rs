//! What drives a connection: a task of its own, and for a moment each caller that sends.
//!
//! `h2` wakes the connection's task as soon as a head is queued. On a thread that was idle, that task would write the head
//! before the message is there, and be woken again for the message: two threads and two writes for a request of one packet. So
//! the task isn't woken while a caller queues a request, and the caller then drives the connection once itself.

use std::mem;
use std::pin::Pin;
use std::sync::atomic::Ordering::SeqCst;
use std::sync::{Arc, PoisonError, TryLockError};
use std::task::{Context, Poll, Wake, Waker};

use futures_util::task::AtomicWaker;

use super::sync::{AtomicBool, AtomicUsize, Mutex, MutexGuard};

type Connection = Pin<Box<dyn Future<Output = Result<(), h2::Error>> + Send>>;

/// A connection that its task and its callers drive.
pub(super) struct Driver {
    state: Mutex<State>,
    wakes: Arc<Wakes>,
}

enum State {
    Open(Connection),
    /// Until the task takes the reason.
    Ended(Result<(), h2::Error>),
    Gone,
}

impl Driver {
    pub(super) fn new(connection: Connection) -> Self {
        Self {
            state: Mutex::new(State::Open(connection)),
            wakes: Arc::new(Wakes {
                task: AtomicWaker::new(),
                senders: AtomicUsize::new(0),
                is_due: AtomicBool::new(false),
            }),
        }
    }

    /// Drives the connection in its task. It is ready when the connection has ended.
    pub(super) fn poll(&self, cx: &mut Context<'_>) -> Poll<Result<(), h2::Error>> {
        self.wakes.task.register(cx.waker());
        let driven = self.drive().or_else(|| {
            self.wakes.is_due.swap(true, SeqCst);
            self.drive()
        });
        // If a caller was at it even after the mark was set, it will see the mark.
        let Some(mut state) = driven else {
            return Poll::Pending;
        };
        match mem::replace(&mut *state, State::Gone) {
            State::Ended(end) => Poll::Ready(end),
            open => {
                *state = open;
                Poll::Pending
            }
        }
    }

    /// Holds back wakes of the task until the guard is dropped, which sends what was queued meanwhile.
    pub(super) fn sending(&self) -> Sending<'_> {
        self.wakes.senders.fetch_add(1, SeqCst);
        Sending(self)
    }

    /// Closes the connection, where it hasn't ended by itself.
    pub(super) fn close(&self) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let closed = mem::replace(&mut *state, State::Gone);
        drop(state);
        drop(closed);
    }

    /// Does what can be done now, unless another thread is at it.
    fn drive(&self) -> Option<MutexGuard<'_, State>> {
        let mut state = match self.state.try_lock() {
            Ok(state) => state,
            Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
            Err(TryLockError::WouldBlock) => return None,
        };
        if let State::Open(connection) = &mut *state {
            // What it was woken for until now is done here.
            self.wakes.is_due.swap(false, SeqCst);
            let waker = Waker::from(self.wakes.clone());
            let mut cx = Context::from_waker(&waker);
            if let Poll::Ready(end) = connection.as_mut().poll(&mut cx) {
                *state = State::Ended(end);
                self.wakes.is_due.swap(true, SeqCst);
            }
        }
        Some(state)
    }
}

/// A caller that queues a request.
pub(super) struct Sending<'a>(&'a Driver);

impl Drop for Sending<'_> {
    fn drop(&mut self) {
        let Self(driver) = self;
        driver.wakes.senders.fetch_sub(1, SeqCst);
        drop(driver.drive());
        driver.wakes.wake_if_due();
    }
}

/// Wakes the task of the connection, unless a caller is about to drive it.
struct Wakes {
    task: AtomicWaker,
    /// How many callers queue a request.
    senders: AtomicUsize,
    /// Whether the connection is to be driven again. Always exchanged and never just stored: loom gives stores no order.
    is_due: AtomicBool,
}

impl Wakes {
    /// Both sides write before they read: the last caller to leave sees that a wake is due, or the wake sees that there is no
    /// caller.
    fn wake_if_due(&self) {
        if self.senders.load(SeqCst) == 0 && self.is_due.swap(false, SeqCst) {
            self.task.wake();
        }
    }
}

impl Wake for Wakes {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.is_due.swap(true, SeqCst);
        self.wake_if_due();
    }
}
