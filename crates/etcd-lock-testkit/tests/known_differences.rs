//! The requests that the comparison leaves out, and a real etcd's answers to them: a read that is to be sorted by a target
//! that there isn't ends it, and on 3.5 a watch that its client has numbered -1 falls silent. The small etcd does neither.

#![allow(clippy::unwrap_used, reason = "it is test code, helpers included")]

use std::path::Path;

use etcd_lock_memory::model::Model;
use etcd_lock_memory::{MemoryEtcd, Server};
use etcd_lock_proto::etcdserverpb as pb;
use etcd_lock_testkit::{RealEtcd, real_etcd};
use pb::kv_client::KvClient;
use pb::range_request::SortOrder;
use pb::watch_client::WatchClient;
use pb::watch_request::RequestUnion;
use tokio_stream::StreamExt;
use tonic::transport::Endpoint;

const NO_TARGET: i32 = 5;

#[tokio::test]
async fn an_unknown_sort_target_ends_the_etcd_under_test() {
    ends(&real_etcd::default_program()).await;
}

#[tokio::test]
async fn an_unknown_sort_target_ends_an_etcd_3_5() {
    ends(&real_etcd::program_35()).await;
}

#[test]
fn the_small_etcd_does_not_sort_by_an_unknown_target() {
    let mut model = Model::default();
    for key in ["k/1", "k/2"] {
        let put = pb::PutRequest {
            key: key.into(),
            ..pb::PutRequest::default()
        };
        model.put(&put).unwrap();
    }
    let kvs = model.range(&read(SortOrder::Descend)).unwrap().kvs;
    assert_eq!([&*kvs[0].key, &*kvs[1].key], [b"k/1", b"k/2"]);
}

#[tokio::test]
async fn watch_minus_one_goes_on_on_an_etcd_3_4() {
    let etcd = RealEtcd::of_program(&real_etcd::default_program()).await;
    falls_silent(etcd.endpoints().remove(0), false).await;
}

#[tokio::test]
async fn watch_minus_one_falls_silent_on_an_etcd_3_5() {
    let etcd = RealEtcd::of_program(&real_etcd::program_35()).await;
    falls_silent(etcd.endpoints().remove(0), true).await;
}

#[tokio::test]
async fn watch_minus_one_goes_on_on_the_small_etcd() {
    let etcd = Server::bind("127.0.0.1:0", MemoryEtcd::new())
        .await
        .unwrap();
    falls_silent(etcd.endpoint(), false).await;
}

/// A refused watch is answered with that number, and etcd 3.5 then forgets that there is one.
async fn falls_silent(endpoint: String, silent: bool) {
    let channel = Endpoint::from_shared(endpoint).unwrap();
    let channel = channel.connect().await.unwrap();
    let watch = |key: &'static str, range_end: &'static str, watch_id| {
        let create = pb::WatchCreateRequest {
            key: key.into(),
            range_end: range_end.into(),
            watch_id,
            ..pb::WatchCreateRequest::default()
        };
        pb::WatchRequest {
            request_union: Some(RequestUnion::CreateRequest(create)),
        }
    };
    let requests = [
        watch("first", "", -1),
        watch("empty", "a", 0),
        watch("second", "", 5),
    ];
    let refusals = [false, true, false];
    let requests = tokio_stream::iter(requests).chain(tokio_stream::pending());
    let replies = WatchClient::new(channel.clone()).watch(requests).await;
    let mut replies = replies.unwrap().into_inner();
    for refused in refusals {
        let created = replies.message().await.unwrap().unwrap();
        assert_eq!((created.created, created.canceled), (true, refused));
    }
    for key in ["first", "second"] {
        let put = pb::PutRequest {
            key: key.into(),
            ..pb::PutRequest::default()
        };
        KvClient::new(channel.clone()).put(put).await.unwrap();
    }
    let told = replies.message().await.unwrap().unwrap();
    assert_eq!(told.watch_id, if silent { 5 } else { -1 });
}

/// Each order by itself, none included: with a target other than the key it counts as upwards. The store is empty.
async fn ends(program: &Path) {
    for order in [SortOrder::None, SortOrder::Ascend, SortOrder::Descend] {
        let mut etcd = RealEtcd::of_program(program).await;
        let endpoint = Endpoint::from_shared(etcd.endpoints().remove(0)).unwrap();
        let mut client = KvClient::new(endpoint.connect().await.unwrap());
        assert!(etcd.members()[0].is_healthy().await);

        client.range(read(order)).await.unwrap_err();

        assert!(!etcd.members()[0].is_healthy().await, "{order:?}");
    }
}

fn read(order: SortOrder) -> pb::RangeRequest {
    pb::RangeRequest {
        key: "k/".into(),
        range_end: "k0".into(),
        sort_order: order.into(),
        sort_target: NO_TARGET,
        ..pb::RangeRequest::default()
    }
}
