//! Requests and replies over one HTTP/2 connection, by `h2` itself.
//!
//! hyper has a task that takes requests in, and another one for each of them, beside that of the connection. A lock is two
//! short requests, and each time that one task wakes another takes a good part of what is not etcd's time. Here a caller
//! gives its request to `h2`, [sends](driver) it itself, and is woken by the connection's task.

mod driver;
mod pings;
mod reply;
mod request;

use std::fmt;
use std::future::{Future, poll_fn};
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};
use std::task::Poll;
use std::time::Duration;

use h2::client::{Builder, SendRequest};
use http::{Request, Response};
use tokio::io::{AsyncRead, AsyncWrite};
use tonic::body::Body;
use tonic::codegen::Bytes;
use tower::BoxError;

use self::driver::Driver;
use self::pings::{Heard, LastHeard};
use self::reply::Reply;
use self::request::Outgoing;

/// Exchanged for loom's in a test.
mod sync {
    pub(super) use std::sync::atomic::{AtomicBool, AtomicUsize};
    pub(super) use std::sync::{Mutex, MutexGuard};
}

/// How much may be on its way to us unread on one connection: a watch that is read slowly must not stop the others.
const CONNECTION_WINDOW: u32 = 16 * 1024 * 1024;
/// The same for one call.
const STREAM_WINDOW: u32 = 2 * 1024 * 1024;
/// The longest header of a reply.
const HEADERS: u32 = 16 * 1024;

/// When a silent connection is asked for a sign of life, and how long the answer may take.
#[derive(Clone, Copy, Debug)]
pub(crate) struct KeepAlive {
    pub(crate) interval: Duration,
    pub(crate) timeout: Duration,
}

/// Sends requests on a connection. The connection ends with the last clone, once all calls have ended.
#[derive(Clone)]
pub(crate) struct Requests {
    send: SendRequest<Bytes>,
    state: Arc<State>,
}

/// The state of a connection.
struct State {
    driver: Driver,
    is_closed: AtomicBool,
    /// How many calls are under way.
    calls: AtomicUsize,
}

/// Makes a connection of these bytes, and waits for the settings of the other side. A listener that accepts and says
/// nothing is noticed before anything was sent to it, and it is known how many calls it permits.
///
/// The future that is returned drives the connection: it ends with it, and says why.
///
/// # Errors
/// If the connection ends before.
pub(crate) async fn connect<T>(
    io: T,
    keep_alive: KeepAlive,
) -> io::Result<(Requests, impl Future<Output = io::Result<()>> + Send)>
where
    T: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let heard = LastHeard::new();
    let (send, connection) = Builder::new()
        .enable_push(false)
        // None until the other side has said how many it permits.
        .initial_max_send_streams(0)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .initial_window_size(STREAM_WINDOW)
        .max_header_list_size(HEADERS)
        .handshake(Heard::new(io, heard.clone()))
        .await
        .map_err(io::Error::other)?;
    let mut connection = Box::pin(connection);
    poll_fn(|cx| match connection.as_mut().poll(cx) {
        Poll::Ready(Ok(())) => Poll::Ready(Err(io::ErrorKind::UnexpectedEof.into())),
        Poll::Ready(Err(error)) => Poll::Ready(Err(io::Error::other(error))),
        Poll::Pending if send.current_max_send_streams() > 0 => Poll::Ready(Ok(())),
        Poll::Pending => Poll::Pending,
    })
    .await?;
    let pings = connection.ping_pong();
    let state = Arc::new(State {
        driver: Driver::new(connection),
        is_closed: AtomicBool::new(false),
        calls: AtomicUsize::new(0),
    });
    let closing = Closing(state.clone());
    let driven = async move {
        let is_busy = || closing.0.calls.load(Relaxed) > 0;
        tokio::select! {
            biased;
            end = poll_fn(|cx| closing.0.driver.poll(cx)) => end.map_err(io::Error::other),
            () = pings::unanswered(pings, &heard, keep_alive, is_busy) => {
                Err(io::Error::new(io::ErrorKind::TimedOut, "a ping was not answered"))
            }
        }
    };
    Ok((Requests { send, state }, driven))
}

impl Requests {
    /// How many calls the other side permits at once.
    pub(crate) fn permitted(&self) -> usize {
        self.send.current_max_send_streams()
    }

    /// Whether no request can be sent any more.
    pub(crate) fn is_closed(&self) -> bool {
        self.state.is_closed.load(Relaxed)
    }

    /// Sends a request, and waits for the head of the reply.
    ///
    /// # Errors
    /// [`NotSent`] if the connection had ended, else why it ended, or the stream.
    ///
    /// # Cancel safety
    /// The other side is told that nobody waits any more.
    pub(crate) async fn send(self, request: Request<Body>) -> Result<Response<Body>, BoxError> {
        let state = self.state;
        let not_sent = |error| {
            state.is_closed.store(true, Relaxed);
            NotSent(error)
        };
        let under_way = UnderWay::new(state.clone());
        let (head, body) = request.into_parts();
        let (head, body) = (Request::from_parts(head, ()), Outgoing::new(body)?);
        let mut send = self.send.ready().await.map_err(not_sent)?;
        let (reply, open) = {
            let _sending = state.driver.sending();
            let (reply, stream) = send.send_request(head, false).map_err(not_sent)?;
            (reply, body.send(stream))
        };
        let (head, stream) = reply.await?.into_parts();
        let reply = Reply::new(stream, (under_way, open));
        Ok(Response::from_parts(head, Body::new(reply)))
    }
}

impl fmt::Debug for Requests {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Requests")
            .field("is_closed", &self.state.is_closed)
            .field("calls", &self.state.calls)
            .finish_non_exhaustive()
    }
}

/// A request that never left: its connection had ended.
#[derive(Debug)]
pub(crate) struct NotSent(h2::Error);

impl fmt::Display for NotSent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl std::error::Error for NotSent {}

/// Closes the connection with the task that drives it, also where the runtime drops that.
struct Closing(Arc<State>);

impl Drop for Closing {
    fn drop(&mut self) {
        self.0.is_closed.store(true, Relaxed);
        self.0.driver.close();
    }
}

/// Counts a call while it is under way.
struct UnderWay(Arc<State>);

impl UnderWay {
    fn new(state: Arc<State>) -> Self {
        state.calls.fetch_add(1, Relaxed);
        Self(state)
    }
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        self.0.calls.fetch_sub(1, Relaxed);
    }
}

#[cfg(test)]
mod interleavings;
#[cfg(test)]
mod test;
