//! Calls that wait don't take what short calls need, and clients work on any runtime.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::time::Duration;

use etcd_lock_core::kv::{PutRequest, RangeRequest, TxnRequest};
use etcd_lock_core::lease::{LeaseGrantRequest, LeaseKeepAliveResponse};
use etcd_lock_core::watch::{WatchCreate, WatchRequest, WatchResponse};
use etcd_lock_core::{
    BoxStream, CallOptions, LeaseId, LockName, LockRequest, LockResponse, Result, Timeout,
    Transport, Ttl, UnlockRequest,
};
use etcd_lock_grpc::{Address, ConnectOptions, GrpcTransport, TlsOptions};
use etcd_lock_memory::{MemoryEtcd, Server};
use etcd_lock_testkit::certificates::Authority;
use etcd_lock_testkit::real_etcd::Setup;
use etcd_lock_testkit::{RealEtcd, ReservedPort};
use futures_util::stream::{self, StreamExt};
use tokio::net::TcpStream;
use tokio::runtime::Runtime;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};
use tokio_stream::wrappers::UnboundedReceiverStream;
use tower::service_fn;

use crate::calls::{PATIENCE, is_usable};

/// How many streams the server permits on a connection.
const STREAMS: u32 = 10;

#[tokio::test]
async fn watches_take_as_many_connections_as_they_need() {
    let etcd = narrow_etcd().await;
    let (transport, connections) = counted(&etcd.endpoints()[0]);
    let mut watches = Vec::new();
    for _ in 0..5 * STREAMS {
        watches.push(watch(&transport).await);
    }
    is_usable(&transport).await;
    let connections = connections.load(SeqCst);
    assert!((6..=12).contains(&connections), "{connections} connections");
}

#[tokio::test]
async fn waiters_take_as_many_connections_as_they_need() {
    let etcd = narrow_etcd().await;
    let (transport, connections) = counted(&etcd.endpoints()[0]);
    let name = LockName::new("name").unwrap();
    let mut waiting = Vec::new();
    for _ in 0..3 * STREAMS {
        waiting.push(wait(&transport, &name).await);
    }
    queued(&transport, &name, waiting.len()).await;
    is_usable(&transport).await;
    let connections = connections.load(SeqCst);
    assert!(connections >= 7, "{connections} connections");
}

/// etcd over TLS permitted 250 streams on a connection until 3.4.20 and 3.5.5, and a self-deadlock was one waiter too many.
#[tokio::test]
async fn thousands_of_waits_over_tls_hold_up_no_short_call_and_no_keep_alive() {
    const WAITERS: usize = 1000;
    const WATCHES: usize = 2000;
    let authority = Authority::new();
    let etcd = Setup::new()
        .flags(&["--max-concurrent-streams", "250"])
        .tls(&authority, &authority.server())
        .start()
        .await;
    let worker = authority.client("worker");
    let tls = TlsOptions::new()
        .with_ca_file(authority.ca_file())
        .with_identity_files(worker.certificate_file(), worker.key_file());
    let options = ConnectOptions::new().with_tls(tls);
    let (transport, connections) = counted_with(&etcd.endpoints()[0], options);

    let holder = lease(&transport).await;
    let name = LockName::new("name").unwrap();
    let request = LockRequest::new(name.clone(), holder);
    let held = transport.lock(request, patient()).await.unwrap();
    let mut renewals = renewals(&transport, holder).await;
    let waits = (0..WAITERS).map(|_| wait(&transport, &name));
    let waiters = stream::iter(waits).buffer_unordered(50);
    let waiters: Vec<_> = waiters.collect().await;
    let watches = (0..WATCHES).map(|_| watch(&transport));
    let watches = stream::iter(watches).buffer_unordered(50);
    let watches: Vec<_> = watches.collect().await;
    queued(&transport, &name, 1 + WAITERS).await;
    // Each waiter has its call and a watch of its own key.
    let least = (2 * WAITERS + WATCHES) / 100;
    assert!(connections.load(SeqCst) > least, "{connections:?}");

    for _ in 0..10 {
        let put = TxnRequest::new().and_then(PutRequest::new("other", "value"));
        in_time("txn", transport.txn(put, patient())).await.unwrap();
        let renewed = in_time("keep-alive", renewals.renew()).await;
        assert_eq!(renewed.id, holder);
    }
    let unlock = UnlockRequest::new(held.key).with_create_revision(held.create_revision);
    in_time("unlock", transport.unlock(unlock, patient()))
        .await
        .unwrap();
    assert!(entries(&transport, &name).await <= WAITERS);
    drop((waiters, watches));
}

#[test]
fn a_client_outlives_the_runtime_of_its_first_call() {
    let serving = Runtime::new().unwrap();
    let server = serving.block_on(Server::bind("127.0.0.1:0", MemoryEtcd::new()));
    let server = server.unwrap();
    let transport = GrpcTransport::connect([server.endpoint()]).unwrap();
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
    let transport = GrpcTransport::connect([server.endpoint()]).unwrap();
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
    let port = ReservedPort::new();
    let server = Server::bind(port.address(), etcd.clone()).await.unwrap();
    let transport = GrpcTransport::connect([server.endpoint()]).unwrap();
    is_usable(&transport).await;
    drop(server);
    sleep(Duration::from_millis(200)).await;
    let _server = Server::bind(port.address(), etcd).await.unwrap();
    is_usable(&transport).await;
}

/// An etcd that permits few streams on a connection.
async fn narrow_etcd() -> RealEtcd {
    RealEtcd::with_flags(&["--max-concurrent-streams", &STREAMS.to_string()]).await
}

/// A transport whose connections are counted.
fn counted(endpoint: &str) -> (GrpcTransport, Arc<AtomicUsize>) {
    counted_with(endpoint, ConnectOptions::new())
}

fn counted_with(endpoint: &str, options: ConnectOptions) -> (GrpcTransport, Arc<AtomicUsize>) {
    let count = Arc::new(AtomicUsize::new(0));
    let made = count.clone();
    let connector = service_fn(move |address: Address| {
        made.fetch_add(1, SeqCst);
        TcpStream::connect(address.to_string())
    });
    let builder = GrpcTransport::builder(options.with_endpoints([endpoint]));
    (builder.connector(connector).build().unwrap(), count)
}

/// The calls that make up a crowd take their time on a busy machine.
fn patient() -> CallOptions {
    CallOptions::new(PATIENCE.into())
}

/// Half of what an attempt may take.
async fn in_time<T>(what: &str, call: impl Future<Output = T>) -> T {
    let done = timeout(Duration::from_secs(1), call).await;
    done.unwrap_or_else(|_| panic!("the {what} was held up"))
}

async fn lease(transport: &GrpcTransport) -> LeaseId {
    let grant = LeaseGrantRequest::new(Ttl::from_secs(600).unwrap());
    transport.lease_grant(grant, patient()).await.unwrap().id
}

/// A call that waits for a lock, under way.
async fn wait(transport: &GrpcTransport, name: &LockName) -> JoinHandle<Result<LockResponse>> {
    let request = LockRequest::new(name.clone(), lease(transport).await);
    let transport = transport.clone();
    let endless = CallOptions::new(Timeout::Infinity);
    tokio::spawn(async move { transport.lock(request, endless).await })
}

/// A watch that is on.
async fn watch(transport: &GrpcTransport) -> BoxStream<Result<WatchResponse>> {
    let create = WatchRequest::Create(WatchCreate::key(1, "key"));
    let requests = stream::iter([create]).chain(stream::pending());
    let mut watch = transport.watch(requests.boxed());
    timeout(PATIENCE, watch.next())
        .await
        .unwrap()
        .unwrap()
        .unwrap();
    watch
}

/// Waits until a queue has so many entries.
async fn queued(transport: &GrpcTransport, name: &LockName, count: usize) {
    let reached = async { while entries(transport, name).await < count {} };
    timeout(PATIENCE, reached).await.unwrap();
}

async fn entries(transport: &GrpcTransport, name: &LockName) -> usize {
    let prefix = RangeRequest::prefix(format!("{name}/")).keys_only();
    transport.range(prefix, patient()).await.unwrap().kvs.len()
}

/// A keep-alive stream that renews a lease when it is told to.
struct Renewals {
    lease: LeaseId,
    ask: mpsc::UnboundedSender<LeaseId>,
    answers: BoxStream<Result<LeaseKeepAliveResponse>>,
}

async fn renewals(transport: &GrpcTransport, lease: LeaseId) -> Renewals {
    let (ask, asked) = mpsc::unbounded_channel();
    let answers = transport.lease_keep_alive(UnboundedReceiverStream::new(asked).boxed());
    let mut renewals = Renewals {
        lease,
        ask,
        answers,
    };
    renewals.renew().await;
    renewals
}

impl Renewals {
    async fn renew(&mut self) -> LeaseKeepAliveResponse {
        self.ask.send(self.lease).unwrap();
        self.answers.next().await.unwrap().unwrap()
    }
}
