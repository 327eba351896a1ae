//! One watch stream for everything that this process waits for on one transport.
//!
//! A watch that starts "now" is always up to date for etcd, which then tells of a change as it happens; one that starts
//! in the past is visited every 100 ms. So watches are created without a start revision, and kept for a while after
//! their last follower is gone: in a queue that turns, the next wait is for the same keys.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use bytes::Bytes;
use etcd_lock_core::watch::{EventKind, WatchBody, WatchCreate, WatchRequest, WatchResponse};
use etcd_lock_core::{Error, ErrorKind, ResponseHeader, Revision, Transport};
use tokio::sync::{Notify, mpsc};
use tokio::task::JoinHandle;
use tokio_stream::StreamExt;
use tokio_stream::wrappers::UnboundedReceiverStream;

use crate::backoff::Backoff;
use crate::queue::Successors;
use crate::tuning::Tuning;

/// The watches of one transport.
#[derive(Debug)]
pub(crate) struct Watches {
    shared: Arc<Shared>,
}

impl Watches {
    pub(crate) fn new(transport: Arc<dyn Transport>, tuning: Tuning) -> Self {
        let state = State {
            tuning,
            ..State::default()
        };
        Self {
            shared: Arc::new(Shared {
                transport,
                tuning,
                state: Mutex::new(state),
            }),
        }
    }

    /// Follows keys: the follower is told of each deletion, and of each loss and return of the stream. Of a neighbour, who is
    /// one of them, it is also told what its entry said.
    pub(crate) fn follow(
        &self,
        keys: impl IntoIterator<Item = Bytes>,
        neighbour: Option<&Bytes>,
    ) -> Follower {
        let follower = Follower {
            shared: self.shared.clone(),
            keys: keys.into_iter().collect(),
            changed: Arc::new(Notify::new()),
        };
        let mut state = self.shared.state();
        for key in &follower.keys {
            state.add(key, neighbour == Some(key), follower.changed.clone());
        }
        self.shared.clone().ensure_driven(&mut state);
        follower
    }

    /// Notes that a key of this process holds its lock, so that its deletion is known to pass the lock on.
    pub(crate) fn note_grant(&self, key: &Bytes, created: Revision) {
        if let Some(entry) = self.shared.state().entries.get_mut(key) {
            entry.news.granted = created;
        }
    }

    /// Notes that a hold of this process is over, although its key is there for a moment yet.
    pub(crate) fn note_over(&self, key: &Bytes, created: Revision) {
        if let Some(entry) = self.shared.state().entries.get_mut(key) {
            entry.news.over = created;
            entry.tell();
        }
    }

    /// Notes who stood before an entry of ours in a long line, for as long as its key is watched.
    pub(crate) fn note_neighbour(&self, own: &Bytes, neighbour: Option<&Bytes>) {
        if let Some(entry) = self.shared.state().entries.get_mut(own) {
            entry.neighbour = neighbour.cloned();
        }
    }

    /// Who stood before an entry of ours when its line was last read, where that was somebody of another process: the
    /// release of one of this process is a grant by itself, but only if the line was read.
    pub(crate) fn neighbour(&self, own: &Bytes) -> Option<Bytes> {
        let state = self.shared.state();
        let neighbour = state.entries.get(own)?.neighbour.as_ref()?;
        let watched = state.entries.get(neighbour);
        (!watched.is_some_and(Entry::is_ours)).then(|| neighbour.clone())
    }
}

impl Drop for Watches {
    fn drop(&mut self) {
        if let Some(driver) = self.shared.state().driver.take() {
            driver.abort();
        }
    }
}

/// What is known of one key.
#[derive(Clone, Debug, Default)]
pub(crate) struct News {
    /// The watch tells of everything after this revision; `None` while there is no watch.
    pub(crate) since: Option<Revision>,
    /// Whether the watch is known to be up to date: it has told of something. etcd puts a watch that is created while
    /// the store changes behind those that are up to date, and visits it every 100 ms.
    pub(crate) proven: bool,
    /// The last deletion seen, or zero.
    pub(crate) deleted: Revision,
    /// The last grant of this process under this key, by the key's create revision, or zero.
    pub(crate) granted: Revision,
    /// The last hold of this process under this key that is over, by the key's create revision, or zero.
    pub(crate) over: Revision,
    /// What came with the last deletion.
    pub(crate) header: ResponseHeader,
    /// The entry that it ended, by create revision, and who came behind that when it was its turn.
    pub(crate) left: Option<(Revision, Successors)>,
    /// Why this key can't be watched.
    pub(crate) error: Option<Error>,
}

/// Somebody who waits for news of some keys.
#[derive(Debug)]
pub(crate) struct Follower {
    shared: Arc<Shared>,
    keys: Vec<Bytes>,
    changed: Arc<Notify>,
}

impl Follower {
    /// Waits until there may be news. News that came since the last call end it at once.
    ///
    /// # Cancel safety
    /// Nothing is missed.
    pub(crate) async fn changed(&self) {
        self.changed.notified().await;
    }

    /// The last deletion of one of the followed keys that was seen, or zero.
    pub(crate) fn deleted(&self, key: &Bytes) -> Revision {
        let state = self.shared.state();
        let entry = state.entries.get(key);
        entry.map_or(Revision::ZERO, |entry| entry.news.deleted)
    }

    /// Notes that a read showed that the key of this create revision is gone, which no watch may tell any more.
    pub(crate) fn note_gone(&self, key: &Bytes, created: Revision, header: ResponseHeader) {
        if let Some(entry) = self.shared.state().entries.get_mut(key) {
            entry.gone(created, header);
        }
    }

    /// What is known of one of the followed keys.
    pub(crate) fn news(&self, key: &Bytes) -> News {
        let state = self.shared.state();
        state
            .entries
            .get(key)
            .map(|entry| entry.news.clone())
            .unwrap_or_default()
    }
}

impl Drop for Follower {
    fn drop(&mut self) {
        let mut state = self.shared.state();
        for key in &self.keys {
            state.remove(key, &self.changed);
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
    fn ensure_driven(self: Arc<Self>, state: &mut State) {
        if state.driver.as_ref().is_none_or(JoinHandle::is_finished) {
            let transport = self.transport.clone();
            state.driver = Some(tokio::spawn(drive(transport, Arc::downgrade(&self))));
        }
    }
}

#[derive(Debug, Default)]
struct State {
    tuning: Tuning,
    /// In order, so that a simulated process does the same things in the same order each time.
    entries: BTreeMap<Bytes, Entry>,
    ids: HashMap<i64, Bytes>,
    last_id: i64,
    /// Keys whose last follower is gone, longest ago first; some have got a follower again.
    idle: VecDeque<Bytes>,
    requests: Option<mpsc::UnboundedSender<WatchRequest>>,
    driver: Option<JoinHandle<()>>,
}

impl State {
    /// A watch that is there is used, unless it can't say what a neighbour's entry said.
    fn add(&mut self, key: &Bytes, is_neighbour: bool, follower: Arc<Notify>) {
        let serves = |entry: &Entry| {
            entry.news.error.is_none() && (entry.is_neighbour || !is_neighbour || entry.is_ours())
        };
        if !self.entries.get(key).is_some_and(serves) {
            self.last_id += 1;
            self.ids.insert(self.last_id, key.clone());
            let new = Entry::new(self.last_id, is_neighbour);
            self.send(new.create(key));
            if let Some(old) = self.entries.insert(key.clone(), new) {
                self.ids.remove(&old.id);
                self.send(WatchRequest::Cancel(old.id));
                self.followers(key).extend(old.followers);
            }
        }
        self.followers(key).push(follower);
    }

    fn remove(&mut self, key: &Bytes, follower: &Arc<Notify>) {
        let followers = self.followers(key);
        followers.retain(|other| !Arc::ptr_eq(other, follower));
        if !followers.is_empty() {
            return;
        }
        self.idle.push_back(key.clone());
        while self.idle.len() > self.tuning.idle_watches {
            let Some(oldest) = self.idle.pop_front() else {
                return;
            };
            let again = self.idle.contains(&oldest);
            let unused = |entry: &Entry| entry.followers.is_empty();
            if !again && self.entries.get(&oldest).is_some_and(unused) {
                self.forget(&oldest);
            }
        }
    }

    /// In a long queue everybody's neighbours change now and then: those who stand somewhere else now come and go without
    /// anybody here who cares, and etcd need not tell of it.
    fn forget_unheard(&mut self, id: i64) {
        let Some(key) = self.ids.get(&id).cloned() else {
            return;
        };
        let unheard =
            |entry: &Entry| entry.is_neighbour && !entry.is_ours() && entry.followers.is_empty();
        if self.entries.get(&key).is_some_and(unheard) {
            self.forget(&key);
        }
    }

    fn forget(&mut self, key: &Bytes) {
        if let Some(entry) = self.entries.remove(key) {
            self.ids.remove(&entry.id);
            self.send(WatchRequest::Cancel(entry.id));
        }
    }

    fn followers(&mut self, key: &Bytes) -> &mut Vec<Arc<Notify>> {
        &mut self.entries.entry(key.clone()).or_default().followers
    }

    /// A stream that is just breaking loses the request; opening the next one asks for all keys again.
    fn send(&self, request: WatchRequest) {
        if let Some(requests) = &self.requests {
            let _ = requests.send(request);
        }
    }

    fn opened(&mut self, requests: mpsc::UnboundedSender<WatchRequest>) {
        for (key, entry) in &self.entries {
            let _ = requests.send(entry.create(key));
        }
        self.requests = Some(requests);
    }

    fn broken(&mut self, error: Option<&Error>) {
        self.requests = None;
        for entry in self.entries.values_mut() {
            entry.news.since = None;
            entry.news.proven = false;
            entry.news.error = error.filter(|error| is_final(error)).cloned();
            entry.tell();
        }
    }

    fn apply(&mut self, response: WatchResponse) {
        let WatchResponse {
            header, id, body, ..
        } = response;
        match body {
            WatchBody::Created => self.with(id, |entry| {
                entry.news.since = Some(header.revision);
                entry.tell();
            }),
            WatchBody::Events(events) => {
                for event in events
                    .into_iter()
                    .filter(|event| event.kind == EventKind::Delete)
                {
                    let left = event.prev_kv.and_then(|before| {
                        let successors = Successors::read(&before.value, before.create_revision)?;
                        Some((before.create_revision, successors))
                    });
                    self.with(id, |entry| {
                        entry.deleted(event.kv.mod_revision, header, left);
                    });
                    self.forget_unheard(id);
                }
            }
            WatchBody::Canceled { reason, .. } => self.canceled(id, reason),
            _ => {}
        }
    }

    /// A watch that was refused has no id, so every watch that isn't on yet is told.
    fn canceled(&mut self, id: i64, reason: String) {
        let error = refusal(reason);
        for entry in self.entries.values_mut() {
            if entry.id == id || (id < 0 && entry.news.since.is_none()) {
                entry.news.since = None;
                entry.news.error = Some(error.clone());
                entry.tell();
            }
        }
    }

    fn with(&mut self, id: i64, change: impl FnOnce(&mut Entry)) {
        let key = self.ids.get(&id);
        if let Some(entry) = key.and_then(|key| self.entries.get_mut(key)) {
            change(entry);
        }
    }
}

#[derive(Debug, Default)]
struct Entry {
    id: i64,
    news: News,
    neighbour: Option<Bytes>,
    /// It is watched as the neighbour of an entry of ours in a long line: with what it said, and for as long as anybody
    /// cares.
    is_neighbour: bool,
    followers: Vec<Arc<Notify>>,
}

impl Entry {
    fn new(id: i64, is_neighbour: bool) -> Self {
        Self {
            id,
            is_neighbour,
            ..Self::default()
        }
    }

    /// Whether it has been an entry of this process.
    fn is_ours(&self) -> bool {
        self.news.granted > Revision::ZERO
    }

    fn create(&self, key: &Bytes) -> WatchRequest {
        let watch = WatchCreate::key(self.id, key.clone()).without_puts();
        // Only of those that may say something, since etcd reads it up.
        WatchRequest::Create(match self.is_neighbour {
            true => watch.with_prev_kv(),
            false => watch,
        })
    }

    fn deleted(
        &mut self,
        revision: Revision,
        header: ResponseHeader,
        left: Option<(Revision, Successors)>,
    ) {
        self.news.proven = true;
        if revision > self.news.deleted {
            self.news.deleted = revision;
            self.news.header = header;
            self.news.left = left;
            self.tell();
        }
    }

    /// When it was deleted isn't known; at this revision at the earliest, which says nothing of a later key.
    fn gone(&mut self, created: Revision, header: ResponseHeader) {
        if self.news.deleted <= created {
            self.news.deleted = created.next();
            self.news.header = header;
            self.news.left = None;
            self.tell();
        }
    }

    fn tell(&self) {
        for follower in &self.followers {
            follower.notify_one();
        }
    }
}

/// Reads the stream, and opens it again whenever it breaks, for as long as somebody has the [`Watches`].
async fn drive(transport: Arc<dyn Transport>, shared: Weak<Shared>) {
    let Some(tuning) = shared.upgrade().map(|alive| alive.tuning) else {
        return;
    };
    let mut backoff = Backoff::with(&tuning);
    loop {
        let (requests, outgoing) = mpsc::unbounded_channel();
        let Some(alive) = shared.upgrade() else {
            return;
        };
        alive.state().opened(requests);
        drop(alive);
        let mut responses = transport.watch(Box::pin(UnboundedReceiverStream::new(outgoing)));
        let mut error = None;
        while let Some(response) = responses.next().await {
            let Some(alive) = shared.upgrade() else {
                return;
            };
            match response {
                Ok(response) => {
                    backoff = Backoff::with(&tuning);
                    alive.state().apply(response);
                }
                Err(broken) => {
                    error = Some(broken);
                    break;
                }
            }
        }
        tracing::debug!(
            error = error.as_ref().map(tracing::field::display),
            "watch stream ended"
        );
        let Some(alive) = shared.upgrade() else {
            return;
        };
        alive.state().broken(error.as_ref());
        drop(alive);
        backoff.pause().await;
    }
}

/// Whether trying again can't help.
fn is_final(error: &Error) -> bool {
    !matches!(
        error.kind(),
        ErrorKind::Unavailable
            | ErrorKind::Timeout
            | ErrorKind::ResourceExhausted
            | ErrorKind::Server
    )
}

/// etcd gives the reason of a refused watch as text alone.
fn refusal(reason: String) -> Error {
    let kind = if reason.contains("permission denied") {
        ErrorKind::PermissionDenied
    } else if reason.contains("auth token") || reason.contains("user name is empty") {
        ErrorKind::Unauthenticated
    } else {
        ErrorKind::Server
    };
    Error::new(kind, "the server ended the watch on the lock's queue").with_server_text(reason)
}
