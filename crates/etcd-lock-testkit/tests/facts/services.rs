//! Facts of the services beside those of keys and locks.

use std::str::FromStr;

use etcd_lock_proto::etcdserverpb as pb;
use pb::auth_client::AuthClient;
use tonic::Code;
use tonic::codegen::http::uri::PathAndQuery;
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;

use super::etcd::{Etcd, answer, refusal};

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
