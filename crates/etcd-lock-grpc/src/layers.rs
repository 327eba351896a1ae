//! Tower layers over the requests of a transport, independent of the channel below.

mod call;
mod deadline;
mod layered;
mod retry;
#[cfg(test)]
mod test;
mod trace;

pub use self::call::{Call, Reply, Request};
pub use self::deadline::{Deadline, DeadlineLayer};
pub use self::layered::{Layered, Streams, TransportService};
pub use self::retry::RetryPolicy;
pub use self::trace::{Trace, TraceLayer};
pub use crate::wire::Wire;

pub(crate) use self::layered::Unary;

use etcd_lock_core::Error;
use tower::util::BoxCloneSyncService;
use tower::{Layer, Service};

/// A service that all layers are put over, with its type forgotten.
pub type Stack = BoxCloneSyncService<Request, Reply, Error>;

/// Puts trace, deadline and retry, from the outside in, over a service. The deadline is outside of the retries, so it
/// bounds all of them together.
pub fn stack<S>(service: S, retry: RetryPolicy) -> Stack
where
    S: Service<Request, Response = Reply, Error = Error> + Clone + Send + Sync + 'static,
    S::Future: Send,
{
    let retried = tower::retry::Retry::new(retry, service);
    let bounded = DeadlineLayer::new().layer(retried);
    Stack::new(TraceLayer::new().layer(bounded))
}
