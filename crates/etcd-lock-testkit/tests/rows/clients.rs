//! Rows of what well-known clients send: the transactions of their locks, and what they ask around them.

use std::str::FromStr;

use etcd_lock_proto::etcdserverpb as pb;
use pb::auth_client::AuthClient;
use pb::cluster_client::ClusterClient;
use pb::compare::{CompareResult, TargetUnion};
use pb::kv_client::KvClient;
use pb::maintenance_client::MaintenanceClient;
use pb::range_request::{SortOrder, SortTarget};
use pb::response_op::Response;
use tonic::Code;
use tonic::codegen::http::uri::PathAndQuery;
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;

use super::etcd::{Etcd, answer, prefix, put, range, refusal};
use super::txn::{compare, delete, op, read};

/// As Go's `concurrency.Mutex`, and so `etcdctl lock`, enters a queue and looks who is before it.
pub(crate) async fn gos_mutex_enters_and_looks_ahead(etcd: &Etcd) {
    let mine = |lease: i64| format!("go/{lease:x}");
    let enter = async |lease: i64| {
        let first = pb::RangeRequest {
            limit: 1,
            sort_order: SortOrder::Ascend.into(),
            sort_target: SortTarget::Create.into(),
            ..prefix("go/")
        };
        let key = mine(lease);
        let place = pb::PutRequest {
            lease,
            ..put(&key, "")
        };
        let request = pb::TxnRequest {
            compare: vec![is_missing(&key)],
            success: vec![op(place), read(first.clone())],
            failure: vec![read(range(key.as_bytes())), read(first)],
        };
        let reply = etcd.txn(request).await.unwrap();
        let first = kvs(&reply.responses[1])[0].key.clone();
        (reply.succeeded, first, reply.header.unwrap().revision)
    };
    let (holder, waiter) = (etcd.lease().await, etcd.lease().await);
    let (entered, first, _) = enter(holder).await;
    assert!(entered && first == mine(holder));
    let (entered, first, place) = enter(waiter).await;
    assert!(entered && first == mine(holder));
    assert!(!enter(waiter).await.0);

    let before_me = async || {
        let last_before = pb::RangeRequest {
            limit: 1,
            sort_order: SortOrder::Descend.into(),
            sort_target: SortTarget::Create.into(),
            max_create_revision: place - 1,
            ..prefix("go/")
        };
        etcd.range(last_before).await.unwrap()
    };
    assert_eq!(before_me().await.kvs[0].key, mine(holder));
    etcd.revoke(holder).await.unwrap();
    let nobody = before_me().await;
    assert_eq!((nobody.kvs.len(), nobody.count), (0, 1));
}

/// As Python's `etcd3` and `aetcd` take and release a lock: by its value.
pub(crate) async fn pythons_lock_is_taken_and_released_by_value(etcd: &Etcd) {
    const KEY: &str = "/locks/py";
    let lease = etcd.lease().await;
    let take = async |value: &str| {
        let place = pb::PutRequest {
            lease,
            ..put(KEY, value)
        };
        let request = pb::TxnRequest {
            compare: vec![is_missing(KEY)],
            success: vec![op(place)],
            failure: vec![read(range(KEY.as_bytes()))],
        };
        etcd.txn(request).await.unwrap()
    };
    let release = async |value: &'static str| {
        let is_mine = compare(KEY, CompareResult::Equal, TargetUnion::Value(value.into()));
        let request = pb::TxnRequest {
            compare: vec![is_mine],
            success: vec![delete(KEY)],
            failure: Vec::new(),
        };
        etcd.txn(request).await.unwrap().succeeded
    };
    assert!(take("one").await.succeeded);
    let refused = take("other").await;
    assert!(!refused.succeeded);
    assert_eq!(&*kvs(&refused.responses[0])[0].value, b"one");
    assert!(!release("other").await && release("one").await);
    assert!(take("other").await.succeeded);
}

/// As node's `etcd3` takes a lock; it is released by revoking the lease.
pub(crate) async fn nodes_lock_is_taken_once(etcd: &Etcd) {
    let lease = etcd.lease().await;
    let take = async || {
        let place = pb::PutRequest {
            lease,
            ..put("node", "")
        };
        let request = pb::TxnRequest {
            compare: vec![is_missing("node")],
            success: vec![op(place)],
            failure: Vec::new(),
        };
        etcd.txn(request).await.unwrap().succeeded
    };
    assert!(take().await && !take().await);
    etcd.revoke(lease).await.unwrap();
    assert!(etcd.get(b"node").await.is_none());
}

/// As `etcdctl elect` leaves: only if the key is the one that it has put.
pub(crate) async fn an_election_is_left_by_revision(etcd: &Etcd) {
    let created = etcd.set("elect/1", "me").await;
    let resign = async |revision: i64| {
        let right = TargetUnion::CreateRevision(revision);
        let request = pb::TxnRequest {
            compare: vec![compare("elect/1", CompareResult::Equal, right)],
            success: vec![delete("elect/1")],
            failure: Vec::new(),
        };
        etcd.txn(request).await.unwrap().succeeded
    };
    assert!(!resign(created - 1).await && resign(created).await);
}

/// What eetcd and others ask before they use a member: that it has a leader, and who is in the cluster.
pub(crate) async fn the_one_member_leads(etcd: &Etcd) {
    let mut maintenance = MaintenanceClient::new(etcd.channel.clone());
    let status = answer(maintenance.status(pb::StatusRequest {}).await).unwrap();
    let header = status.header.unwrap();
    assert!(status.leader > 0 && status.leader == header.member_id);
    let mut cluster = ClusterClient::new(etcd.channel.clone());
    let members = cluster.member_list(pb::MemberListRequest::default()).await;
    let members = answer(members).unwrap().members;
    assert_eq!(members.len(), 1);
    assert_eq!(members[0].id, header.member_id);
}

pub(crate) async fn a_login_is_refused_where_there_are_none(etcd: &Etcd) {
    let request = pb::AuthenticateRequest {
        name: "root".to_owned(),
        password: "secret".to_owned(),
    };
    let mut auth = AuthClient::new(etcd.channel.clone());
    let reply = auth.authenticate(request).await;
    let text = "etcdserver: authentication is not enabled";
    let refused = refusal(Code::FailedPrecondition, text);
    assert_eq!(answer(reply), refused);
}

pub(crate) async fn it_is_healthy_and_knows_no_other_service(etcd: &Etcd) {
    let mut health = HealthClient::new(etcd.channel.clone());
    let reply = health.check(HealthCheckRequest::default()).await.unwrap();
    assert_eq!(reply.into_inner().status(), ServingStatus::Serving);

    let mut grpc = tonic::client::Grpc::new(etcd.channel.clone());
    grpc.ready().await.unwrap();
    let codec = tonic_prost::ProstCodec::<HealthCheckRequest, HealthCheckRequest>::default();
    let request = tonic::Request::new(HealthCheckRequest::default());
    let path = PathAndQuery::from_str("/a.B/C").unwrap();
    let reply = grpc.unary(request, path, codec).await;
    let refused = refusal(Code::Unimplemented, "unknown service a.B");
    assert_eq!(answer(reply).map(|_| ()), refused);
}

/// What clients tell of themselves is taken, and changes nothing.
pub(crate) async fn what_clients_tell_of_themselves_is_taken(etcd: &Etcd) {
    let mut request = tonic::Request::new(put("told", "value"));
    for (name, value) in [("client-api-version", "3.5.1"), ("hasleader", "true")] {
        request.metadata_mut().insert(name, value.parse().unwrap());
    }
    let mut kv = KvClient::new(etcd.channel.clone());
    answer(kv.put(request).await).unwrap();
    assert_eq!(&*etcd.get(b"told").await.unwrap().value, b"value");
}

fn is_missing(key: &str) -> pb::Compare {
    compare(key, CompareResult::Equal, TargetUnion::CreateRevision(0))
}

fn kvs(reply: &pb::ResponseOp) -> &[etcd_lock_proto::mvccpb::KeyValue] {
    match &reply.response {
        Some(Response::ResponseRange(reply)) => &reply.kvs,
        other => panic!("{other:?} is no answer to a read"),
    }
}
