//! The runtime behind the blocking calls.

use std::future::Future;
use std::pin::pin;
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll, Wake, Waker};
use std::thread::{self, Thread};

use etcd_lock_core::{Error, ErrorKind, Result};
use tokio::runtime::{Builder, Handle, Runtime};
use tokio::task::unconstrained;

/// Waits for a future on the runtime of the blocking calls.
pub(super) fn wait<T>(future: impl Future<Output = Result<T>>) -> Result<T> {
    wait_on(runtime()?.handle(), future)
}

/// Waits for a future on a runtime that runs in other threads. Tokio's own `block_on` would panic on a thread that runs async
/// code, and nothing that tokio offers tells such a thread from one of `spawn_blocking`. So this parks any thread.
pub(super) fn wait_on<T>(runtime: &Handle, future: impl Future<Output = T>) -> T {
    let _context = runtime.enter();
    let waker = Waker::from(Arc::new(Unpark(thread::current())));
    let mut cx = Context::from_waker(&waker);
    // Without the budget of the task that this thread may be running: nobody would renew it here.
    let mut future = pin!(unconstrained(future));
    loop {
        match future.as_mut().poll(&mut cx) {
            Poll::Ready(output) => return output,
            Poll::Pending => thread::park(),
        }
    }
}

struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

/// Started once; where that fails, it is tried again with the next call.
fn runtime() -> Result<&'static Runtime> {
    static RUNTIME: OnceLock<Runtime> = OnceLock::new();
    if let Some(runtime) = RUNTIME.get() {
        return Ok(runtime);
    }
    let started = Builder::new_multi_thread()
        .worker_threads(1)
        .thread_name("etcd-lock")
        .enable_all()
        .build()
        .map_err(|error| {
            let text = "can't start the thread that blocking calls need";
            Error::new(ErrorKind::Unavailable, text).with_source(error)
        })?;
    Ok(RUNTIME.get_or_init(|| started))
}
