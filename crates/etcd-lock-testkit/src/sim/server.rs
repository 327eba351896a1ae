//! The server of the simulated world: the model of the in-memory etcd, and which process sent each request.

use std::collections::BTreeMap;
use std::time::Duration;

use etcd_lock_core::watch::{Event, WatchBody, WatchResponse};
use etcd_lock_core::{Error, LockKey, LockResponse, Result, Revision};
use etcd_lock_memory::Status;
use etcd_lock_memory::model::{LockCall, LockWait, Model, ModelOptions, StreamId};
use etcd_lock_proto::{etcdserverpb as pb, v3lockpb};

use super::hub::{Call, Reply, StreamItem};
use super::process::Micros;
use super::scenario::Etcd;
use super::world::client;
use crate::faults::WatchFault;
use crate::history::{Author, Client};

/// How often etcd looks for leases that have ended.
const EXPIRY_CHECKS: Duration = Duration::from_millis(500);

/// A call or a stream of one life of a process.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(super) struct Who {
    pub(super) process: usize,
    pub(super) life: u32,
    pub(super) id: u64,
}

impl Who {
    pub(super) fn client(self) -> Client {
        client(self.process, self.life)
    }

    pub(super) fn author(self) -> Author {
        Author::Client(self.client())
    }
}

/// The replies of a stream.
#[derive(Clone, Debug)]
pub(super) enum Down {
    KeepAlive(Result<etcd_lock_core::lease::LeaseKeepAliveResponse>),
    Watch(Result<WatchResponse>),
}

pub(super) struct Server {
    model: Model,
    recorder: StreamId,
    streams: BTreeMap<Who, StreamId>,
    clients: BTreeMap<StreamId, Who>,
    locks: BTreeMap<LockCall, Who>,
    /// Calls of `Lock` that were granted by a member that will learn of their end before it learns of the grant.
    unnoticed: BTreeMap<Who, LockKey>,
    /// The faults of the watches of processes, which befall their later streams, too.
    watch_faults: Vec<(usize, WatchFault)>,
    /// A member that is behind, whose reads are answered as of some time ago.
    behind: Option<Box<Model>>,
}

impl Server {
    pub(super) fn new(etcd: &Etcd) -> Self {
        let mut options = ModelOptions::new().with_version(etcd.version);
        if etcd.late_expiry {
            options = options.with_expiry_checks(EXPIRY_CHECKS);
        }
        let mut model = Model::new(options);
        let recorder = model.open_watch_stream();
        let all = pb::WatchCreateRequest {
            key: vec![0].into(),
            range_end: vec![0].into(),
            prev_kv: true,
            ..pb::WatchCreateRequest::default()
        };
        let union = pb::watch_request::RequestUnion::CreateRequest(all);
        let request = pb::WatchRequest {
            request_union: Some(union),
        };
        model.watch(recorder, request);
        Self {
            model,
            recorder,
            streams: BTreeMap::new(),
            clients: BTreeMap::new(),
            locks: BTreeMap::new(),
            unnoticed: BTreeMap::new(),
            watch_faults: Vec::new(),
            behind: None,
        }
    }

    pub(super) fn advance(&mut self, now: Micros) {
        self.model.advance(Duration::from_micros(now));
    }

    pub(super) fn next_deadline(&self) -> Option<Micros> {
        let deadline = self.model.next_deadline()?;
        u64::try_from(deadline.as_micros()).ok()
    }

    /// Executes a call; a `Lock` that waits has no answer yet.
    pub(super) fn execute(&mut self, who: Who, call: &Call) -> Option<Result<Reply>> {
        let Call::Lock(request) = call else {
            return execute(&mut self.model, call);
        };
        match self.model.lock(&request.clone().into()) {
            LockWait::Done(answer) => Some(locked(answer)),
            LockWait::Waiting(call) => {
                self.locks.insert(call, who);
                None
            }
        }
    }

    /// Has a member fall behind: it stays as all are now.
    pub(super) fn fall_behind(&mut self) {
        self.behind = Some(Box::new(self.model.clone()));
    }

    /// The answer of the member that is behind to a read.
    pub(super) fn read_behind(&mut self, call: &Call) -> Option<Result<Reply>> {
        execute(self.behind.as_mut()?, call)
    }

    pub(super) fn change_leader(&mut self) {
        self.model.change_leader();
    }

    pub(super) fn begin_watch_fault(&mut self, process: usize, fault: WatchFault) {
        self.each_stream(process, |model, stream| fault.begin(model, stream));
        if fault.is_lasting() {
            self.watch_faults.push((process, fault));
        }
    }

    pub(super) fn end_watch_fault(&mut self, process: usize, fault: &WatchFault) {
        self.each_stream(process, |model, stream| fault.end(model, stream));
        self.watch_faults
            .retain(|(of, other)| *of != process || other != fault);
    }

    fn each_stream(&mut self, process: usize, act: impl Fn(&mut Model, StreamId)) {
        for (who, stream) in &self.streams {
            if who.process == process {
                act(&mut self.model, *stream);
            }
        }
    }

    /// The events that were lost since this was last asked.
    pub(super) fn lost_events(&mut self) -> Vec<(Who, Event)> {
        let mut lost = Vec::new();
        for (who, stream) in &self.streams {
            for event in self.model.take_dropped_events(*stream) {
                // The events of the model can be read.
                lost.extend(Event::try_from(event).ok().map(|event| (*who, event)));
            }
        }
        lost
    }

    /// The answers to calls of `Lock` that have waited.
    pub(super) fn answered_locks(&mut self) -> Vec<(Who, Result<Reply>)> {
        let calls: Vec<_> = self.model.answered_locks().collect();
        let mut answers = Vec::new();
        for call in calls {
            let answer = self.model.take_lock(call);
            if let (Some(answer), Some(who)) = (answer, self.locks.remove(&call)) {
                answers.push((who, locked(answer)));
            }
        }
        answers
    }

    /// The client has given up a call: only those of `Lock` have something to undo. As in etcd, the key is deleted by its
    /// name, whoever has put it.
    pub(super) fn cancel(&mut self, who: Who) {
        if let Some(key) = self.unnoticed.remove(&who) {
            self.delete(key.as_bytes().clone());
        }
        if let Some(call) = self.waiting(who) {
            self.locks.remove(&call);
            self.model.cancel_lock(call);
        }
    }

    /// Whether a call of `Lock` waits here.
    pub(super) fn lets_wait(&self, who: Who) -> bool {
        self.waiting(who).is_some()
    }

    fn waiting(&self, who: Who) -> Option<LockCall> {
        let call = self.locks.iter().find(|(_, waiting)| **waiting == who);
        call.map(|(call, _)| *call)
    }

    /// A member stops after the grant of a call, before it has noticed that.
    pub(super) fn has_not_noticed(&mut self, who: Who, key: LockKey) {
        self.unnoticed.insert(who, key);
    }

    /// All calls of `Lock` that wait, which fail now.
    pub(super) fn fail_locks(&mut self) -> Vec<Who> {
        let waiting: Vec<_> = self.locks.values().copied().collect();
        for who in &waiting {
            self.cancel(*who);
        }
        waiting
    }

    /// Takes what a client says on a stream: keep-alives are answered at once.
    pub(super) fn on_stream(&mut self, who: Who, item: StreamItem) -> Option<Down> {
        match item {
            StreamItem::KeepAlive(lease) => {
                let reply = self.model.lease_keep_alive(&lease.into());
                Some(Down::KeepAlive(reply.try_into()))
            }
            StreamItem::Watch(request) => {
                let stream = self.streams.entry(who).or_insert_with(|| {
                    let stream = self.model.open_watch_stream();
                    self.clients.insert(stream, who);
                    for (_, fault) in self
                        .watch_faults
                        .iter()
                        .filter(|(of, _)| *of == who.process)
                    {
                        fault.begin(&mut self.model, stream);
                    }
                    stream
                });
                self.model.watch(*stream, request.into());
                None
            }
        }
    }

    pub(super) fn close_stream(&mut self, who: Who) {
        if let Some(stream) = self.streams.remove(&who) {
            self.clients.remove(&stream);
            self.model.close_watch_stream(stream);
        }
    }

    /// The changes since this was last asked, one list for each revision.
    pub(super) fn changes(&mut self) -> Vec<Vec<Event>> {
        let mut changes = Vec::new();
        while let Some(reply) = self.model.next_watch_response(self.recorder) {
            if let Ok(WatchBody::Events(events)) =
                WatchResponse::try_from(reply).map(|reply| reply.body)
            {
                changes.push(events);
            }
        }
        changes
    }

    /// The replies for clients on their watch streams.
    pub(super) fn watch_replies(&mut self) -> Vec<(Who, Down)> {
        let mut replies = Vec::new();
        for stream in self.model.take_dirty_streams() {
            let Some(who) = self.clients.get(&stream) else {
                continue;
            };
            while let Some(reply) = self.model.next_watch_response(stream) {
                replies.push((*who, Down::Watch(reply.try_into())));
            }
        }
        replies
    }

    pub(super) fn compact(&mut self) {
        let revision = self.model.revision();
        // Refused where that was done already.
        let _ = self.model.compact(&pb::CompactionRequest {
            revision,
            physical: false,
        });
    }

    pub(super) fn revoke(&mut self, id: i64) {
        // One that is gone already has ended, too.
        let _ = self.model.lease_revoke(&pb::LeaseRevokeRequest { id });
    }

    /// Somebody who isn't one of the processes enters a queue with a lease of theirs.
    pub(super) fn enter(&mut self, name: &str, lease: i64, ttl: i64, value: &'static [u8]) {
        let sign = if lease < 0 { "-" } else { "" };
        let key = format!("{name}/{sign}{:x}", lease.unsigned_abs());
        let put = pb::PutRequest {
            key: key.into(),
            value: value.into(),
            lease,
            ..pb::PutRequest::default()
        };
        let granted = self
            .model
            .lease_grant(&pb::LeaseGrantRequest { ttl, id: lease });
        if granted.is_ok() {
            // With a lease that is there nothing can be wrong with it.
            let _ = self.model.put(&put);
        }
    }

    pub(super) fn delete(&mut self, key: bytes::Bytes) {
        let request = pb::DeleteRangeRequest {
            key,
            ..pb::DeleteRangeRequest::default()
        };
        // Only an empty key is refused.
        let _ = self.model.delete_range(&request);
    }

    pub(super) fn leases(&self) -> Vec<i64> {
        let leases = self.model.lease_leases().leases;
        leases.iter().map(|lease| lease.id).collect()
    }

    pub(super) fn has_streams(&self) -> bool {
        !self.streams.is_empty()
    }
}

/// Executes a call that isn't one of `Lock`.
fn execute(model: &mut Model, call: &Call) -> Option<Result<Reply>> {
    Some(match call.clone() {
        Call::Grant(request) => answer(model.lease_grant(&request.into()), Reply::Grant),
        Call::Leases => model.lease_leases().try_into().map(Reply::Leases),
        Call::Lock(_) => return None,
        Call::Range(request) => answer(model.range(&request.into()), Reply::Range),
        Call::Revoke(lease) => answer(model.lease_revoke(&lease.into()), Reply::Revoke),
        Call::TimeToLive(request) => model
            .lease_time_to_live(&request.into())
            .try_into()
            .map(Reply::TimeToLive),
        Call::Txn(request) => request
            .try_into()
            .and_then(|request| answer(model.txn(&request), Reply::Txn)),
    })
}

/// The RPC doesn't tell the create revision.
fn locked(answer: Result<v3lockpb::LockResponse, Status>) -> Result<Reply> {
    let reply = answer?;
    let header = reply.header.unwrap_or_default().try_into()?;
    let key = LockKey::new(reply.key)?;
    Ok(Reply::Lock(LockResponse::new(header, key, Revision::ZERO)))
}

fn answer<M, C>(answer: Result<M, Status>, reply: impl FnOnce(C) -> Reply) -> Result<Reply>
where
    C: TryFrom<M, Error = Error>,
{
    C::try_from(answer?).map(reply)
}
