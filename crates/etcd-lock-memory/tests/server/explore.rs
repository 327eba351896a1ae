//! gRPC health and reflection: what eetcd asks before it connects, and what explorers ask.

use etcd_lock_proto::etcdserverpb::kv_client::KvClient;
use tonic::Code;
use tonic::codegen::http::uri::PathAndQuery;
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;
use tonic_reflection::pb::v1::ServerReflectionRequest;
use tonic_reflection::pb::v1::server_reflection_client::ServerReflectionClient;
use tonic_reflection::pb::v1::server_reflection_request::MessageRequest;
use tonic_reflection::pb::v1::server_reflection_response::MessageResponse;

use crate::{connect, serve};

#[tokio::test]
async fn the_whole_server_is_healthy() {
    let server = serve().await;
    let mut health = HealthClient::new(connect(&server).await);
    let service = String::new();
    let reply = health.check(HealthCheckRequest { service }).await.unwrap();
    assert_eq!(reply.into_inner().status(), ServingStatus::Serving);
}

#[tokio::test]
async fn health_of_a_service_that_is_none_is_not_found() {
    let server = serve().await;
    let mut health = HealthClient::new(connect(&server).await);
    let service = "a.B".to_owned();
    let refused = health.check(HealthCheckRequest { service }).await;
    assert_eq!(refused.unwrap_err().code(), Code::NotFound);
}

#[tokio::test]
async fn a_service_that_is_none_is_named_in_the_refusal() {
    let server = serve().await;
    let mut grpc = tonic::client::Grpc::new(connect(&server).await);
    grpc.ready().await.unwrap();
    let codec = tonic_prost::ProstCodec::<HealthCheckRequest, HealthCheckRequest>::default();
    let request = tonic::Request::new(HealthCheckRequest::default());
    let path = PathAndQuery::from_static("/a.B/C");
    let refused = grpc.unary(request, path, codec).await.unwrap_err();
    assert_eq!(refused.code(), Code::Unimplemented);
    assert_eq!(refused.message(), "unknown service a.B");
}

#[tokio::test]
async fn reflection_lists_the_services_and_knows_their_messages() {
    let server = serve().await;
    let mut reflection = ServerReflectionClient::new(connect(&server).await);
    let ask = |message| ServerReflectionRequest {
        host: String::new(),
        message_request: Some(message),
    };
    let asked = tokio_stream::iter([
        ask(MessageRequest::ListServices(String::new())),
        ask(MessageRequest::FileContainingSymbol(
            "etcdserverpb.KV".to_owned(),
        )),
    ]);
    let mut replies = reflection
        .server_reflection_info(asked)
        .await
        .unwrap()
        .into_inner();

    let listed = replies.message().await.unwrap().unwrap().message_response;
    let Some(MessageResponse::ListServicesResponse(listed)) = listed else {
        panic!("{listed:?}");
    };
    let names: Vec<_> = listed
        .service
        .iter()
        .map(|service| &*service.name)
        .collect();
    for service in ["etcdserverpb.KV", "etcdserverpb.Watch", "v3lockpb.Lock"] {
        assert!(names.contains(&service), "{names:?}");
    }
    let found = replies.message().await.unwrap().unwrap().message_response;
    assert!(matches!(
        found,
        Some(MessageResponse::FileDescriptorResponse(_))
    ));
}

#[tokio::test]
async fn one_connection_asks_quickly_one_thing_after_the_other() {
    let server = serve().await;
    let channel = connect(&server).await;
    let mut kv = KvClient::new(channel);
    let request = etcd_lock_proto::etcdserverpb::RangeRequest {
        key: "key".into(),
        ..Default::default()
    };
    let mut took = Vec::new();
    for _ in 0..50 {
        let began = tokio::time::Instant::now();
        kv.range(request.clone()).await.unwrap();
        took.push(began.elapsed());
    }
    // Without TCP_NODELAY each takes the 40 ms of a delayed acknowledgement. On a busy machine a few take that long anyway.
    took.sort_unstable();
    assert!(took[25].as_millis() < 40, "{took:?}");
}
