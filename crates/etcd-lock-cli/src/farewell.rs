//! The end of a session, for which nobody waits long.

use std::time::Duration;

use etcd_lock::Result;
use tokio::time::timeout;

/// How long the end may take when etcd doesn't answer: the lease does the rest.
pub(crate) const FAREWELL: Duration = Duration::from_secs(3);

/// Does what ends a session, and leaves it to its lease where etcd doesn't answer.
pub(crate) async fn farewell(step: impl Future<Output = Result<()>>) {
    match timeout(FAREWELL, step).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => tracing::debug!(%error, "a lease has to end by itself"),
        Err(_) => tracing::debug!("no answer at the end, a lease has to end by itself"),
    }
}
