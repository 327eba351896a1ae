//! One side: the model.

use std::time::Duration;

use etcd_lock_memory::model::{LockCall, LockWait, Model, ModelOptions, StreamId, Version};
use etcd_lock_proto::etcdserverpb as pb;
use etcd_lock_proto::v3lockpb;

use super::call::{Answer, Call, Reply, Start};
use super::watch_log::{BARRIER, STREAMS};

/// How many revisions there are on either side before a sequence begins, at least: so the past has numbers above zero.
pub(super) const PAST: i64 = 20;

/// A model with the streams of a sequence.
#[derive(Debug)]
pub(super) struct Memory {
    pub(super) model: Model,
    streams: Vec<StreamId>,
    now: Duration,
}

impl Memory {
    /// Empty, and with a past or without one.
    pub(super) fn new(version: Version, start: Start) -> Self {
        let mut model = Model::new(ModelOptions::new().with_version(version));
        if start == Start::Compacted {
            pass(&mut model);
        }
        let streams = (0..STREAMS).map(|_| model.open_watch_stream()).collect();
        Self {
            model,
            streams,
            now: Duration::ZERO,
        }
    }

    /// Lets a moment pass, so that no two leases end at once.
    pub(super) fn tick(&mut self) {
        self.now += Duration::from_micros(1);
        self.model.advance(self.now);
    }

    pub(super) fn call(&mut self, call: &Call) -> Answer {
        let model = &mut self.model;
        Ok(match call {
            Call::Range(request) => Reply::Range(model.range(request)?),
            Call::Put(request) => Reply::Put(model.put(request)?),
            Call::Delete(request) => Reply::Delete(model.delete_range(request)?),
            Call::Txn(request) => Reply::Txn(model.txn(request)?),
            Call::Compact(request) => Reply::Compact(model.compact(request)?),
            Call::Grant(request) => Reply::Grant(model.lease_grant(request)?),
            Call::Revoke(request) => Reply::Revoke(model.lease_revoke(request)?),
            Call::KeepAlive(request) => Reply::KeepAlive(model.lease_keep_alive(request)),
            Call::TimeToLive(request) => Reply::TimeToLive(model.lease_time_to_live(request)),
            Call::Leases(_) => Reply::Leases(model.lease_leases()),
            Call::Unlock(request) => Reply::Unlock(model.unlock(request)?),
        })
    }

    pub(super) fn lock(&mut self, request: &v3lockpb::LockRequest) -> LockWait {
        self.model.lock(request)
    }

    pub(super) fn take_lock(&mut self, call: LockCall) -> Option<Answer<v3lockpb::LockResponse>> {
        let answer = self.model.take_lock(call)?;
        Some(answer.map_err(Into::into))
    }

    pub(super) fn watch(&mut self, stream: usize, request: pb::WatchRequest) {
        self.model.watch(self.streams[stream], request);
    }

    pub(super) fn next_watch_response(&mut self, stream: usize) -> Option<pb::WatchResponse> {
        self.model.next_watch_response(self.streams[stream])
    }

    pub(super) fn has_lease(&self, id: i64) -> bool {
        let request = pb::LeaseTimeToLiveRequest { id, keys: false };
        self.model.lease_time_to_live(&request).ttl >= 0
    }

    /// Has a lease end by itself, if it is there. It is the first to end.
    pub(super) fn expire(&mut self, id: i64) {
        if self.has_lease(id)
            && let Some(deadline) = self.model.next_deadline()
        {
            self.now = deadline;
            self.model.advance(deadline);
        }
    }
}

/// Some revisions, of which nothing is left.
fn pass(model: &mut Model) {
    for _ in 0..PAST {
        let put = pb::PutRequest {
            key: BARRIER,
            ..pb::PutRequest::default()
        };
        model.put(&put).unwrap();
    }
    let delete = pb::DeleteRangeRequest {
        key: BARRIER,
        ..pb::DeleteRangeRequest::default()
    };
    model.delete_range(&delete).unwrap();
    let compact = pb::CompactionRequest {
        revision: model.revision(),
        physical: true,
    };
    model.compact(&compact).unwrap();
}
