//! Layers, connections and channels that users bring.

use std::convert::Infallible;
use std::future::ready;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};

use etcd_lock_core::{ErrorKind, Timeout};
use etcd_lock_grpc::layers::Request;
use etcd_lock_grpc::{Address, GrpcTransport};
use etcd_lock_memory::{MemoryEtcd, Server};
use http::{Request as HttpRequest, Response};
use tokio::net::TcpStream;
use tonic::body::Body;
use tonic::transport::Channel;
use tower::{ServiceBuilder, service_fn};

use crate::calls::{PATIENCE, every_call, is_usable};

#[tokio::test]
async fn a_layer_sees_each_request() {
    let server = Server::bind("127.0.0.1:0", MemoryEtcd::new())
        .await
        .unwrap();
    let seen = Arc::new(AtomicUsize::new(0));
    let counted = seen.clone();
    let layer = ServiceBuilder::new().map_request(move |request: Request| {
        counted.fetch_add(1, SeqCst);
        request
    });
    let builder = GrpcTransport::builder([server.endpoint()]).layer(layer.into_inner());
    is_usable(&builder.build().unwrap()).await;
    assert!(seen.load(SeqCst) > 2, "{seen:?}");
}

#[tokio::test]
async fn a_connector_makes_the_connections() {
    let server = Server::bind("127.0.0.1:0", MemoryEtcd::new())
        .await
        .unwrap();
    let address = server.address();
    let connector = service_fn(move |to: Address| {
        assert_eq!(to.to_string(), "etcd.example:2379");
        TcpStream::connect(address)
    });
    let builder = GrpcTransport::builder(["etcd.example:2379"]).connector(connector);
    is_usable(&builder.build().unwrap()).await;
}

#[tokio::test]
async fn a_channel_carries_the_requests() {
    let server = Server::bind("127.0.0.1:0", MemoryEtcd::new())
        .await
        .unwrap();
    let channel = Channel::from_shared(server.endpoint())
        .unwrap()
        .connect_lazy();
    let builder = GrpcTransport::builder(["etcd.example:2379"]).channel(channel);
    is_usable(&builder.build().unwrap()).await;
}

#[tokio::test]
async fn a_write_is_in_doubt_where_the_reply_makes_no_sense() {
    // An empty message: it lacks the header that every reply has.
    let reply = || {
        let reply = Response::builder().header("grpc-status", "0");
        reply.body(Body::new("\0\0\0\0\0".to_owned())).unwrap()
    };
    let channel = service_fn(move |_: HttpRequest<Body>| ready(Ok::<_, Infallible>(reply())));
    let builder = GrpcTransport::builder(["etcd.example:2379"]).channel(channel);
    for called in every_call(&builder.build().unwrap(), Timeout::After(PATIENCE)).await {
        let (name, is_read) = (called.name, called.is_read);
        let error = called.error();
        assert_eq!(error.kind(), ErrorKind::Protocol, "{name}: {error:?}");
        // A lock and its release begin with a read.
        if !["lock", "unlock"].contains(&name) {
            assert_eq!(error.is_outcome_unknown(), !is_read, "{name}: {error:?}");
        }
    }
}
