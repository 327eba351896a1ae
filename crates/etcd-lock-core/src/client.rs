//! The handle on a transport.

use std::any::{Any, TypeId};
use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use crate::Transport;

/// A cheap-to-clone handle on a connection to an etcd, over any transport.
#[derive(Clone)]
pub struct Client(Arc<Inner>);

struct Inner {
    transport: Arc<dyn Transport>,
    shared: Mutex<HashMap<TypeId, Box<dyn Any + Send>>>,
}

impl Client {
    /// A client over a transport.
    #[must_use]
    pub fn new(transport: impl Transport) -> Self {
        Self::from(Arc::new(transport) as Arc<dyn Transport>)
    }

    /// The transport of this client's requests.
    #[must_use]
    pub fn transport(&self) -> &Arc<dyn Transport> {
        &self.0.transport
    }

    /// The value of one type that all users of this client share, made when it is first asked for. So the sessions of a client find
    /// its wait queue, however its transport is decorated.
    ///
    /// ```
    /// use std::sync::Arc;
    /// # use etcd_lock_core::Client;
    ///
    /// # fn of(client: Client) {
    /// let counter: Arc<str> = client.shared(|| "made once".into());
    /// assert!(Arc::ptr_eq(&counter, &client.clone().shared(|| "not made".into())));
    /// # }
    /// ```
    pub fn shared<T: Clone + Send + 'static>(&self, make: impl FnOnce() -> T) -> T {
        let mut shared = self.0.shared.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(made) = shared
            .get(&TypeId::of::<T>())
            .and_then(|it| it.downcast_ref::<T>())
        {
            return made.clone();
        }
        let made = make();
        shared.insert(TypeId::of::<T>(), Box::new(made.clone()));
        made
    }
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Client").field(&self.0.transport).finish()
    }
}

impl From<Arc<dyn Transport>> for Client {
    fn from(transport: Arc<dyn Transport>) -> Self {
        Self(Arc::new(Inner {
            transport,
            shared: Mutex::default(),
        }))
    }
}
