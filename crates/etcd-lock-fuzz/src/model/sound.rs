//! The invariants of an etcd, which hold after any requests.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use etcd_lock_memory::model::Model;
use etcd_lock_proto::etcdserverpb as pb;

/// Reads all that there is, and compares.
pub(crate) fn is_sound(model: &Model) {
    let all = pb::RangeRequest {
        key: Bytes::from_static(b"\0"),
        range_end: Bytes::from_static(b"\0"),
        ..pb::RangeRequest::default()
    };
    let read = model.range(&all).unwrap();
    assert_eq!(usize::try_from(read.count).unwrap(), read.kvs.len());
    assert!(read.kvs.is_sorted_by(|a, b| a.key < b.key));
    let mut attached: BTreeMap<i64, BTreeSet<Bytes>> = BTreeMap::new();
    for kv in read.kvs {
        assert!(1 <= kv.create_revision && kv.create_revision <= kv.mod_revision);
        assert!(kv.mod_revision <= model.revision());
        assert!(1 <= kv.version && kv.version <= kv.mod_revision - kv.create_revision + 1);
        if kv.lease != 0 {
            attached.entry(kv.lease).or_default().insert(kv.key);
        }
    }
    // Each lease has its keys, and each key that has a lease has one that lives.
    for lease in model.lease_leases().leases {
        let asked = pb::LeaseTimeToLiveRequest {
            id: lease.id,
            keys: true,
        };
        let told = model.lease_time_to_live(&asked);
        assert!(0 <= told.ttl && told.ttl <= told.granted_ttl);
        let keys: BTreeSet<_> = told.keys.into_iter().collect();
        assert_eq!(keys, attached.remove(&lease.id).unwrap_or_default());
    }
    assert!(attached.is_empty(), "{attached:?}");
}
