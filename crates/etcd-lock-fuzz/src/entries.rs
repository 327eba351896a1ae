//! Values of entries, and replies to the requests of a queue.

use etcd_lock_core::kv::{OpResponse, TxnResponse};
use etcd_lock_core::{LeaseId, LockKey, LockName, Revision};
use etcd_lock_proto::etcdserverpb as pb;
use etcd_lock_queue::{EntryValue, Nonce, Reply, Request, Snapshot};
use prost::Message;

pub(crate) fn entry_value(bytes: &[u8]) {
    if let Some(value) = EntryValue::parse(bytes) {
        assert_eq!(value.encode(), bytes);
    }
    let value = EntryValue::new(Nonce::new(u64::MAX), bytes);
    assert_eq!(EntryValue::parse(&value.encode()), Some(value));
}

/// What an answer means depends on the request. Whichever it is, an answer of another shape means nothing.
pub(crate) fn reply_to_a_request(bytes: &[u8]) {
    let decoded = pb::TxnResponse::decode(bytes).ok();
    let Some(answer) = decoded.and_then(|reply| TxnResponse::try_from(reply).ok()) else {
        return;
    };
    let name = LockName::new("n").unwrap();
    for request in requests(&name) {
        is_right(&name, &request, &answer);
    }
}

fn requests(name: &LockName) -> [Request; 5] {
    let session = LeaseId::new(1).unwrap();
    let up_to = Revision::new(9).unwrap();
    [
        Request::Enter {
            session,
            nonce: Nonce::new(7),
            reads_newest: true,
        },
        Request::Delete {
            session,
            created: up_to,
        },
        Request::Snapshot { up_to },
        Request::Check {
            keys: checked(name),
        },
        Request::Others { session },
    ]
}

fn checked(name: &LockName) -> Vec<LockKey> {
    let leases = [1, 2].map(|lease| LeaseId::new(lease).unwrap());
    leases.map(|lease| name.key(lease)).into()
}

fn is_right(name: &LockName, request: &Request, answer: &TxnResponse) {
    let at = answer.header.revision;
    let is_range = |place: usize| matches!(answer.responses.get(place), Some(OpResponse::Range(_)));
    match (request, request.reply(name, answer)) {
        (
            Request::Enter { nonce, .. },
            Some(Reply::Entered {
                created,
                nonce: found,
                revision,
                newest,
            }),
        ) => {
            assert_eq!(revision, at);
            if answer.succeeded {
                assert_eq!((created, found), (at, Some(*nonce)));
            } else {
                assert_eq!(created, answer.kvs(0)[0].create_revision);
            }
            assert_eq!(newest.is_some(), is_range(1));
            newest.iter().for_each(|newest| is_of(name, newest, answer));
        }
        (Request::Enter { .. }, None) => assert!(!answer.succeeded && answer.kvs(0).is_empty()),
        (Request::Delete { .. }, Some(Reply::Deleted { revision })) => assert_eq!(revision, at),
        (Request::Snapshot { .. } | Request::Others { .. }, Some(Reply::Read(read))) => {
            is_of(name, &read, answer);
        }
        (Request::Snapshot { .. } | Request::Others { .. }, None) => assert!(!is_range(0)),
        (Request::Check { keys }, Some(Reply::Checked(observations))) => {
            let of = observations.iter().map(|observation| &observation.key);
            assert!(of.eq(keys));
        }
        (request, reply) => panic!("{request:?} has the answer {reply:?}"),
    }
}

/// A snapshot has the revision of its answer, and entries of the lock alone.
fn is_of(name: &LockName, snapshot: &Snapshot, answer: &TxnResponse) {
    assert_eq!(snapshot.revision, answer.header.revision);
    for entry in &snapshot.entries {
        assert_eq!(entry.key.parts().unwrap().0, *name);
    }
}
