//! The other end of a watch stream.

use etcd_lock_core::watch::{Event, WatchBody, WatchCreate, WatchRequest, WatchResponse};
use etcd_lock_core::{BoxStream, Client, Result, Revision};
use futures_util::StreamExt as _;
use tokio::sync::mpsc;
use tokio::time::timeout;

use crate::test_context::PATIENCE;

/// A watch stream that a check talks to step by step.
#[expect(
    missing_debug_implementations,
    reason = "a boxed stream has nothing to show"
)]
pub struct Watcher {
    requests: mpsc::UnboundedSender<WatchRequest>,
    responses: BoxStream<Result<WatchResponse>>,
}

impl Watcher {
    /// Opens a stream.
    #[must_use]
    pub fn open(client: &Client) -> Self {
        let (requests, receiver) = mpsc::unbounded_channel();
        let responses = client.transport().watch(stream(receiver));
        Self {
            requests,
            responses,
        }
    }

    /// Opens a stream with one watch on it, which is on when this returns.
    pub async fn on(client: &Client, create: WatchCreate) -> Self {
        let mut watcher = Self::open(client);
        watcher.create(create).await;
        watcher
    }

    /// Starts a watch, and returns the revision at which it was on.
    ///
    /// # Panics
    /// When the next reply is not that it is on.
    pub async fn create(&mut self, create: WatchCreate) -> Revision {
        let id = create.id;
        self.send(WatchRequest::Create(create));
        let reply = self.next().await;
        assert_eq!((reply.id, &reply.body), (id, &WatchBody::Created));
        reply.header.revision
    }

    /// Says something to the server.
    ///
    /// # Panics
    /// When the stream has ended.
    pub fn send(&self, request: WatchRequest) {
        self.requests.send(request).unwrap();
    }

    /// The next reply, whatever it is about.
    ///
    /// # Panics
    /// When none comes, or an error.
    pub async fn next(&mut self) -> WatchResponse {
        let next = timeout(PATIENCE, self.responses.next()).await;
        next.expect("no reply on the watch stream")
            .expect("the watch stream ended")
            .unwrap()
    }

    /// The next events, all of one reply, and the watch that they are for.
    ///
    /// # Panics
    /// When another reply comes.
    pub async fn events(&mut self) -> (i64, Vec<Event>) {
        let reply = self.next().await;
        match reply.body {
            WatchBody::Events(events) => (reply.id, events),
            other => panic!("not events: {other:?}"),
        }
    }

    /// The next event, which must come alone.
    ///
    /// # Panics
    /// When it doesn't.
    pub async fn event(&mut self) -> Event {
        let (_, mut events) = self.events().await;
        assert_eq!(events.len(), 1, "{events:?}");
        events.remove(0)
    }
}

/// A stream of what is sent into a channel.
#[must_use]
pub fn stream<T: Send + 'static>(mut receiver: mpsc::UnboundedReceiver<T>) -> BoxStream<T> {
    Box::pin(futures_util::stream::poll_fn(move |cx| {
        receiver.poll_recv(cx)
    }))
}
