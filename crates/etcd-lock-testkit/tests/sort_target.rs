//! A read that is to be sorted by a target that there isn't: it ends a real etcd, and the small one answers it unsorted. So
//! the comparison doesn't make up such reads.

#![allow(clippy::unwrap_used, reason = "it is test code, helpers included")]

use std::path::Path;

use etcd_lock_memory::model::Model;
use etcd_lock_proto::etcdserverpb as pb;
use etcd_lock_testkit::{RealEtcd, real_etcd};
use pb::kv_client::KvClient;
use pb::range_request::SortOrder;
use tonic::transport::Endpoint;

const NO_TARGET: i32 = 5;

#[tokio::test]
async fn it_ends_the_etcd_under_test() {
    ends(&real_etcd::default_program()).await;
}

#[tokio::test]
async fn it_ends_an_etcd_3_5() {
    ends(&real_etcd::program_35()).await;
}

#[test]
fn the_small_etcd_does_not_sort() {
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
