//! Facts of the `Watch` service: where a watch starts.

use std::pin::pin;
use std::time::Duration;

use etcd_lock_proto::etcdserverpb as pb;
use tokio::time::timeout;

use super::etcd::{Etcd, in_time};
use super::stream::{Stream, watch};

/// Below zero is compacted, too.
pub(crate) async fn a_start_that_is_compacted_ends_the_watch(etcd: &Etcd) {
    etcd.set("w", "1").await;
    let compacted = etcd.set("w", "2").await;
    etcd.compact(compacted).await.unwrap();
    let (mut stream, _) = Stream::open(etcd, watch("elsewhere")).await;
    for start_revision in [compacted - 1, -1] {
        let create = pb::WatchCreateRequest {
            start_revision,
            ..watch("w")
        };
        let created = stream.create(create).await;
        assert!(created.created && !created.canceled);
        let ended = stream.next().await;
        assert!(ended.canceled && !ended.created);
        assert_eq!(ended.watch_id, created.watch_id);
        assert_eq!(ended.compact_revision, compacted);
        assert_eq!(ended.header.unwrap().revision, 0);
    }
}

/// Two below zero is compacted all the same.
pub(crate) async fn a_start_below_zero_is_now_before_the_first_compaction(etcd: &Etcd) {
    let start = |start_revision| pb::WatchCreateRequest {
        start_revision,
        ..watch("w")
    };
    etcd.set("w", "before").await;
    let (mut stream, created) = Stream::open(etcd, start(-2)).await;
    assert!(created.created && !created.canceled);
    let ended = stream.next().await;
    assert!(ended.canceled);
    assert_eq!((ended.watch_id, ended.compact_revision), (0, -1));

    stream.create(start(-1)).await;
    // etcd visits the watch once in a while, and tells it nothing of what was before that.
    let mut told = pin!(stream.next());
    let told = in_time(async {
        loop {
            etcd.set("w", "after").await;
            if let Ok(told) = timeout(Duration::from_millis(20), &mut told).await {
                return told;
            }
        }
    });
    let told = told.await.events.remove(0).kv.unwrap();
    assert_eq!((&*told.value, told.create_revision), (&b"after"[..], 2));

    // At zero, etcd does not even say that the watch is over.
    etcd.compact(0).await.unwrap();
    let (mut stream, _) = Stream::open(etcd, start(-1)).await;
    let ended = stream.next().await;
    assert!(!ended.canceled && ended.events.is_empty());
    assert_eq!((ended.watch_id, ended.compact_revision), (0, 0));
}
