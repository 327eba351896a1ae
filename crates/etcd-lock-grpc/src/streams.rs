//! Keep-alive and watch streams.
//!
//! A message on a stream is a question like any other: one that is overdue ends the stream, and is evidence against the
//! endpoint. An open stream is waited on: while nothing comes, its endpoint is asked for a sign of life now and then, and a
//! stream of an endpoint that is found silent ends. A quiet watch alone is no evidence.

use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};

use etcd_lock_core::lease::LeaseKeepAliveResponse;
use etcd_lock_core::watch::{WatchBody, WatchRequest, WatchResponse};
use etcd_lock_core::{BoxStream, Error, ErrorKind, LeaseId, ResponseHeader, Result};
use etcd_lock_proto::etcdserverpb as pb;
use futures_util::{Stream, stream};
use pb::lease_client::LeaseClient;
use pb::watch_client::WatchClient;
use tokio::sync::{Notify, oneshot};
use tokio::time::{sleep_until, timeout};
use tonic::{Response, Status, Streaming};

use crate::auth::Pass;
use crate::endpoint::{Endpoint, Question, Silence, Wait};
use crate::endpoints::Endpoints;
use crate::pool::{Purpose, Slot};
use crate::status;
use crate::stream::open;
use crate::wire::{MAX_REPLY, with_leader};

/// Opens a keep-alive stream.
pub(crate) fn keep_alive(
    endpoints: Arc<Endpoints>,
    leases: BoxStream<LeaseId>,
) -> BoxStream<Result<LeaseKeepAliveResponse>> {
    open(async move {
        let mut line = Line::open(endpoints).await?;
        let leases = line.outgoing(leases, |lease| Some(lease.get()), Into::into);
        let request = line.pass.show(with_leader(tonic::Request::new(leases)));
        let mut client = LeaseClient::new(line.slot.channel.clone());
        let replies = line.next(client.lease_keep_alive(request)).await?;
        Ok(
            line.replies(replies, |line, reply: pb::LeaseKeepAliveResponse| {
                let reply = LeaseKeepAliveResponse::try_from(reply)?;
                line.heard(&reply.header)?;
                line.pending.answered(reply.id.get());
                Ok(reply)
            }),
        )
    })
}

/// Opens a watch stream.
pub(crate) fn watch(
    endpoints: Arc<Endpoints>,
    requests: BoxStream<WatchRequest>,
) -> BoxStream<Result<WatchResponse>> {
    open(async move {
        let mut line = Line::open(endpoints).await?;
        let requests = line.outgoing(requests, created, Into::into);
        let request = line.pass.show(with_leader(tonic::Request::new(requests)));
        let client = WatchClient::new(line.slot.channel.clone());
        let mut client = client.max_decoding_message_size(MAX_REPLY);
        let replies = line.next(client.watch(request)).await?;
        Ok(line.replies(replies, |line, reply: pb::WatchResponse| {
            let reply = WatchResponse::try_from(reply)?;
            line.heard(&reply.header)?;
            match &reply.body {
                WatchBody::Created => line.pending.answered(reply.id),
                WatchBody::Canceled { reason, .. } => {
                    line.pending.answered(reply.id);
                    line.is_permitted(reason)?;
                }
                _ => {}
            }
            Ok(reply)
        }))
    })
}

/// The watch that a request asks for: only that has an answer in any case.
fn created(request: &WatchRequest) -> Option<i64> {
    match request {
        WatchRequest::Create(watch) => Some(watch.id),
        _ => None,
    }
}

/// An open stream's side of its endpoint.
struct Line {
    endpoints: Arc<Endpoints>,
    endpoint: Arc<Endpoint>,
    pass: Pass,
    pending: Arc<Pending>,
    silence: Silence,
    slot: Slot,
    _wait: Wait,
    /// Ends the messages when this is dropped: the connection would hold the stream open for as long as they don't end.
    until: Option<oneshot::Sender<()>>,
}

impl Line {
    async fn open(endpoints: Arc<Endpoints>) -> Result<Self> {
        let bound = endpoints.bound();
        let opened = timeout(bound, Self::connect(endpoints.clone())).await;
        opened.unwrap_or_else(|_| Err(endpoints.not_asked(bound)))
    }

    async fn connect(endpoints: Arc<Endpoints>) -> Result<Self> {
        let (endpoint, slot) = endpoints.slot(Purpose::Stream).await?;
        let pass = endpoints.auth().pass(&endpoint).await?;
        Ok(Self {
            pass,
            pending: Arc::default(),
            silence: endpoint.silence(),
            slot,
            _wait: endpoint.wait(),
            until: None,
            endpoint,
            endpoints,
        })
    }

    /// The messages to send, each noted as a question when it is sent.
    fn outgoing<T, M>(
        &mut self,
        items: BoxStream<T>,
        id: fn(&T) -> Option<i64>,
        message: fn(T) -> M,
    ) -> Outgoing<T, M> {
        let (until, dropped) = oneshot::channel();
        self.until = Some(until);
        Outgoing {
            dropped,
            items,
            id,
            message,
            endpoint: self.endpoint.clone(),
            pending: self.pending.clone(),
        }
    }

    /// The next thing that the server says, or why there is none.
    async fn next<T>(&mut self, said: impl Future<Output = Result<T, Status>>) -> Result<T> {
        tokio::select! {
            biased;
            said = said => said.map_err(|status| self.failed(status)),
            () = self.silence.found() => Err(self.unanswered()),
            () = self.pending.overdue(self.endpoint.bound) => Err(self.unanswered()),
        }
    }

    /// The replies, converted and noted.
    fn replies<M, T>(
        self,
        replies: Response<Streaming<M>>,
        convert: fn(&Self, M) -> Result<T>,
    ) -> impl Stream<Item = Result<T>> + Send + 'static
    where
        M: Send + 'static,
        T: Send + 'static,
    {
        stream::unfold(
            (self, replies.into_inner()),
            move |(mut line, mut replies)| async move {
                let reply = match line.next(replies.message()).await {
                    Ok(Some(reply)) => convert(&line, reply),
                    Ok(None) => return None,
                    Err(error) => Err(error),
                };
                Some((reply, (line, replies)))
            },
        )
    }

    fn heard(&self, header: &ResponseHeader) -> Result<()> {
        self.endpoint.hear();
        self.endpoint.check(header)?;
        self.endpoint.answers();
        Ok(())
    }

    fn failed(&self, status: Status) -> Error {
        self.pending.end();
        let error = status::note(status, &self.endpoint, None, true);
        match self.endpoints.auth().is_over_on_stream(&self.pass, &error) {
            true => login_ended(error),
            false => error,
        }
    }

    /// A watch that was cancelled: etcd gives the reason as text alone.
    fn is_permitted(&self, reason: &str) -> Result<()> {
        let denied = Status::unknown(reason);
        let error = status::failure(denied, self.endpoint.name(), true).error;
        match self.endpoints.auth().is_over_on_stream(&self.pass, &error) {
            true => Err(login_ended(error)),
            false => Ok(()),
        }
    }

    fn unanswered(&self) -> Error {
        let text = format!("{} gave no sign of life in time", self.endpoint.name());
        Error::new(ErrorKind::Unavailable, text)
    }
}

/// A stream is opened again where another token may be better.
fn login_ended(cause: Error) -> Error {
    let text = "the login ended: the stream has to be opened with a new one";
    Error::new(ErrorKind::Unavailable, text).with_source(cause)
}

/// The questions of one stream, in their order.
#[derive(Debug, Default)]
struct Pending {
    questions: Mutex<VecDeque<(i64, Question)>>,
    asked: Notify,
}

impl Pending {
    fn ask(&self, id: i64, question: Question) {
        self.questions().push_back((id, question));
        self.asked.notify_one();
    }

    /// Notes the answer to the oldest question about this; a negative number stands for the oldest of all.
    fn answered(&self, id: i64) {
        let mut questions = self.questions();
        let number = questions.iter().position(|(of, _)| *of == id || id < 0);
        if let Some((_, question)) = number.and_then(|number| questions.remove(number)) {
            question.answered();
        }
    }

    /// Notes that no more answers will come, for a reason that is known.
    fn end(&self) {
        for (_, question) in self.questions().drain(..) {
            question.broke_off();
        }
    }

    /// Waits until an answer is overdue.
    async fn overdue(&self, bound: std::time::Duration) {
        loop {
            let oldest = self.questions().front().map(|(_, question)| question.asked);
            match oldest {
                Some(asked) if asked.elapsed() >= bound => return,
                Some(asked) => sleep_until(asked + bound).await,
                None => self.asked.notified().await,
            }
        }
    }

    fn questions(&self) -> MutexGuard<'_, VecDeque<(i64, Question)>> {
        self.questions
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

/// Messages on their way out. It has a name of its own: the compiler can't show that a future with a bare trait object in
/// it may be sent to another thread.
struct Outgoing<T, M> {
    dropped: oneshot::Receiver<()>,
    items: BoxStream<T>,
    id: fn(&T) -> Option<i64>,
    message: fn(T) -> M,
    endpoint: Arc<Endpoint>,
    pending: Arc<Pending>,
}

impl<T, M> Stream for Outgoing<T, M> {
    type Item = M;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<M>> {
        if Pin::new(&mut self.dropped).poll(cx).is_ready() {
            return Poll::Ready(None);
        }
        let Poll::Ready(item) = self.items.as_mut().poll_next(cx) else {
            return Poll::Pending;
        };
        Poll::Ready(item.map(|item| {
            if let Some(id) = (self.id)(&item) {
                self.pending.ask(id, self.endpoint.ask());
            }
            (self.message)(item)
        }))
    }
}
