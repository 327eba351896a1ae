//! One watch stream for all keys that a client watches for deletion.
//!
//! A watch that starts "now" is always up to date for etcd, which then reports a change as it happens; one that starts in
//! the past is visited every 100 ms. So watches are created without a start revision, and a subscriber that needs to know
//! what happened before reads the key. A watch that nobody needs any more is kept for a while: in a queue that turns, the next
//! wait is for the same keys.
//!
//! Where etcd cancels or refuses a watch (it caught up by a snapshot, the login has ended), a new stream is opened for all
//! of them, which logs in again.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use bytes::Bytes;
use etcd_lock_core::watch::{EventKind, WatchBody, WatchCreate, WatchRequest, WatchResponse};
use etcd_lock_core::{ResponseHeader, Revision, Transport};
use tokio::runtime::Handle;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio_stream::StreamExt;
use tokio_stream::wrappers::UnboundedReceiverStream;

use crate::backoff::Backoff;
use crate::tuning::Tuning;

/// News of a watched key.
#[derive(Clone, Debug)]
pub(crate) enum News {
    /// It was deleted at this revision.
    Deleted(ResponseHeader, Revision),
    /// Its watch is on, perhaps again: what happens after this revision is reported, and nothing that was before.
    On(Revision),
}

/// A receiver of the news of keys.
pub(crate) trait Subscriber: fmt::Debug + Send + Sync {
    fn notify(self: Arc<Self>, key: &Bytes, news: News);
}

/// The watches of one transport.
#[derive(Debug)]
pub(crate) struct Watches(Arc<Shared>);

impl Watches {
    pub(crate) fn new(transport: Arc<dyn Transport>, tuning: Tuning) -> Self {
        Self(Arc::new(Shared {
            transport,
            tuning,
            state: Mutex::default(),
        }))
    }

    /// Watches the deletion of a key, for one subscriber. Returns since when it is watched, where it is already.
    pub(crate) fn watch(&self, key: &Bytes, subscriber: Arc<dyn Subscriber>) -> Option<Revision> {
        let mut state = self.0.state();
        self.0.ensure_driven(&mut state);
        if let Some(entry) = state.entries.get_mut(key) {
            entry.subscriber = Some(subscriber);
            return entry.on_since;
        }
        state.last_id += 1;
        let entry = Entry {
            id: state.last_id,
            subscriber: Some(subscriber),
            on_since: None,
        };
        state.ids.insert(entry.id, key.clone());
        state.send(entry.create(key));
        state.entries.insert(key.clone(), entry);
        None
    }

    /// Starts what reads the stream where that has ended with its runtime, or could not be started outside of one.
    pub(crate) fn ensure_driven(&self) {
        let mut state = self.0.state();
        if state
            .entries
            .values()
            .any(|entry| entry.subscriber.is_some())
        {
            self.0.ensure_driven(&mut state);
        }
    }

    /// Ends the subscription of a key.
    pub(crate) fn unwatch(&self, key: &Bytes) {
        let mut state = self.0.state();
        let Some(entry) = state.entries.get_mut(key) else {
            return;
        };
        if entry.subscriber.take().is_none() {
            return;
        }
        state.idle.push_back(key.clone());
        while state.idle.len() > self.0.tuning.idle_watches {
            let Some(oldest) = state.idle.pop_front() else {
                return;
            };
            let is_idle = |entry: &Entry| entry.subscriber.is_none();
            if !state.idle.contains(&oldest) && state.entries.get(&oldest).is_some_and(is_idle) {
                state.forget(&oldest);
            }
        }
    }
}

impl Drop for Watches {
    fn drop(&mut self) {
        if let Some(driver) = self.0.state().driver.take() {
            driver.abort();
        }
    }
}

#[derive(Debug)]
struct Shared {
    transport: Arc<dyn Transport>,
    tuning: Tuning,
    state: Mutex<State>,
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Starts the task that reads the stream, also anew after the runtime that it ran on has ended.
    fn ensure_driven(self: &Arc<Self>, state: &mut State) {
        if state.driver.as_ref().is_none_or(JoinHandle::is_finished)
            && let Ok(runtime) = Handle::try_current()
        {
            state.close();
            let drive = drive(self.transport.clone(), Arc::downgrade(self));
            state.driver = Some(runtime.spawn(drive));
        }
    }
}

#[derive(Debug, Default)]
struct State {
    /// In order, so that a simulated process does the same things in the same order each time.
    entries: BTreeMap<Bytes, Entry>,
    ids: HashMap<i64, Bytes>,
    last_id: i64,
    /// Keys whose subscription has ended, longest ago first; some have got another one since.
    idle: VecDeque<Bytes>,
    requests: Option<mpsc::UnboundedSender<WatchRequest>>,
    driver: Option<JoinHandle<()>>,
}

/// The reports to make once the state is no longer locked.
type Reports = Vec<(Arc<dyn Subscriber>, Bytes, News)>;

impl State {
    fn forget(&mut self, key: &Bytes) {
        if let Some(entry) = self.entries.remove(key) {
            self.ids.remove(&entry.id);
            self.send(WatchRequest::Cancel(entry.id));
        }
    }

    /// A stream that is just breaking loses the request; opening the next one asks for all keys again.
    fn send(&self, request: WatchRequest) {
        if let Some(requests) = &self.requests {
            let _ = requests.send(request);
        }
    }

    /// A new stream: each watch gets a new id, so that nothing that comes late is taken for it.
    fn open(&mut self) -> UnboundedReceiverStream<WatchRequest> {
        let (requests, outgoing) = mpsc::unbounded_channel();
        self.ids.clear();
        for (key, entry) in &mut self.entries {
            self.last_id += 1;
            entry.id = self.last_id;
            self.ids.insert(entry.id, key.clone());
            let _ = requests.send(entry.create(key));
        }
        self.requests = Some(requests);
        UnboundedReceiverStream::new(outgoing)
    }

    /// The stream is no longer there. Keys with a subscriber are watched again on the next one.
    fn close(&mut self) {
        self.requests = None;
        self.idle.clear();
        self.entries.retain(|_, entry| entry.subscriber.is_some());
        for entry in self.entries.values_mut() {
            entry.on_since = None;
        }
    }

    /// Takes a response in: what is to be reported, and whether the stream is still of use.
    fn apply(&mut self, response: WatchResponse) -> (Reports, bool) {
        let WatchResponse {
            header, id, body, ..
        } = response;
        let Some((key, entry)) = self.entry(id) else {
            let is_refusal = id < 0 && matches!(body, WatchBody::Canceled { .. });
            return (Reports::new(), !is_refusal);
        };
        let report = |entry: &Entry, key: &Bytes, news| {
            let subscriber = entry.subscriber.clone();
            subscriber.map(|subscriber| (subscriber, key.clone(), news))
        };
        match body {
            WatchBody::Created => {
                entry.on_since = Some(header.revision);
                let on = report(entry, &key, News::On(header.revision));
                (on.into_iter().collect(), true)
            }
            WatchBody::Events(events) => {
                let mut reports = Reports::new();
                for event in events {
                    if event.kind != EventKind::Delete {
                        continue;
                    }
                    let at = event.kv.mod_revision;
                    entry.on_since = entry.on_since.max(Some(at));
                    reports.extend(report(entry, &key, News::Deleted(header, at)));
                }
                (reports, true)
            }
            WatchBody::Canceled { .. } => (Reports::new(), false),
            _ => (Reports::new(), true),
        }
    }

    fn entry(&mut self, id: i64) -> Option<(Bytes, &mut Entry)> {
        let key = self.ids.get(&id)?.clone();
        let entry = self.entries.get_mut(&key)?;
        Some((key, entry))
    }
}

#[derive(Debug)]
struct Entry {
    id: i64,
    subscriber: Option<Arc<dyn Subscriber>>,
    /// The watch is on, and everything after this revision is yet to be reported.
    on_since: Option<Revision>,
}

impl Entry {
    fn create(&self, key: &Bytes) -> WatchRequest {
        WatchRequest::Create(WatchCreate::key(self.id, key.clone()).without_puts())
    }
}

/// Reads the stream, and opens another one whenever it ends, for as long as the [`Watches`] are there.
async fn drive(transport: Arc<dyn Transport>, shared: Weak<Shared>) {
    let Some(tuning) = shared.upgrade().map(|shared| shared.tuning) else {
        return;
    };
    let mut backoff = Backoff::with(&tuning);
    loop {
        let Some(requests) = shared.upgrade().map(|shared| shared.state().open()) else {
            return;
        };
        let mut responses = transport.watch(Box::pin(requests));
        while let Some(response) = responses.next().await {
            let Some(shared) = shared.upgrade() else {
                return;
            };
            let Ok(response) = response.inspect_err(|error| {
                tracing::debug!(%error, "the watch stream ended");
            }) else {
                break;
            };
            let is_news = matches!(response.body, WatchBody::Events(_));
            let (reports, is_of_use) = shared.state().apply(response);
            for (subscriber, key, news) in reports {
                subscriber.notify(&key, news);
            }
            if !is_of_use {
                tracing::debug!("the server ended a watch");
                break;
            }
            if is_news {
                backoff = Backoff::with(&tuning);
            }
        }
        let Some(()) = shared.upgrade().map(|shared| shared.state().close()) else {
            return;
        };
        backoff.pause().await;
    }
}
