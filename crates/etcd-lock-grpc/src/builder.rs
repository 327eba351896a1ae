//! A transport with layers and connections of one's own.

use std::fmt;

use etcd_lock_core::{Error, Result};
use http::{Request as HttpRequest, Response as HttpResponse};
use tokio::io::{AsyncRead, AsyncWrite};
use tonic::body::Body;
use tower::{BoxError, Layer, Service, ServiceExt};

use crate::connection::GivenService;
use crate::connector::{Address, Connector};
use crate::endpoints::{Endpoints, Make};
use crate::layers::{Layered, Reply, Request, RetryPolicy, Stack, Wire, stack};
use crate::target::Target;
use crate::tls::Tls;
use crate::{ConnectOptions, GrpcTransport};

type AnyLayer = Box<dyn FnOnce(Stack) -> Stack + Send>;

/// Makes a [`GrpcTransport`].
///
/// ```
/// use etcd_lock_grpc::{ConnectOptions, GrpcTransport};
/// use tower::limit::ConcurrencyLimitLayer;
///
/// let transport = GrpcTransport::builder(ConnectOptions::new().with_max_attempts(3))
///     .layer(ConcurrencyLimitLayer::new(16))
///     .build()?;
/// # Ok::<(), etcd_lock_core::Error>(())
/// ```
#[must_use]
pub struct Builder {
    options: ConnectOptions,
    layers: Vec<AnyLayer>,
    connector: Option<Connector>,
    channel: Option<GivenService>,
}

impl Builder {
    pub(crate) fn new(options: ConnectOptions) -> Self {
        Self {
            options,
            layers: Vec::new(),
            connector: None,
            channel: None,
        }
    }

    /// Adds a layer outside of all others, and of those that were added before: it sees each request once, before its
    /// deadline counts, and the last answer to it. Streams don't pass it.
    pub fn layer<L>(mut self, layer: L) -> Self
    where
        L: Layer<Stack> + Send + 'static,
        L::Service:
            Service<Request, Response = Reply, Error = Error> + Clone + Send + Sync + 'static,
        <L::Service as Service<Request>>::Future: Send + 'static,
    {
        let add = move |stack| Stack::new(layer.layer(stack));
        self.layers.push(Box::new(add));
        self
    }

    /// Takes connections from this service instead of making them: for proxies, other networks, and faults in tests.
    /// HTTP/2 is spoken over them, with prior knowledge, and over TLS where the endpoint is `https://`.
    ///
    /// It is called on the runtime of the request that needs a connection.
    ///
    /// ```
    /// use etcd_lock_grpc::{Address, GrpcTransport};
    /// use tokio::net::TcpStream;
    ///
    /// let connector = tower::service_fn(|address: Address| TcpStream::connect(address.to_string()));
    /// let transport = GrpcTransport::builder(["127.0.0.1:2379"]).connector(connector).build()?;
    /// # Ok::<(), etcd_lock_core::Error>(())
    /// ```
    pub fn connector<C>(mut self, connector: C) -> Self
    where
        C: Service<Address> + Clone + Send + Sync + 'static,
        C::Response: AsyncRead + AsyncWrite + Send + Unpin + 'static,
        C::Error: Into<BoxError>,
        C::Future: Send + 'static,
    {
        self.connector = Some(Connector::given(connector));
        self
    }

    /// Sends HTTP requests by this service instead of over connections: for a gRPC channel of one's own. Each request's URI
    /// has the scheme and the authority of its endpoint.
    ///
    /// Reconnecting, and isolating calls that wait from short ones, is up to the service then.
    pub fn channel<S>(mut self, service: S) -> Self
    where
        S: Service<HttpRequest<Body>, Response = HttpResponse<Body>>
            + Clone
            + Send
            + Sync
            + 'static,
        S::Error: Into<BoxError>,
        S::Future: Send + 'static,
    {
        self.channel = Some(GivenService::new(service.map_err(Into::into)));
        self
    }

    /// Makes the transport. Nothing is sent before the first request.
    ///
    /// # Errors
    /// `InvalidArgument` when there is no endpoint, one isn't a URL, or the options can't work; `Unsupported` when one is
    /// `https://` and this program was built without TLS.
    pub fn build(self) -> Result<GrpcTransport> {
        let options = self.options.checked()?;
        let own = || Connector::own(options.keep_alive_timeout);
        let policy = RetryPolicy::new(options.max_attempts);
        let targets = Target::parse_all(&options)?;
        let has_tls = self.channel.is_none() && targets.iter().any(|target| target.tls.is_some());
        let tls = has_tls.then(|| Tls::new(options.tls.clone().unwrap_or_default()));
        let make = Make {
            connector: self.connector.unwrap_or_else(own),
            given: self.channel,
            cluster: Default::default(),
            tls: tls.transpose()?,
            options,
        };
        let wire = Wire::new(Endpoints::new(targets, make));
        let layers = self.layers.into_iter();
        let service = layers.fold(stack(wire.clone(), policy), |stack, add| add(stack));
        Ok(Layered::over(service, wire))
    }
}

impl fmt::Debug for Builder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Builder")
            .field("options", &self.options)
            .finish_non_exhaustive()
    }
}
