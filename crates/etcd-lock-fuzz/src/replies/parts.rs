//! The parts of all replies, in the words of both sides.

use etcd_lock_core::kv::KeyValue;
use etcd_lock_core::{Error, ErrorKind, LeaseId, ResponseHeader};
use etcd_lock_proto::{etcdserverpb as pb, mvccpb};

/// Converts a reply. That must succeed where the reply is one that an etcd can give, and say what is wrong elsewhere.
pub(crate) fn converted<M, T>(reply: &M, is_possible: bool) -> Option<T>
where
    M: Clone + std::fmt::Debug,
    T: TryFrom<M, Error = Error>,
{
    match T::try_from(reply.clone()) {
        Ok(converted) => {
            assert!(is_possible, "{reply:?}");
            Some(converted)
        }
        Err(error) => {
            assert!(!is_possible, "{error:?}: {reply:?}");
            assert_eq!(error.kind(), ErrorKind::Protocol);
            assert!(error.to_string().ends_with("is it an etcd?"), "{error}");
            None
        }
    }
}

pub(crate) fn is_header(header: Option<pb::ResponseHeader>) -> bool {
    header.is_some_and(|header| header.revision >= 0)
}

pub(crate) fn is_of(header: &ResponseHeader, sent: Option<pb::ResponseHeader>) {
    let sent = sent.unwrap();
    assert_eq!(header.revision.get(), sent.revision);
    assert_eq!(
        (header.cluster_id, header.member_id, header.raft_term),
        (sent.cluster_id, sent.member_id, sent.raft_term)
    );
}

pub(crate) const fn is_kv(kv: &mvccpb::KeyValue) -> bool {
    kv.create_revision >= 0 && kv.mod_revision >= 0
}

pub(crate) fn same_kvs(kvs: &[KeyValue], sent: &[mvccpb::KeyValue]) {
    assert_eq!(kvs.len(), sent.len());
    for (kv, sent) in kvs.iter().zip(sent) {
        same_kv(kv, sent);
    }
}

pub(crate) fn same_kv(kv: &KeyValue, sent: &mvccpb::KeyValue) {
    assert_eq!((&kv.key, &kv.value), (&sent.key, &sent.value));
    assert_eq!(kv.create_revision.get(), sent.create_revision);
    assert_eq!(kv.mod_revision.get(), sent.mod_revision);
    assert_eq!(kv.version, sent.version);
    assert_eq!(kv.lease.map_or(0, LeaseId::get), sent.lease);
}
