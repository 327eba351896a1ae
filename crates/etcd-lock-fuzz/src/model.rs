//! The in-memory etcd, asked anything: sequences of requests. It answers or refuses, and stays an etcd: what it says can be
//! read, and what it holds fits together.

mod requests;
mod sound;

use std::time::Duration;

use etcd_lock_core::kv::{RangeResponse, TxnResponse};
use etcd_lock_core::watch::WatchResponse;
use etcd_lock_memory::Status;
use etcd_lock_memory::model::{LockCall, LockWait, Model, ModelOptions, StreamId, Version};

use self::requests::{Request, requests};
use self::sound::is_sound;

pub(crate) fn model(bytes: &[u8]) {
    let Some((&kind, bytes)) = bytes.split_first() else {
        return;
    };
    let mut etcd = Asked::new(kind);
    for request in requests(bytes) {
        let before = etcd.model.revision();
        etcd.ask(request);
        etcd.listen();
        assert!(etcd.model.revision() >= before);
    }
    is_sound(&etcd.model);
}

/// A model, and what goes on there.
struct Asked {
    model: Model,
    now: Duration,
    stream: StreamId,
    calls: Vec<LockCall>,
}

impl Asked {
    /// A small history is compacted all the time.
    fn new(kind: u8) -> Self {
        let version = match kind % 3 {
            0 => Version::V3_4,
            1 => Version::V3_5,
            _ => Version::V3_6,
        };
        let kept = if kind < 128 { 10_000 } else { 2 };
        let options = ModelOptions::new().with_version(version);
        let mut model = Model::new(options.with_kept_revisions(kept));
        Self {
            stream: model.open_watch_stream(),
            model,
            now: Duration::ZERO,
            calls: Vec::new(),
        }
    }

    fn ask(&mut self, request: Request) {
        let model = &mut self.model;
        match request {
            Request::Advance(by) => {
                self.now += by;
                model.advance(self.now);
            }
            Request::CancelLock(call) => {
                if !self.calls.is_empty() {
                    let call = self.calls.remove(call % self.calls.len());
                    model.cancel_lock(call);
                }
            }
            Request::Compact(request) => is_refusal(model.compact(&request)),
            Request::Delete(request) => is_refusal(model.delete_range(&request)),
            Request::Grant(request) => is_refusal(model.lease_grant(&request)),
            Request::KeepAlive(request) => {
                assert_eq!(model.lease_keep_alive(&request).id, request.id);
            }
            Request::Lock(request) => match model.lock(&request) {
                LockWait::Done(answer) => is_refusal(answer),
                LockWait::Waiting(call) => self.calls.push(call),
            },
            Request::Put(request) => is_refusal(model.put(&request)),
            Request::Range(request) => {
                if let Some(reply) = answered(model.range(&request)) {
                    RangeResponse::try_from(reply).unwrap();
                }
            }
            Request::Revoke(request) => is_refusal(model.lease_revoke(&request)),
            Request::TimeToLive(request) => {
                assert_eq!(model.lease_time_to_live(&request).id, request.id);
            }
            Request::Txn(request) => {
                if let Some(reply) = answered(model.txn(&request)) {
                    TxnResponse::try_from(reply).unwrap();
                }
            }
            Request::Unlock(request) => is_refusal(model.unlock(&request)),
            Request::Watch(request) => model.watch(self.stream, request),
        }
    }

    /// Takes all out that came meanwhile.
    fn listen(&mut self) {
        while let Some(told) = self.model.next_watch_response(self.stream) {
            WatchResponse::try_from(told).unwrap();
        }
        self.model.take_dirty_streams();
        let model = &mut self.model;
        self.calls.retain(|&call| match model.take_lock(call) {
            Some(answer) => {
                is_refusal(answer);
                false
            }
            None => true,
        });
        assert!(!self.model.has_news());
    }
}

/// The answer, where the request was not refused. A refusal says why.
fn answered<T>(answer: Result<T, Status>) -> Option<T> {
    answer
        .inspect_err(|refusal| assert!(!refusal.message.is_empty()))
        .ok()
}

fn is_refusal<T>(answer: Result<T, Status>) {
    answered(answer);
}
