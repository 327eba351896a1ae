//! One keep-alive stream for all leases that this process keeps alive on one transport.

use std::collections::{BTreeMap, VecDeque};
use std::future::ready;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use etcd_lock_core::lease::LeaseKeepAliveResponse;
use etcd_lock_core::{BoxStream, Error, ErrorKind, LeaseId, Result, Transport};
use futures_util::stream::{pending, select};
use futures_util::{Stream, StreamExt};
use tokio::sync::mpsc::{self, UnboundedSender};
use tokio::task::JoinHandle;
use tokio_stream::wrappers::UnboundedReceiverStream;

/// The keep-alive stream of one transport, opened when it is first needed.
#[derive(Debug)]
pub(crate) struct KeepAlives(Arc<Shared>);

impl KeepAlives {
    pub(crate) fn new(transport: Arc<dyn Transport>) -> Self {
        Self(Arc::new(Shared {
            transport,
            state: Mutex::default(),
        }))
    }

    /// A stream that looks like one of its own. It fails when the shared one does.
    pub(crate) fn stream(
        &self,
        leases: BoxStream<LeaseId>,
    ) -> impl Stream<Item = Result<LeaseKeepAliveResponse>> + Send + use<> {
        let (replies, received) = mpsc::unbounded_channel();
        let mut caller = Caller {
            shared: self.0.clone(),
            replies,
            unanswered: 0,
        };
        let sent = leases.map(Err).chain(pending());
        select(sent, UnboundedReceiverStream::new(received).map(Ok))
            .filter_map(move |item| ready(caller.pass(item)))
            .scan(false, |failed, reply| {
                let ended = std::mem::replace(failed, reply.is_err());
                ready((!ended).then_some(reply))
            })
    }
}

impl Drop for KeepAlives {
    fn drop(&mut self) {
        self.0.state().close();
    }
}

type Reply = Result<LeaseKeepAliveResponse>;

/// One caller's side of the shared stream.
struct Caller {
    shared: Arc<Shared>,
    replies: UnboundedSender<Reply>,
    unanswered: usize,
}

impl Caller {
    /// Sends a lease on, or counts and returns a reply.
    fn pass(&mut self, item: Result<Reply, LeaseId>) -> Option<Reply> {
        match item {
            Err(lease) => {
                self.unanswered += 1;
                self.shared.clone().renew(lease, self.replies.clone());
                None
            }
            Ok(reply) => {
                self.unanswered -= 1;
                Some(reply)
            }
        }
    }
}

impl Drop for Caller {
    fn drop(&mut self) {
        // A caller that lost its patience is the only sign of a stream that has gone silent.
        if self.unanswered > 0 {
            self.shared.state().close();
        }
    }
}

#[derive(Debug)]
struct Shared {
    transport: Arc<dyn Transport>,
    state: Mutex<State>,
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn renew(self: Arc<Self>, lease: LeaseId, replies: UnboundedSender<Reply>) {
        let mut state = self.state();
        if state.driver.as_ref().is_none_or(JoinHandle::is_finished) {
            state.close();
            let (requests, outgoing) = mpsc::unbounded_channel();
            let incoming = self
                .transport
                .lease_keep_alive(Box::pin(UnboundedReceiverStream::new(outgoing)));
            state.requests = Some(requests);
            state.driver = Some(tokio::spawn(drive(incoming, self.clone())));
        }
        state.waiting.entry(lease).or_default().push_back(replies);
        // A stream that is just breaking tells all who wait.
        let _ = state.requests.as_ref().map(|requests| requests.send(lease));
    }
}

#[derive(Debug, Default)]
struct State {
    requests: Option<UnboundedSender<LeaseId>>,
    driver: Option<JoinHandle<()>>,
    /// Who waits for an answer about a lease: answers come in the order of the questions.
    waiting: BTreeMap<LeaseId, VecDeque<UnboundedSender<Reply>>>,
}

impl State {
    fn answer(&mut self, reply: LeaseKeepAliveResponse) {
        if let Some(callers) = self.waiting.get_mut(&reply.id) {
            if let Some(caller) = callers.pop_front() {
                // A caller that is gone needs no answer.
                let _ = caller.send(Ok(reply.clone()));
            }
            if callers.is_empty() {
                self.waiting.remove(&reply.id);
            }
        }
    }

    fn fail(&mut self, error: &Error) {
        self.requests = None;
        for caller in std::mem::take(&mut self.waiting).into_values().flatten() {
            let _ = caller.send(Err(error.clone()));
        }
    }

    fn close(&mut self) {
        if let Some(driver) = self.driver.take() {
            driver.abort();
        }
        self.fail(&ended());
    }
}

/// Reads the stream to its end. The task ends with the stream, or when the last user of the transport is gone.
async fn drive(mut incoming: BoxStream<Reply>, shared: Arc<Shared>) {
    let error = loop {
        match incoming.next().await {
            Some(Ok(reply)) => shared.state().answer(reply),
            Some(Err(error)) => break error,
            None => break ended(),
        }
    };
    shared.state().fail(&error);
}

fn ended() -> Error {
    Error::new(ErrorKind::Unavailable, "the keep-alive stream ended")
}
