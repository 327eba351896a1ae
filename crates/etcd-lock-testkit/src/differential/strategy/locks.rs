//! Requests of the `Lock` service.

use bytes::Bytes;
use etcd_lock_proto::v3lockpb as pb;
use proptest::prelude::{Just, Strategy};
use proptest::sample::select;

use super::{key, lease};
use crate::differential::call::{Call, Step};

/// One is below the other, and one is empty.
const NAMES: [&str; 4] = ["l", "l", "l/ffff1", ""];

pub(super) fn step() -> impl Strategy<Value = Step> + Clone {
    let lease = proptest::prop_oneof![6 => lease(), 1 => Just(0)];
    let lock = (select(&NAMES[..]), lease).prop_map(|(name, lease)| {
        Step::Lock(pb::LockRequest {
            name: Bytes::from(name),
            lease,
        })
    });
    let unlock = proptest::prop_oneof![1 => key(), 3 => own_key()]
        .prop_map(|key| Step::Call(Call::Unlock(pb::UnlockRequest { key })));
    proptest::prop_oneof![
        6 => lock,
        2 => unlock,
        1 => (0_usize..3).prop_map(Step::GiveUp),
    ]
}

/// The key of a lock that one of our own leases takes.
fn own_key() -> impl Strategy<Value = Bytes> + Clone {
    select(&["l/ffff1", "l/ffff2", "l/ffff3"][..]).prop_map(Bytes::from)
}
