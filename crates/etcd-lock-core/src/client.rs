//! The handle on a transport.

use std::fmt;
use std::sync::Arc;

use crate::Transport;

/// A cheap-to-clone handle on a connection to an etcd, whatever carries the requests.
#[derive(Clone)]
pub struct Client(Arc<dyn Transport>);

impl Client {
    /// A client over a transport.
    #[must_use]
    pub fn new(transport: impl Transport) -> Self {
        Self(Arc::new(transport))
    }

    /// What carries this client's requests.
    #[must_use]
    pub fn transport(&self) -> &Arc<dyn Transport> {
        &self.0
    }
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Client").field(&self.0).finish()
    }
}

impl From<Arc<dyn Transport>> for Client {
    fn from(transport: Arc<dyn Transport>) -> Self {
        Self(transport)
    }
}
