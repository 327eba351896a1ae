//! One keep-alive stream for all leases that this process keeps alive on one transport.
//!
//! A caller that leaves before its answer came may be the only one to notice that the stream has gone silent. So if nothing
//! has come on the stream for [`PATIENCE`], what is asked next goes over a new one. The old stream stays for those who
//! wait on it: it may only be slow, and a caller with little patience must not cost the others their leases.

use std::collections::{BTreeMap, VecDeque};
use std::future::ready;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use etcd_lock_core::lease::LeaseKeepAliveResponse;
use etcd_lock_core::{BoxStream, Error, ErrorKind, LeaseId, Result, Transport};
use futures_util::stream::{pending, select};
use futures_util::{Stream, StreamExt};
use tokio::sync::mpsc::{self, UnboundedSender};
use tokio::task::JoinHandle;
use tokio::time::Instant;
use tokio_stream::wrappers::UnboundedReceiverStream;

/// How long a stream may owe an answer before a caller that leaves is taken for a sign that it is silent. Less than a third
/// of the shortest lease, which is what a session waits for.
const PATIENCE: Duration = Duration::from_millis(250);

/// The keep-alive stream of one transport, opened when it is first needed.
#[derive(Debug)]
pub(crate) struct KeepAlives(Arc<Shared>);

impl KeepAlives {
    pub(crate) fn new(transport: Arc<dyn Transport>) -> Self {
        Self(Arc::new(Shared {
            transport,
            current: Mutex::default(),
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
            asked_on: Vec::new(),
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
        if let Some(line) = self.0.current().take() {
            line.end(&ended());
        }
    }
}

type Reply = Result<LeaseKeepAliveResponse>;

/// One caller's side of the shared stream.
struct Caller {
    shared: Arc<Shared>,
    replies: UnboundedSender<Reply>,
    unanswered: usize,
    /// The streams on which it asked: a second one where the first was retired.
    asked_on: Vec<Arc<Line>>,
}

impl Caller {
    /// Sends a lease on, or returns a reply.
    fn pass(&mut self, item: Result<Reply, LeaseId>) -> Option<Reply> {
        match item {
            Err(lease) => {
                let line = self.shared.line();
                line.ask(lease, self.replies.clone());
                self.unanswered += 1;
                self.asked_on
                    .retain(|other| other.is_open() && !Arc::ptr_eq(other, &line));
                self.asked_on.push(line);
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
        let owing = if self.unanswered > 0 {
            &*self.asked_on
        } else {
            &[]
        };
        for line in owing {
            if line.forget(&self.replies) {
                self.shared.retire(line);
            }
        }
    }
}

#[derive(Debug)]
struct Shared {
    transport: Arc<dyn Transport>,
    current: Mutex<Option<Arc<Line>>>,
}

impl Shared {
    fn current(&self) -> MutexGuard<'_, Option<Arc<Line>>> {
        self.current.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The stream for the next renewal, also anew after the runtime that it ran on has ended.
    fn line(&self) -> Arc<Line> {
        let mut current = self.current();
        match &*current {
            Some(line) if line.is_open() => line.clone(),
            _ => {
                let line = Line::open(&*self.transport);
                if let Some(old) = current.replace(line.clone()) {
                    old.end(&ended());
                }
                line
            }
        }
    }

    /// Has the next renewal go over another stream.
    fn retire(&self, line: &Arc<Line>) {
        let mut current = self.current();
        if current.as_ref().is_some_and(|it| Arc::ptr_eq(it, line)) {
            *current = None;
        }
    }
}

/// One stream of the transport.
#[derive(Debug, Default)]
struct Line(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    requests: Option<UnboundedSender<LeaseId>>,
    driver: Option<JoinHandle<()>>,
    /// The callers that wait for an answer about a lease: answers come in the order of the questions. `None` has left.
    waiting: BTreeMap<LeaseId, VecDeque<Option<UnboundedSender<Reply>>>>,
    /// Since when it has owed an answer without giving any.
    silent_since: Option<Instant>,
    /// Nothing new is asked on it: it ends when nobody waits on it any more.
    is_retired: bool,
}

impl Line {
    fn open(transport: &dyn Transport) -> Arc<Self> {
        let (requests, outgoing) = mpsc::unbounded_channel();
        let incoming = transport.lease_keep_alive(Box::pin(UnboundedReceiverStream::new(outgoing)));
        let line = Arc::new(Self::default());
        // Locked, so that a stream that fails at once finds here what it has to end.
        let mut state = line.state();
        state.requests = Some(requests);
        state.driver = Some(tokio::spawn(drive(incoming, line.clone())));
        drop(state);
        line
    }

    fn is_open(&self) -> bool {
        let state = self.state();
        state.driver.as_ref().is_some_and(|it| !it.is_finished())
    }

    fn ask(&self, lease: LeaseId, replies: UnboundedSender<Reply>) {
        let mut state = self.state();
        let Some(requests) = &state.requests else {
            // A caller that has just left needs no answer.
            let _ = replies.send(Err(ended()));
            return;
        };
        // A stream that is just breaking tells all who wait.
        let _ = requests.send(lease);
        state.silent_since.get_or_insert_with(Instant::now);
        let waiting = state.waiting.entry(lease).or_default();
        waiting.push_back(Some(replies));
    }

    /// Passes an answer on. Returns whether the stream is still needed.
    fn answer(&self, reply: LeaseKeepAliveResponse) -> bool {
        let mut state = self.state();
        if let Some(callers) = state.waiting.get_mut(&reply.id) {
            if let Some(Some(caller)) = callers.pop_front() {
                // A caller that has just left needs no answer.
                let _ = caller.send(Ok(reply.clone()));
            }
            if callers.is_empty() {
                state.waiting.remove(&reply.id);
            }
        }
        state.silent_since = (!state.waiting.is_empty()).then(Instant::now);
        !state.is_retired || state.is_waited_on()
    }

    /// Forgets a caller that leaves. Returns whether that is a sign that the stream has gone silent.
    fn forget(&self, caller: &UnboundedSender<Reply>) -> bool {
        let mut state = self.state();
        for waiting in state.waiting.values_mut().flatten() {
            waiting.take_if(|other| other.same_channel(caller));
        }
        let silent = state.silent_since;
        state.is_retired |= silent.is_some_and(|since| since.elapsed() >= PATIENCE);
        let (is_retired, is_needed) = (state.is_retired, state.is_waited_on());
        drop(state);
        if is_retired && !is_needed {
            self.end(&ended());
        }
        is_retired
    }

    /// Ends the stream, and tells all who wait on it.
    fn end(&self, error: &Error) {
        let mut state = self.state();
        state.requests = None;
        if let Some(driver) = state.driver.take() {
            driver.abort();
        }
        let waiting = std::mem::take(&mut state.waiting);
        for caller in waiting.into_values().flatten().flatten() {
            let _ = caller.send(Err(error.clone()));
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn is_waited_on(&self) -> bool {
        self.waiting.values().flatten().any(Option::is_some)
    }
}

/// Reads the stream to its end. The task ends with the stream, or when nobody needs it any more.
async fn drive(mut incoming: BoxStream<Reply>, line: Arc<Line>) {
    let error = loop {
        match incoming.next().await {
            Some(Ok(reply)) => {
                if !line.answer(reply) {
                    break ended();
                }
            }
            Some(Err(error)) => break error,
            None => break ended(),
        }
    };
    line.end(&error);
}

fn ended() -> Error {
    Error::new(ErrorKind::Unavailable, "the keep-alive stream ended")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_renewal_that_comes_after_the_end_of_its_stream_is_answered() {
        let line = Line::default();
        line.end(&ended());
        let (replies, mut received) = mpsc::unbounded_channel();
        line.ask(LeaseId::new(1).unwrap(), replies);
        let reply = received.try_recv().unwrap();
        assert_eq!(reply.unwrap_err().kind(), ErrorKind::Unavailable);
    }
}
