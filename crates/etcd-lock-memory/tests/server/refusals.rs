//! Requests that can't be right, refused with etcd's codes and words.

use bytes::Bytes;
use etcd_lock_proto::etcdserverpb as pb;
use pb::kv_client::KvClient;
use pb::request_op::Request;
use tonic::Code;

use crate::{connect, serve};

#[tokio::test]
async fn a_request_over_a_mebibyte_and_a_half_is_too_large() {
    let refused = refusal_of_put(1536 * 1024 + 1, 0).await;
    let text = "etcdserver: request is too large";
    assert_eq!(refused, (Code::InvalidArgument, text.to_owned()));
}

#[tokio::test]
async fn a_message_over_two_mebibytes_is_not_read() {
    let (code, text) = refusal_of_put(2 * 1024 * 1024, 0).await;
    assert_eq!(code, Code::ResourceExhausted);
    assert!(
        text.starts_with("grpc: received message larger than max ("),
        "{text}"
    );
    assert!(text.ends_with(" vs. 2097152)"), "{text}");
}

#[tokio::test]
async fn an_unknown_lease_is_not_found() {
    let refused = refusal_of_put(1, 77).await;
    let text = "etcdserver: requested lease not found";
    assert_eq!(refused, (Code::NotFound, text.to_owned()));
}

#[tokio::test]
async fn an_empty_key_is_no_key() {
    let server = serve().await;
    let mut kv = KvClient::new(connect(&server).await);
    let refused = kv.put(pb::PutRequest::default()).await.unwrap_err();
    assert_eq!(refused.code(), Code::InvalidArgument);
    assert_eq!(refused.message(), "etcdserver: key is not provided");
}

#[tokio::test]
async fn a_key_is_not_put_twice_in_one_transaction() {
    let server = serve().await;
    let mut kv = KvClient::new(connect(&server).await);
    let put = pb::RequestOp {
        request: Some(Request::RequestPut(a_put(1, 0))),
    };
    let twice = pb::TxnRequest {
        success: vec![put.clone(), put],
        ..pb::TxnRequest::default()
    };
    let refused = kv.txn(twice).await.unwrap_err();
    assert_eq!(refused.code(), Code::InvalidArgument);
    let text = "etcdserver: duplicate key given in txn request";
    assert_eq!(refused.message(), text);
}

async fn refusal_of_put(bytes: usize, lease: i64) -> (Code, String) {
    let server = serve().await;
    let mut kv = KvClient::new(connect(&server).await);
    let refused = kv.put(a_put(bytes, lease)).await.unwrap_err();
    (refused.code(), refused.message().to_owned())
}

fn a_put(bytes: usize, lease: i64) -> pb::PutRequest {
    pb::PutRequest {
        key: "key".into(),
        value: Bytes::from(vec![0; bytes]),
        lease,
        ..pb::PutRequest::default()
    }
}
