//! The machine of one lock: what each input does, and what is asked of etcd then.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use etcd_lock_core::{LeaseId, LockKey, LockName, Revision};

use crate::entry::{Call, OwnEntry, Stage, State};
use crate::io::{CallerId, Failure, Input, Output, Stamp, Timer, Validity};
use crate::knowledge::{EntryId, Knowledge, Verdict};
use crate::value::Nonce;
use crate::watching::Watches;

/// The lock of one name, as one client takes part in its queue.
///
/// A driver feeds it with [`handle`](Self::handle), and after each input does what [`poll_output`](Self::poll_output)
/// returns, until it returns `None`. See the [crate's page](crate) for the rules.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub struct LockQueue {
    pub(crate) name: LockName,
    /// The entries of this client's sessions.
    pub(crate) own: BTreeMap<LeaseId, OwnEntry>,
    pub(crate) index: Index,
    pub(crate) knowledge: Knowledge,
    pub(crate) watches: Watches,
    pub(crate) reads: Reads,
    pub(crate) outputs: VecDeque<Output>,
}

/// The sessions by what is asked of them, so that an input costs no more in a crowd than in a short queue.
#[derive(Clone, Debug, Default, Eq, Hash, PartialEq)]
pub(crate) struct Index {
    /// Those with an entry, in the order of the queue.
    pub(crate) entries: BTreeMap<EntryId, LeaseId>,
    /// Those of them whose entry waits.
    pub(crate) waiting: BTreeMap<EntryId, LeaseId>,
    /// Those with callers that do not wait.
    pub(crate) trying: BTreeSet<LeaseId>,
    /// Those whose position somebody wants to know.
    pub(crate) asking: BTreeSet<LeaseId>,
    /// Those of which something has changed since [`settle`](LockQueue::settle).
    pub(crate) changed: BTreeSet<LeaseId>,
    /// Entries that are in another state since then, or no longer this client's.
    pub(crate) moved: Vec<EntryId>,
}

/// The reads under way. Each is shared by all who need it.
#[derive(Clone, Debug, Default, Eq, Hash, PartialEq)]
pub(crate) struct Reads {
    pub(crate) snapshot_sent: bool,
    /// The keys that are being read by themselves.
    pub(crate) checking: Option<Vec<LockKey>>,
    /// The keys that are to be read next.
    pub(crate) unchecked: BTreeSet<LockKey>,
    /// One failed: the next ones wait for the timer.
    pub(crate) is_paused: bool,
}

impl LockQueue {
    /// The lock of this name, in whose queue this client has no entry.
    #[must_use]
    pub const fn new(name: LockName) -> Self {
        Self {
            name,
            own: BTreeMap::new(),
            index: Index::new(),
            knowledge: Knowledge::new(),
            watches: Watches::new(),
            reads: Reads::new(),
            outputs: VecDeque::new(),
        }
    }

    /// Takes an input in.
    pub fn handle(&mut self, input: Input, validity: &dyn Validity) {
        match input {
            Input::Acquire {
                session,
                caller,
                mode,
                nonce,
                limits,
            } => self.acquire(session, (caller, mode), nonce, limits),
            Input::Attach {
                session,
                caller,
                limits,
                entry,
            } => self.attach(session, caller, limits, entry),
            Input::Cancel(session, caller) => self.cancel(session, caller, validity),
            Input::Release(session, caller) => {
                self.release(session, caller, Some(caller), validity);
            }
            Input::WriteSent(session, caller) => self.count_write(session, caller, 1),
            Input::WriteAnswered(session, caller) => self.count_write(session, caller, -1),
            Input::Replied {
                request,
                sent,
                reply,
            } => self.replied(request, sent, reply),
            Input::Failed(request, failure) => self.failed(request, failure),
            Input::Observed { sent, observations } => self.observe(sent, &observations),
            Input::Deleted(key, revision) => self.key_deleted(&key, revision),
            Input::Watching(key, revision) => {
                if self.watches.has(&key) && self.knowledge.has_gap(&key, revision) {
                    self.reads.unchecked.insert(key);
                }
            }
            Input::WatchLost(key) => {
                if self.watches.has(&key) {
                    self.outputs.push_back(Output::Watch(key));
                }
            }
            Input::SessionEnded(session) => self.end_session(session),
            Input::AskPosition(session) => {
                if let Some(own) = self.own.get_mut(&session) {
                    own.position = Some(None);
                    self.index.asking.insert(session);
                }
            }
            Input::Fired(timer) => self.fire(timer, validity),
        }
        self.settle(validity);
    }

    /// The next thing to do, if there is one.
    pub fn poll_output(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    /// The name of the lock.
    #[must_use]
    pub const fn name(&self) -> &LockName {
        &self.name
    }

    /// The key of a session's entry, whether there is one or not.
    #[must_use]
    pub fn key(&self, session: LeaseId) -> LockKey {
        let own = self.own.get(&session);
        own.map_or_else(|| self.name.key(session), |own| own.key.clone())
    }

    /// Whether the client has nothing to do with the lock any more, so that the machine can be dropped.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        self.own.is_empty() && self.reads == Reads::new() && self.outputs.is_empty()
    }

    /// The keys to read in the heartbeat of a session: its own entry, or the key where one of a request in doubt may yet
    /// appear, and the direct predecessor of an entry that waits.
    pub fn heartbeat(&self, session: LeaseId) -> impl Iterator<Item = LockKey> + use<> {
        let own = self.own.get(&session);
        let id = own.and_then(OwnEntry::id);
        let key = own
            .filter(|own| own.in_doubt || id.is_some())
            .map(|own| own.key.clone());
        let waiting = id.filter(|_| own.is_some_and(OwnEntry::is_waiting));
        let predecessor = waiting.and_then(|id| self.knowledge.predecessors(&id).next_back());
        key.into_iter()
            .chain(predecessor.map(|entry| entry.key.clone()))
    }

    /// The caller that holds the lock for a session, and when the entry was confirmed last: it is held for as long as
    /// [`Validity::is_valid`] says so of that stamp.
    #[must_use]
    pub fn holder(&self, session: LeaseId) -> Option<(CallerId, Stamp)> {
        match &self.own.get(&session)?.state {
            State::Held(hold) => Some((hold.holder, hold.seen.confirmed)),
            _ => None,
        }
    }

    /// Whether anything is left to do for a session: a caller wants the lock, an entry exists, or one may yet appear.
    #[must_use]
    pub fn is_involved(&self, session: LeaseId) -> bool {
        self.own.contains_key(&session)
    }

    /// How many callers of its session are before one that wants the lock, the holder included.
    #[must_use]
    pub fn callers_before(&self, session: LeaseId, caller: CallerId) -> Option<usize> {
        let own = self.own.get(&session)?;
        let place = own.callers.iter().position(|(other, _)| *other == caller)?;
        Some(place + usize::from(matches!(own.state, State::Held(_))))
    }

    /// The entry of a session that exists, as far as is known.
    #[must_use]
    pub fn entry(&self, session: LeaseId) -> Option<EntryId> {
        self.own.get(&session).and_then(OwnEntry::id)
    }

    /// The nonce in the entry of a session, while there is one.
    #[must_use]
    pub fn nonce(&self, session: LeaseId) -> Option<Nonce> {
        let own = self.own.get(&session)?;
        own.id().map(|_| own.nonce)
    }

    /// Whether the lock is known to be another's before it can be this caller's: an older entry was not seen deleted, or another
    /// caller of its session comes first.
    #[must_use]
    pub fn is_behind(&self, session: LeaseId, caller: CallerId) -> bool {
        if let Some((holder, _)) = self.holder(session) {
            return holder != caller;
        }
        let entry = self.entry(session);
        let verdict = entry.map(|entry| self.knowledge.verdict(&entry));
        let comes_later = self.callers_before(session, caller) > Some(0);
        comes_later || matches!(verdict, Some(Verdict::Behind(_)))
    }

    /// When the latest request was sent that showed the entry of a session, while it waits or is held.
    #[must_use]
    pub fn confirmed(&self, session: LeaseId) -> Option<Stamp> {
        let seen = self.own.get(&session)?.seen()?;
        Some(seen.confirmed)
    }

    /// How far the entry of a session has come.
    #[must_use]
    pub fn stage(&self, session: LeaseId) -> Stage {
        let Some(own) = self.own.get(&session) else {
            return Stage::Idle;
        };
        match &own.state {
            State::Idle if own.in_doubt => Stage::InDoubt,
            State::Idle => Stage::Idle,
            State::Entering(Call::Failed) if own.in_doubt => Stage::InDoubt,
            State::Entering(_) => Stage::Entering,
            State::Waiting(_) => Stage::Waiting,
            State::Held(_) => Stage::Held,
            State::Releasing(_) => Stage::Releasing,
        }
    }

    fn key_deleted(&mut self, key: &LockKey, revision: Revision) {
        self.knowledge.deleted(key, revision);
        if let Some(session) = self.session_of(key) {
            let id = self.own.get(&session).and_then(OwnEntry::id);
            if id.is_some_and(|id| id.created <= revision) {
                self.entry_gone(session);
            }
        }
    }

    fn end_session(&mut self, session: LeaseId) {
        let Some(state) = self.set_state(session, State::Idle) else {
            return;
        };
        let Some(own) = self.own.remove(&session) else {
            return;
        };
        let lost = |caller| Output::Failed(caller, Failure::SessionLost);
        match state {
            State::Held(hold) => self.outputs.push_back(Output::Lost(hold.holder)),
            State::Releasing(release) => self.outputs.extend(release.caller.map(lost)),
            _ => {}
        }
        let callers = own.callers.into_iter();
        self.outputs.extend(callers.map(|(caller, _)| lost(caller)));
    }

    fn fire(&mut self, timer: Timer, validity: &dyn Validity) {
        match timer {
            Timer::Retry(session) => self.retry(session),
            Timer::Reads => self.reads.is_paused = false,
            Timer::Ask(session) => self.ask(session),
            Timer::Turn(session) => self.end_turn(session),
            Timer::Aged(session) => {
                if let Some(seen) = self.own.get_mut(&session).and_then(OwnEntry::seen_mut) {
                    seen.is_aged = true;
                    self.index.changed.insert(session);
                }
            }
            Timer::Expired(session) => self.expire(session, validity),
        }
    }

    /// Changes the state of a session's entry, and returns the one before.
    pub(crate) fn set_state(&mut self, session: LeaseId, state: State) -> Option<State> {
        let own = self.own.get_mut(&session)?;
        if let Some(id) = own.id() {
            self.index.entries.remove(&id);
            self.index.waiting.remove(&id);
            self.index.moved.push(id);
        }
        let before = std::mem::replace(&mut own.state, state);
        if let Some(id) = own.id() {
            if own.is_waiting() {
                self.index.waiting.insert(id.clone(), session);
            }
            self.index.entries.insert(id, session);
        }
        self.index.changed.insert(session);
        Some(before)
    }

    /// The session of this client that a key belongs to.
    pub(crate) fn session_of(&self, key: &LockKey) -> Option<LeaseId> {
        let (name, session) = key.parts()?;
        (name == self.name && self.own.contains_key(&session)).then_some(session)
    }
}

impl Index {
    const fn new() -> Self {
        Self {
            entries: BTreeMap::new(),
            waiting: BTreeMap::new(),
            trying: BTreeSet::new(),
            asking: BTreeSet::new(),
            changed: BTreeSet::new(),
            moved: Vec::new(),
        }
    }
}

impl Reads {
    const fn new() -> Self {
        Self {
            snapshot_sent: false,
            checking: None,
            unchecked: BTreeSet::new(),
            is_paused: false,
        }
    }
}
