//! Requests of the `Lease` service.

use etcd_lock_proto::etcdserverpb as pb;
use proptest::collection::vec;
use proptest::prelude::{Just, Strategy};
use proptest::sample::select;

use super::{lease, lease_or_none};
use crate::differential::call::{Call, End, Step};

/// The symbol of the lease that is short.
const BRIEF: i64 = 3;

/// Long enough to outlive every sequence, or refused. Far apart, so that the order of their ends is not a matter of
/// milliseconds.
const LONG: [i64; 5] = [1_000, 100_000, 9_000_000_000, 9_000_000_001, i64::MAX];

/// All are granted as the least time that there is.
const SHORT: [i64; 5] = [i64::MIN, -5, 0, 1, 2];

pub(super) fn call() -> impl Strategy<Value = Call> + Clone {
    let grant = (select(&LONG[..]), lease_or_none())
        .prop_map(|(ttl, id)| Call::Grant(pb::LeaseGrantRequest { ttl, id }));
    let id = proptest::prop_oneof![9 => lease(), 1 => Just(0)];
    let ttl = (id.clone(), proptest::bool::ANY)
        .prop_map(|(id, keys)| Call::TimeToLive(pb::LeaseTimeToLiveRequest { id, keys }));
    proptest::prop_oneof![
        5 => grant,
        2 => id.clone().prop_map(|id| Call::Revoke(pb::LeaseRevokeRequest { id })),
        1 => id.prop_map(|id| Call::KeepAlive(pb::LeaseKeepAliveRequest { id })),
        2 => ttl,
        1 => Just(Call::Leases(pb::LeaseLeasesRequest {})),
    ]
}

/// A lease that is short, and revoked before it can end by itself.
pub(super) fn brief(
    step: impl Strategy<Value = Step> + Clone,
) -> impl Strategy<Value = Step> + Clone {
    ending(step, End::Revoke)
}

/// A lease that is short and expires.
pub(super) fn expiring(
    step: impl Strategy<Value = Step> + Clone,
) -> impl Strategy<Value = Step> + Clone {
    ending(step, End::Expire)
}

fn ending(
    step: impl Strategy<Value = Step> + Clone,
    end: End,
) -> impl Strategy<Value = Step> + Clone {
    (select(&SHORT[..]), vec(step, 0..4)).prop_map(move |(ttl, steps)| Step::Brief {
        grant: pb::LeaseGrantRequest { ttl, id: BRIEF },
        steps,
        end,
    })
}
