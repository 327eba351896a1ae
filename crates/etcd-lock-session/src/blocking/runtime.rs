//! The runtime behind the blocking calls.

use std::future::Future;
use std::sync::OnceLock;

use etcd_lock_core::{Error, ErrorKind, Result};
use tokio::runtime::{Builder, Handle, Runtime};

/// Waits for a future on the runtime of the blocking calls.
pub(super) fn wait<T>(future: impl Future<Output = Result<T>>) -> Result<T> {
    if Handle::try_current().is_ok() {
        return Err(Error::invalid(
            "a blocking call was made from async code: use the async one, or tokio's spawn_blocking",
        ));
    }
    runtime()?.block_on(future)
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
