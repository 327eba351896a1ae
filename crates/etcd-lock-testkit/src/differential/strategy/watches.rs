//! Requests on watch streams.

use etcd_lock_proto::etcdserverpb as pb;
use pb::watch_request::RequestUnion;
use proptest::collection::vec;
use proptest::prelude::{Just, Strategy};

use super::{revision, seldom};
use crate::differential::call::Step;
use crate::differential::watch_log::STREAMS;

pub(super) fn step() -> impl Strategy<Value = Step> + Clone {
    let request = proptest::prop_oneof![
        6 => create().prop_map(RequestUnion::CreateRequest),
        2 => (-1_i64..4).prop_map(|watch_id| {
            RequestUnion::CancelRequest(pb::WatchCancelRequest { watch_id })
        }),
        1 => Just(RequestUnion::ProgressRequest(pb::WatchProgressRequest {})),
    ];
    (0..STREAMS, request).prop_map(|(stream, request)| {
        let request_union = Some(request);
        Step::Watch(stream, pb::WatchRequest { request_union })
    })
}

fn create() -> impl Strategy<Value = pb::WatchCreateRequest> + Clone {
    // From -1, etcd tells a watch nothing until it has visited it, where nothing has been compacted yet.
    let start = revision().prop_filter("starts at -1", |&start| start != -1);
    let start = proptest::prop_oneof![3 => Just(0), 2 => start];
    // etcd 3.5 forgets the watch -1 when it refuses another (`tests/known_differences.rs`).
    let id = proptest::prop_oneof![4 => Just(0), 1 => 0_i64..4];
    let filters = vec(-1_i32..3, 0..2);
    let flags = (seldom(), seldom());
    (super::range(), start, filters, flags, id).prop_map(
        |((key, range_end), start_revision, filters, (prev_kv, fragment), watch_id)| {
            pb::WatchCreateRequest {
                key,
                range_end,
                start_revision,
                progress_notify: false,
                filters,
                prev_kv,
                watch_id,
                fragment,
            }
        },
    )
}
