//! One HTTP/2 connection to an endpoint.
//!
//! tonic's own channel has a task with a queue between each caller and its connection, never tells whether it is
//! connected, dials anew with every call while an endpoint is dead, and can't be used after the runtime that it was made
//! on has ended. So connections are made here, and requests go to [`http2`].

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use backon::{BackoffBuilder, ExponentialBackoff, ExponentialBuilder};
use etcd_lock_core::{Error, ErrorKind, Result};
use futures_util::TryFutureExt;
use futures_util::future::BoxFuture;
use http::header::USER_AGENT;
use http::{HeaderValue, Request, Response, Uri};
use tokio::time::{Instant, sleep_until, timeout};
use tonic::body::Body;
use tower::util::BoxCloneSyncService;
use tower::{BoxError, Service};

use crate::connector::{BoxIo, Connector};
use crate::endpoint::Question;
use crate::http2::{self, KeepAlive, Requests};
use crate::target::Target;
use crate::tls::Tls;
use crate::{ConnectOptions, status};

const AGENT: HeaderValue =
    HeaderValue::from_static(concat!("etcd-lock/", env!("CARGO_PKG_VERSION")));

/// Makes the connections to one endpoint. While it can't be reached, each attempt begins later after the one before.
#[derive(Debug)]
pub(crate) struct Dialer {
    target: Target,
    connector: Connector,
    tls: Option<Tls>,
    options: ConnectOptions,
    pauses: Mutex<Pauses>,
}

impl Dialer {
    pub(crate) fn new(
        target: Target,
        connector: Connector,
        tls: Option<Tls>,
        options: ConnectOptions,
    ) -> Self {
        Self {
            target,
            connector,
            tls,
            options,
            pauses: Mutex::new(Pauses::default()),
        }
    }

    pub(crate) const fn target(&self) -> &Target {
        &self.target
    }

    /// Makes one connection. The bound includes the look-up of the name.
    ///
    /// # Errors
    /// `Unavailable` when nobody answers in time, `Protocol` when it isn't an HTTP/2 server. Nothing was asked of it.
    pub(crate) async fn dial(&self) -> Result<Link> {
        let not_before = self.pauses().not_before;
        if let Some(at) = not_before {
            sleep_until(at).await;
        }
        let bound = self.options.connect_timeout;
        let made = timeout(bound, self.handshake()).await;
        let made = made.unwrap_or_else(|_| {
            let name = &self.target.name;
            Err(Error::new(
                ErrorKind::Unavailable,
                format!("can't connect to {name} within {bound:?}: is an etcd listening there?"),
            ))
        });
        self.pauses().note(made.as_ref().err());
        made
    }

    /// Why the last attempt failed, while nothing but failures is known.
    pub(crate) fn failure(&self) -> Option<Error> {
        self.pauses().failure.clone()
    }

    async fn handshake(&self) -> Result<Link> {
        let name = &self.target.name;
        let keep_alive = KeepAlive {
            interval: self.options.keep_alive_interval,
            timeout: self.options.keep_alive_timeout,
        };
        let connected = http2::connect(self.connect().await?, keep_alive).await;
        let (requests, connection) = connected.map_err(|error| status::broken(error, name))?;
        let name = name.clone();
        tokio::spawn(async move {
            let end = connection.await.err().map(tracing::field::display);
            tracing::debug!(endpoint = name, error = end, "connection ended");
        });
        Ok(Link(requests))
    }

    /// The bytes below HTTP/2.
    async fn connect(&self) -> Result<BoxIo> {
        let Target {
            name, address, tls, ..
        } = &self.target;
        let bound = self.options.connect_timeout;
        let io = self.connector.connect(address, bound).await;
        let io = io.map_err(|error| status::unreachable(error, name))?;
        match (tls, &self.tls) {
            (None, _) => Ok(io),
            (Some(host), Some(tls)) => tls.connect(host, io).await,
            (Some(_), None) => Err(Error::new(
                ErrorKind::Unavailable,
                format!("{name} has TLS, and the endpoints that were given have none"),
            )),
        }
    }

    fn pauses(&self) -> MutexGuard<'_, Pauses> {
        self.pauses.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// When the next connection may be tried.
#[derive(Debug, Default)]
struct Pauses {
    left: Option<ExponentialBackoff>,
    not_before: Option<Instant>,
    failure: Option<Error>,
}

impl Pauses {
    fn note(&mut self, failure: Option<&Error>) {
        let Some(failure) = failure else {
            *self = Self::default();
            return;
        };
        self.failure = Some(failure.clone());
        let pauses = self.left.get_or_insert_with(|| {
            ExponentialBuilder::default()
                .with_min_delay(Duration::from_millis(25))
                // The jitter doubles it at most.
                .with_max_delay(Duration::from_millis(500))
                .without_max_times()
                .with_jitter()
                .build()
        });
        self.not_before = pauses.next().map(|pause| Instant::now() + pause);
    }
}

/// A connection that was made. It ends with its last clone, or with the runtime that it was made on.
#[derive(Clone, Debug)]
pub(crate) struct Link(Requests);

impl Link {
    /// How many streams the server permits.
    pub(crate) fn streams(&self) -> usize {
        self.0.permitted()
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.0.is_closed()
    }

    pub(crate) fn channel(&self, origin: Uri) -> Channel {
        Channel {
            origin,
            sender: Sender::Own(self.0.clone()),
            question: None,
        }
    }
}

/// A service that users bring instead of our connections.
pub(crate) type GivenService = BoxCloneSyncService<Request<Body>, Response<Body>, BoxError>;

/// The service that tonic's stubs send their requests over.
#[derive(Clone, Debug)]
pub(crate) struct Channel {
    origin: Uri,
    sender: Sender,
    question: Option<Arc<Question>>,
}

#[derive(Clone, Debug)]
enum Sender {
    Own(Requests),
    Given(GivenService),
}

impl Channel {
    pub(crate) const fn given(origin: Uri, service: GivenService) -> Self {
        Self {
            origin,
            sender: Sender::Given(service),
            question: None,
        }
    }

    /// The same channel, for one request. Its question is answered when the head of the reply is here: the rest may be long.
    pub(crate) fn answering(mut self, question: Arc<Question>) -> Self {
        self.question = Some(question);
        self
    }
}

impl Service<Request<Body>> for Channel {
    type Response = Response<Body>;
    type Error = BoxError;
    type Future = BoxFuture<'static, Result<Response<Body>, BoxError>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        match &mut self.sender {
            // A closed connection is an error of the call, which says that nothing was sent.
            Sender::Own(_) => Poll::Ready(Ok(())),
            Sender::Given(service) => service.poll_ready(cx),
        }
    }

    fn call(&mut self, mut request: Request<Body>) -> Self::Future {
        let mut uri = std::mem::take(request.uri_mut()).into_parts();
        uri.scheme = self.origin.scheme().cloned();
        uri.authority = self.origin.authority().cloned();
        match Uri::from_parts(uri) {
            Ok(uri) => *request.uri_mut() = uri,
            Err(error) => return Box::pin(async move { Err(error.into()) }),
        }
        request.headers_mut().insert(USER_AGENT, AGENT);
        let question = self.question.take();
        let answered = move |_: &Response<Body>| {
            if let Some(question) = question {
                question.answered();
            }
        };
        match &mut self.sender {
            Sender::Given(service) => Box::pin(service.call(request).inspect_ok(answered)),
            Sender::Own(requests) => Box::pin(requests.clone().send(request).inspect_ok(answered)),
        }
    }
}
