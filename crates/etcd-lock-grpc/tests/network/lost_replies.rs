//! A request arrives, its reply does not, and then nobody can be reached for a while.

use std::net::SocketAddr;
use std::time::Duration;

use etcd_lock_core::kv::RangeRequest;
use etcd_lock_core::{CallOptions, Client, LockName, LockRequest, Transport, lease};
use etcd_lock_grpc::GrpcTransport;
use etcd_lock_memory::{MemoryEtcd, Server};
use etcd_lock_session::Queue;
use etcd_lock_testkit::ReservedPort;
use tokio::io::{self, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::{sleep, timeout};

use crate::calls::PATIENCE;

/// An empty SETTINGS frame: what makes a listener an HTTP/2 server for a client.
const SETTINGS: &[u8] = &[0, 0, 0, 4, 0, 0, 0, 0, 0];

/// The outcomes of the repetitions say nothing about the first attempt.
#[tokio::test]
async fn an_entry_that_nobody_heard_of_is_withdrawn() {
    let etcd = MemoryEtcd::new();
    let inspector = Client::new(etcd.clone());
    let server = Server::bind("127.0.0.1:0", etcd.clone()).await.unwrap();
    let port = ReservedPort::new();
    let listener = TcpListener::bind(port.address()).await.unwrap();
    let endpoint = format!("http://{}", port.address());
    let queue = Queue::new(GrpcTransport::connect([endpoint]).unwrap());
    let lease = lease::grant(&inspector, Duration::from_secs(600))
        .await
        .unwrap();
    let request = LockRequest::new(LockName::new("name").unwrap(), lease.id);

    let lock = queue.lock(request, CallOptions::new(PATIENCE.into()));
    let (error, ()) = tokio::join!(
        async { lock.await.unwrap_err() },
        swallow_the_reply(listener, server.address(), &inspector),
    );

    assert!(
        error.is_unavailable() && error.is_outcome_unknown(),
        "{error:?}"
    );
    assert!(is_queued(&inspector).await);
    let _back = Server::bind(port.address(), etcd).await.unwrap();
    timeout(PATIENCE, becomes(&inspector, false)).await.unwrap();
}

/// Lets one connection's requests through until one has put an entry, and hangs up on everybody then.
async fn swallow_the_reply(listener: TcpListener, server: SocketAddr, inspector: &Client) {
    let (mut client, _) = listener.accept().await.unwrap();
    client.write_all(SETTINGS).await.unwrap();
    let mut server = TcpStream::connect(server).await.unwrap();
    tokio::select! {
        _ = io::copy(&mut client, &mut server) => panic!("the client gave up"),
        () = becomes(inspector, true) => drop(listener),
    }
}

async fn becomes(inspector: &Client, queued: bool) {
    while is_queued(inspector).await != queued {
        sleep(Duration::from_millis(5)).await;
    }
}

async fn is_queued(inspector: &Client) -> bool {
    let queue = RangeRequest::prefix("name/");
    let reply = inspector.transport().range(queue, CallOptions::default());
    !reply.await.unwrap().kvs.is_empty()
}
