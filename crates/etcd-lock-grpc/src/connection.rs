//! One HTTP/2 connection to an endpoint.
//!
//! tonic's own channel has a task with a queue between each caller and its connection, never tells whether it is
//! connected, dials anew with every call while an endpoint is dead, and can't be used after the runtime that it was made
//! on has ended. So connections are made here, and requests go to hyper's own sender.
//!
//! A connection counts as made when the other side has sent its HTTP/2 settings. A listener that accepts and says nothing
//! is noticed before anything was sent to it, and how many streams it permits is known before the first one is opened.

use std::fmt;
use std::io::IoSlice;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use backon::{BackoffBuilder, ExponentialBackoff, ExponentialBuilder};
use etcd_lock_core::{Error, ErrorKind, Result};
use futures_util::TryFutureExt;
use futures_util::future::BoxFuture;
use http::header::USER_AGENT;
use http::{HeaderValue, Request, Response, Uri};
use hyper::body::Incoming;
use hyper::client::conn::TrySendError;
use hyper::client::conn::http2::{Builder, SendRequest};
use hyper::rt::Executor;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{self, AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::oneshot;
use tokio::time::{Instant, sleep, sleep_until, timeout};
use tonic::body::Body;
use tower::util::BoxCloneSyncService;
use tower::{BoxError, Service};

use crate::connector::{BoxIo, Connector};
use crate::endpoint::Question;
use crate::target::Target;
use crate::tls::Tls;
use crate::{ConnectOptions, status};

/// How much may be on its way to us unread on one connection: a watch that is read slowly must not stop the others.
const CONNECTION_WINDOW: u32 = 16 * 1024 * 1024;

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
        let (io, heard) = Heard::new(self.connect().await?);
        let broken = |error: hyper::Error| status::broken(error, name);
        let (send, mut connection) = self
            .settings()
            .handshake(TokioIo::new(io))
            .await
            .map_err(broken)?;
        let ended = |end: hyper::Result<()>| match end {
            Err(error) => broken(error),
            Ok(()) => status::broken(io::Error::from(io::ErrorKind::UnexpectedEof), name),
        };
        tokio::select! {
            end = &mut connection => return Err(ended(end)),
            _ = heard => {}
        }
        // The bytes are here: only the task that reads them may not have come that far.
        while connection.current_max_send_streams() == 0 {
            tokio::select! {
                end = &mut connection => return Err(ended(end)),
                () = sleep(Duration::from_millis(1)) => {}
            }
        }
        let streams = connection.current_max_send_streams();
        let name = name.clone();
        tokio::spawn(async move {
            let end = connection.await.err().map(tracing::field::display);
            tracing::debug!(endpoint = name, error = end, "connection ended");
        });
        Ok(Link { send, streams })
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

    fn settings(&self) -> Builder<Spawn> {
        let mut settings = Builder::new(Spawn);
        settings
            .timer(TokioTimer::new())
            // None until the server has said how many it permits.
            .initial_max_send_streams(0)
            .initial_connection_window_size(CONNECTION_WINDOW)
            .keep_alive_interval(self.options.keep_alive_interval)
            .keep_alive_timeout(self.options.keep_alive_timeout)
            // etcd takes pings without a call under way for an attack.
            .keep_alive_while_idle(false);
        settings
    }

    fn pauses(&self) -> MutexGuard<'_, Pauses> {
        self.pauses.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Runs the tasks that hyper has for each call. They are boxed, since they have room for the task of a whole connection, and
/// tokio moves a task several times.
#[derive(Clone, Copy, Debug)]
struct Spawn;

impl<F: Future<Output: Send> + Send + 'static> Executor<F> for Spawn {
    fn execute(&self, task: F) {
        tokio::spawn(Box::pin(task));
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
pub(crate) struct Link {
    send: SendRequest<Body>,
    /// How many streams the server permits.
    pub(crate) streams: usize,
}

impl Link {
    pub(crate) fn is_closed(&self) -> bool {
        self.send.is_closed()
    }

    pub(crate) fn channel(&self, origin: Uri) -> Channel {
        Channel {
            origin,
            sender: Sender::Own(self.send.clone()),
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
    Own(SendRequest<Body>),
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
            Sender::Own(send) => {
                Box::pin(sent(send.try_send_request(request)).inspect_ok(answered))
            }
        }
    }
}

async fn sent(
    reply: impl Future<Output = Result<Response<Incoming>, TrySendError<Request<Body>>>>,
) -> Result<Response<Body>, BoxError> {
    match reply.await {
        Ok(reply) => Ok(reply.map(Body::new)),
        Err(mut failed) => Err(match failed.take_message() {
            Some(_) => NotSent(failed.into_error()).into(),
            None => failed.into_error().into(),
        }),
    }
}

/// A request that never left: its connection had ended.
#[derive(Debug)]
pub(crate) struct NotSent(hyper::Error);

impl fmt::Display for NotSent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl std::error::Error for NotSent {}

/// Tells when the other side has sent its first bytes.
struct Heard {
    io: BoxIo,
    first: Option<oneshot::Sender<()>>,
}

impl Heard {
    fn new(io: BoxIo) -> (Self, oneshot::Receiver<()>) {
        let (first, heard) = oneshot::channel();
        let first = Some(first);
        (Self { io, first }, heard)
    }
}

impl AsyncRead for Heard {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let read = Pin::new(&mut self.io).poll_read(cx, buffer);
        if buffer.filled().len() > before
            && let Some(first) = self.first.take()
        {
            // Nobody listens any more where it came too late.
            let _ = first.send(());
        }
        read
    }
}

impl AsyncWrite for Heard {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write_vectored(cx, bytes)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }
}
