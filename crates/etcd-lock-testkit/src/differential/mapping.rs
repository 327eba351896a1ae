//! Numbers differ between two etcds that behave alike: a [`Mapper`] replaces them in a message.

use bytes::Bytes;
use etcd_lock_proto::etcdserverpb as pb;
use etcd_lock_proto::mvccpb::{Event, KeyValue};
use etcd_lock_proto::v3lockpb;
use pb::compare::TargetUnion;
use pb::request_op::Request;
use pb::response_op::Response;

/// Replaces numbers, each kind in its own way. A kind that isn't overridden stays as it is.
pub(super) trait Mapper {
    fn revision(&self, _: &mut i64) {}
    fn lease(&self, _: &mut i64) {}
    fn key(&self, _: &mut Bytes) {}
    fn header(&self, _: &mut pb::ResponseHeader) {}
}

/// A message with numbers to replace.
pub(super) trait Mapped {
    fn renumber(&mut self, by: &dyn Mapper);
}

impl<T: Mapped> Mapped for Option<T> {
    fn renumber(&mut self, by: &dyn Mapper) {
        self.iter_mut().for_each(|one| one.renumber(by));
    }
}

impl<T: Mapped> Mapped for Vec<T> {
    fn renumber(&mut self, by: &dyn Mapper) {
        self.iter_mut().for_each(|one| one.renumber(by));
    }
}

impl Mapped for pb::ResponseHeader {
    fn renumber(&mut self, by: &dyn Mapper) {
        by.header(self);
        by.revision(&mut self.revision);
    }
}

/// Implements [`Mapped`] for messages by the kinds of their fields.
macro_rules! mapped {
    ($($message:ty { $($kind:ident: $($field:ident),+;)* })+) => {
        $(impl Mapped for $message {
            fn renumber(&mut self, by: &dyn Mapper) {
                $($(mapped!(@ $kind, self.$field, by);)+)*
            }
        })+
    };
    (@ inside, $field:expr, $by:ident) => { $field.renumber($by) };
    (@ each_key, $field:expr, $by:ident) => { $field.iter_mut().for_each(|key| $by.key(key)) };
    (@ $kind:ident, $field:expr, $by:ident) => { $by.$kind(&mut $field) };
}

mapped! {
    pb::RangeRequest {
        revision: revision, min_mod_revision, max_mod_revision, min_create_revision, max_create_revision;
    }
    pb::PutRequest { lease: lease; }
    pb::TxnRequest { inside: compare, success, failure; }
    pb::RequestOp { inside: request; }
    pb::Compare { inside: target_union; }
    pb::CompactionRequest { revision: revision; }
    pb::LeaseGrantRequest { lease: id; }
    pb::LeaseRevokeRequest { lease: id; }
    pb::LeaseKeepAliveRequest { lease: id; }
    pb::LeaseTimeToLiveRequest { lease: id; }
    pb::WatchCreateRequest { revision: start_revision; }
    v3lockpb::LockRequest { lease: lease; }

    KeyValue { key: key; revision: create_revision, mod_revision; lease: lease; }
    Event { inside: kv, prev_kv; }
    pb::RangeResponse { inside: header, kvs; }
    pb::PutResponse { inside: header, prev_kv; }
    pb::DeleteRangeResponse { inside: header, prev_kvs; }
    pb::TxnResponse { inside: header, responses; }
    pb::ResponseOp { inside: response; }
    pb::CompactionResponse { inside: header; }
    pb::LeaseGrantResponse { inside: header; lease: id; }
    pb::LeaseRevokeResponse { inside: header; }
    pb::LeaseKeepAliveResponse { inside: header; lease: id; }
    pb::LeaseTimeToLiveResponse { inside: header; lease: id; each_key: keys; }
    pb::LeaseStatus { lease: id; }
    pb::LeaseLeasesResponse { inside: header, leases; }
    pb::WatchResponse { inside: header, events; revision: compact_revision; }
    v3lockpb::LockResponse { inside: header; key: key; }
    v3lockpb::UnlockResponse { inside: header; }
}

/// A key in a request is as it is on both sides.
macro_rules! without_numbers {
    ($($message:ty),+) => {
        $(impl Mapped for $message {
            fn renumber(&mut self, _: &dyn Mapper) {}
        })+
    };
}

without_numbers!(
    pb::DeleteRangeRequest,
    pb::LeaseLeasesRequest,
    v3lockpb::UnlockRequest
);

impl Mapped for Request {
    fn renumber(&mut self, by: &dyn Mapper) {
        match self {
            Self::RequestRange(request) => request.renumber(by),
            Self::RequestPut(request) => request.renumber(by),
            Self::RequestDeleteRange(request) => request.renumber(by),
            Self::RequestTxn(request) => request.renumber(by),
        }
    }
}

impl Mapped for Response {
    fn renumber(&mut self, by: &dyn Mapper) {
        match self {
            Self::ResponseRange(response) => response.renumber(by),
            Self::ResponsePut(response) => response.renumber(by),
            Self::ResponseDeleteRange(response) => response.renumber(by),
            Self::ResponseTxn(response) => response.renumber(by),
        }
    }
}

impl Mapped for TargetUnion {
    fn renumber(&mut self, by: &dyn Mapper) {
        match self {
            Self::CreateRevision(revision) | Self::ModRevision(revision) => by.revision(revision),
            Self::Lease(lease) => by.lease(lease),
            Self::Version(_) | Self::Value(_) => {}
        }
    }
}
