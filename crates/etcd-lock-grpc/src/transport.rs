//! The transport over gRPC.

use std::time::Duration;

use etcd_lock_core::{Error, ErrorKind, Result};
use futures_util::future::join_all;
use tokio::time::timeout;

use crate::builder::Builder;
use crate::info::Info;
use crate::layers::{Layered, Wire};
use crate::{ConnectOptions, MemberStatus, member_status};

/// Carries requests to an etcd over gRPC. Clones share their connections.
///
/// Its [`lock`](etcd_lock_core::Transport::lock) uses etcd's `Lock` RPC, with the grant read back and the clean-up done by
/// ourselves. A queue over transactions, as `etcd-lock-session` has it, is faster and safer.
///
/// It can be used from several runtimes, at once or one after the other: each has connections of its own.
pub type GrpcTransport = Layered<Wire>;

impl GrpcTransport {
    /// A transport to the etcd that these [`ConnectOptions`] name; a list of endpoints stands for options with all other
    /// defaults. Nothing is sent before the first request.
    ///
    /// # Errors
    /// `InvalidArgument` when there is no endpoint, one isn't a URL, or the options can't work; `Unsupported` when one is
    /// `https://` and this program was built without TLS.
    pub fn connect(options: impl Into<ConnectOptions>) -> Result<Self> {
        Self::builder(options).build()
    }

    /// As [`connect`](Self::connect), with layers and connections of one's own.
    pub fn builder(options: impl Into<ConnectOptions>) -> Builder {
        Builder::new(options.into())
    }

    /// The states of the endpoints.
    ///
    /// ```
    /// use etcd_lock_grpc::{EndpointState, GrpcTransport};
    ///
    /// let transport = GrpcTransport::connect("127.0.0.1:2379")?;
    /// let info = transport.info();
    /// assert_eq!(info.endpoints[0].name, "http://127.0.0.1:2379");
    /// assert_eq!(info.endpoints[0].state, EndpointState::Untried);
    /// # Ok::<(), etcd_lock_core::Error>(())
    /// ```
    #[must_use]
    pub fn info(&self) -> Info {
        self.streams.info()
    }

    /// Asks all endpoints at once for the status of their members. An endpoint that doesn't answer within `limit` fails alone.
    /// The result has the endpoints' names, in their order.
    ///
    /// No request depends on this, and it has no part in which endpoints are asked.
    ///
    /// # Cancel safety
    /// It only reads.
    pub async fn member_status(&self, limit: Duration) -> Vec<(String, Result<MemberStatus>)> {
        let endpoints = self.streams.endpoints();
        let asking = endpoints.iter().map(|endpoint| async move {
            let asked = timeout(limit, member_status::ask(endpoint, limit)).await;
            let result = match asked {
                Ok(Ok(reply)) => Ok(reply.into()),
                Ok(Err(failure)) => Err(failure.error),
                Err(_) => {
                    let text = format!("{} did not answer within {limit:?}", endpoint.name());
                    Err(Error::new(ErrorKind::Timeout, text))
                }
            };
            (endpoint.name().to_owned(), result)
        });
        join_all(asking).await
    }
}
