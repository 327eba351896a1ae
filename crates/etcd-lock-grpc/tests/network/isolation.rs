//! Calls that wait don't take what short calls need, and clients work on any runtime.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::time::Duration;

use etcd_lock_core::kv::RangeRequest;
use etcd_lock_core::watch::{WatchCreate, WatchRequest};
use etcd_lock_core::{CallOptions, Client, LockName, LockRequest, Timeout, Transport, lease};
use etcd_lock_grpc::{Address, GrpcTransport, Options};
use etcd_lock_memory::{MemoryEtcd, Server};
use etcd_lock_testkit::RealEtcd;
use futures_util::stream::{self, StreamExt};
use tokio::net::TcpStream;
use tokio::runtime::Runtime;
use tokio::time::{sleep, timeout};
use tower::service_fn;

use crate::calls::{PATIENCE, is_usable};

/// How many streams the server permits on a connection.
const STREAMS: u32 = 10;

#[tokio::test]
async fn watches_take_as_many_connections_as_they_need() {
    let etcd = narrow_etcd().await;
    let (transport, connections) = counted(&etcd.endpoints()[0]);
    let mut watches = Vec::new();
    for number in 0..5 * i64::from(STREAMS) {
        let create = WatchRequest::Create(WatchCreate::key(number, "key"));
        let requests = stream::iter([create]).chain(stream::pending());
        let mut watch = transport.watch(requests.boxed());
        timeout(PATIENCE, watch.next())
            .await
            .unwrap()
            .unwrap()
            .unwrap();
        watches.push(watch);
    }
    is_usable(&transport).await;
    let connections = connections.load(SeqCst);
    assert!((6..=12).contains(&connections), "{connections} connections");
}

#[tokio::test]
async fn waiters_take_as_many_connections_as_they_need() {
    let etcd = narrow_etcd().await;
    let (transport, connections) = counted(&etcd.endpoints()[0]);
    let client = Client::new(transport.clone());
    let name = LockName::new("name").unwrap();
    let mut waiting = Vec::new();
    for _ in 0..3 * STREAMS {
        let lease = lease::grant(&client, Duration::from_secs(600))
            .await
            .unwrap();
        let request = LockRequest::new(name.clone(), lease.id);
        let transport = transport.clone();
        waiting.push(tokio::spawn(async move {
            let options = CallOptions::new(Timeout::Infinity);
            transport.lock(request, options).await
        }));
    }
    let prefix = || transport.range(RangeRequest::prefix("name/"), CallOptions::default());
    let queued = async { while prefix().await.unwrap().kvs.len() < waiting.len() {} };
    timeout(PATIENCE, queued).await.unwrap();
    is_usable(&transport).await;
    let connections = connections.load(SeqCst);
    assert!(connections >= 7, "{connections} connections");
}

#[test]
fn a_client_outlives_the_runtime_of_its_first_call() {
    let serving = Runtime::new().unwrap();
    let server = serving.block_on(Server::bind("127.0.0.1:0", MemoryEtcd::new()));
    let server = server.unwrap();
    let transport = GrpcTransport::connect([server.endpoint()], Options::new()).unwrap();
    for _ in 0..3 {
        let runtime = Runtime::new().unwrap();
        runtime.block_on(is_usable(&transport));
    }
}

/// A runtime that nobody drives any more doesn't hold up the calls on another.
#[test]
fn a_client_works_on_two_runtimes_of_which_one_stands_still() {
    let serving = Runtime::new().unwrap();
    let server = serving.block_on(Server::bind("127.0.0.1:0", MemoryEtcd::new()));
    let server = server.unwrap();
    let transport = GrpcTransport::connect([server.endpoint()], Options::new()).unwrap();
    let single = || {
        tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
    };
    let (one, other) = (single().unwrap(), single().unwrap());
    for _ in 0..3 {
        one.block_on(is_usable(&transport));
        other.block_on(is_usable(&transport));
    }
    one.block_on(async {
        let transport = transport.clone();
        tokio::spawn(async move { is_usable(&transport).await });
    });
    other
        .block_on(async { timeout(Duration::from_secs(1), is_usable(&transport)).await })
        .unwrap();
}

#[tokio::test]
async fn an_idle_client_works_after_its_server_was_restarted() {
    let etcd = MemoryEtcd::new();
    let server = Server::bind("127.0.0.1:0", etcd.clone()).await.unwrap();
    let address = server.address();
    let transport = GrpcTransport::connect([server.endpoint()], Options::new()).unwrap();
    is_usable(&transport).await;
    drop(server);
    sleep(Duration::from_millis(200)).await;
    let _server = Server::bind(address, etcd).await.unwrap();
    is_usable(&transport).await;
}

/// An etcd that permits few streams on a connection.
async fn narrow_etcd() -> RealEtcd {
    RealEtcd::with_flags(&["--max-concurrent-streams", &STREAMS.to_string()]).await
}

/// A transport whose connections are counted.
fn counted(endpoint: &str) -> (GrpcTransport, Arc<AtomicUsize>) {
    let count = Arc::new(AtomicUsize::new(0));
    let made = count.clone();
    let connector = service_fn(move |address: Address| {
        made.fetch_add(1, SeqCst);
        TcpStream::connect(address.to_string())
    });
    let builder = GrpcTransport::builder([endpoint]).connector(connector);
    (builder.build().unwrap(), count)
}
