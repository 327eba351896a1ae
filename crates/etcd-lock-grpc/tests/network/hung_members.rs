//! Members that accept connections and requests and say nothing: they are left in time, whichever call notices, and taken again.

use std::time::Duration;

use etcd_lock_core::kv::{PutRequest, RangeRequest, TxnRequest};
use etcd_lock_core::lease::LeaseGrantRequest;
use etcd_lock_core::watch::{WatchCreate, WatchRequest};
use etcd_lock_core::{BoxStream, CallOptions, LeaseId, LockName, LockRequest, Transport, Ttl};
use etcd_lock_grpc::{ConnectOptions, EndpointChoice, EndpointState, GrpcTransport};
use etcd_lock_memory::{MemoryEtcd, Server};
use futures_util::stream::{self, StreamExt};
use tokio::sync::oneshot;
use tokio::time::{Instant, sleep, timeout};

use crate::calls::{PATIENCE, is_usable};
use crate::proxy::Proxy;

/// A session of 10 s is lost after 9 s: by then a silent member must have been left.
const SOON: Duration = Duration::from_secs(8);

/// Twice what an attempt has: enough for a member to be left, if it were.
const LONG: Duration = Duration::from_secs(4);

#[tokio::test]
async fn a_member_that_accepts_and_says_nothing_delays_nobody() {
    let (hung, good) = members().await;
    hung.freeze();
    let transport = connect([hung.endpoint(), good.endpoint()], ConnectOptions::new());
    let began = Instant::now();
    let put = TxnRequest::new().and_then(PutRequest::new("key", "value"));
    transport.txn(put, options()).await.unwrap();
    assert!(
        began.elapsed() < Duration::from_millis(1900),
        "{:?}",
        began.elapsed()
    );
}

#[tokio::test]
async fn a_call_survives_a_member_that_stops_answering() {
    let (hung, good) = members().await;
    let transport = connect([hung.endpoint(), good.endpoint()], ConnectOptions::new());
    range(&transport).await;
    hung.freeze();
    let began = Instant::now();
    range(&transport).await;
    assert!(began.elapsed() < SOON, "{:?}", began.elapsed());
    assert_ne!(state(&transport), EndpointState::Healthy);
    let began = Instant::now();
    range(&transport).await;
    assert!(
        began.elapsed() < Duration::from_millis(1900),
        "{:?}",
        began.elapsed()
    );
}

/// The caller's patience is shorter than an attempt, and it has left: the member is left nevertheless.
#[tokio::test]
async fn a_dropped_call_is_evidence_if_nothing_else_comes() {
    let (hung, good) = members().await;
    let transport = connect([hung.endpoint(), good.endpoint()], ConnectOptions::new());
    range(&transport).await;
    hung.freeze();
    let short = transport.range(RangeRequest::key("key"), options());
    timeout(Duration::from_millis(100), short)
        .await
        .unwrap_err();
    becomes(&transport, EndpointState::Failed).await;
}

/// A future that is neither polled nor dropped doesn't stop the clock.
#[tokio::test]
async fn a_call_that_is_never_polled_again_is_evidence() {
    let (hung, good) = members().await;
    let transport = connect([hung.endpoint(), good.endpoint()], ConnectOptions::new());
    range(&transport).await;
    hung.freeze();
    let mut kept = transport.range(RangeRequest::key("key"), options());
    timeout(Duration::from_millis(100), &mut kept)
        .await
        .unwrap_err();
    becomes(&transport, EndpointState::Failed).await;
    kept.await.unwrap();
}

#[tokio::test]
async fn callers_without_patience_do_not_make_a_healthy_member_fail() {
    let (slow, good) = members().await;
    slow.delay(Duration::from_millis(150));
    let transport = connect([slow.endpoint(), good.endpoint()], ConnectOptions::new());
    range(&transport).await;
    for _ in 0..20 {
        let short = CallOptions::new(Duration::from_millis(20).into());
        let call = transport.range(RangeRequest::key("key"), short);
        call.await.unwrap_err();
        assert_eq!(state(&transport), EndpointState::Healthy);
    }
    sleep(LONG).await;
    assert_eq!(state(&transport), EndpointState::Healthy);
}

/// Somebody else has the lock, which is nothing that the member could help.
#[tokio::test]
async fn a_busy_lock_is_no_evidence() {
    let (one, other) = members().await;
    let transport = connect([one.endpoint(), other.endpoint()], ConnectOptions::new());
    let mut leases = Vec::new();
    for _ in 0..2 {
        let grant = LeaseGrantRequest::new(Ttl::from_secs(600).unwrap());
        leases.push(transport.lease_grant(grant, options()).await.unwrap().id);
    }
    let lock = |lease| LockRequest::new(LockName::new("name").unwrap(), lease);
    transport.lock(lock(leases[0]), options()).await.unwrap();
    let short = CallOptions::new(LONG.into());
    let error = transport.lock(lock(leases[1]), short).await.unwrap_err();
    assert!(error.is_timeout(), "{error:?}");
    assert_eq!(state(&transport), EndpointState::Healthy);
    assert_eq!(transport.info().endpoints[1].attempts, 0);
}

#[tokio::test]
async fn streams_of_a_member_that_stops_answering_end() {
    let (hung, good) = members().await;
    let transport = connect([hung.endpoint(), good.endpoint()], ConnectOptions::new());
    let mut watch = transport.watch(endless(WatchRequest::Create(WatchCreate::key(1, "key"))));
    watch.next().await.unwrap().unwrap();
    hung.freeze();
    let began = Instant::now();
    let ended = timeout(2 * SOON, watch.next()).await.unwrap();
    assert!(ended.unwrap().unwrap_err().is_unavailable());
    // Quiet for half of an attempt's time, and asked for a sign of life for the whole of one.
    assert!(
        began.elapsed() < Duration::from_millis(3900),
        "{:?}",
        began.elapsed()
    );
    // A new one is opened elsewhere.
    let mut watch = transport.watch(endless(WatchRequest::Create(WatchCreate::key(1, "key"))));
    timeout(SOON, watch.next()).await.unwrap().unwrap().unwrap();
}

#[tokio::test]
async fn an_unanswered_keep_alive_ends_its_stream() {
    let (hung, good) = members().await;
    let transport = connect([hung.endpoint(), good.endpoint()], ConnectOptions::new());
    let lease = LeaseId::new(7).unwrap();
    let (again, asked_again) = oneshot::channel();
    let second = stream::once(async move {
        asked_again.await.unwrap();
        lease
    });
    let leases = stream::iter([lease]).chain(second).chain(stream::pending());
    let mut stream = transport.lease_keep_alive(leases.boxed());
    stream.next().await.unwrap().unwrap();
    hung.freeze();
    again.send(()).unwrap();
    let began = Instant::now();
    let ended = timeout(SOON, stream.next()).await.unwrap();
    assert!(ended.unwrap().unwrap_err().is_unavailable());
    assert!(began.elapsed() < SOON, "{:?}", began.elapsed());
    becomes(&transport, EndpointState::Failed).await;
}

#[tokio::test]
async fn a_quiet_watch_is_no_evidence() {
    let (one, other) = members().await;
    let transport = connect([one.endpoint(), other.endpoint()], ConnectOptions::new());
    let mut watch = transport.watch(endless(WatchRequest::Create(WatchCreate::key(1, "key"))));
    watch.next().await.unwrap().unwrap();
    timeout(2 * LONG, watch.next()).await.unwrap_err();
    assert_eq!(state(&transport), EndpointState::Healthy);
}

#[tokio::test]
async fn a_member_that_answers_again_is_taken_again() {
    let (hung, good) = members().await;
    let transport = connect([hung.endpoint(), good.endpoint()], ConnectOptions::new());
    range(&transport).await;
    hung.freeze();
    range(&transport).await;
    becomes(&transport, EndpointState::Failed).await;
    hung.thaw();
    becomes(&transport, EndpointState::Healthy).await;
    is_usable(&transport).await;
}

/// Two ways to one in-memory etcd: through a proxy, and straight.
async fn members() -> (Proxy, Server) {
    let etcd = MemoryEtcd::new();
    let server = Server::bind("127.0.0.1:0", etcd).await.unwrap();
    (Proxy::start(server.address()).await, server)
}

fn connect(endpoints: [String; 2], options: ConnectOptions) -> GrpcTransport {
    let options = options.with_endpoint_choice(EndpointChoice::Listed);
    GrpcTransport::connect(options.with_endpoints(endpoints)).unwrap()
}

async fn range(transport: &GrpcTransport) {
    let request = RangeRequest::key("key");
    transport.range(request, options()).await.unwrap();
}

/// The first endpoint's state.
fn state(transport: &GrpcTransport) -> EndpointState {
    transport.info().endpoints[0].state
}

async fn becomes(transport: &GrpcTransport, wanted: EndpointState) {
    let reached = async {
        while state(transport) != wanted {
            sleep(Duration::from_millis(10)).await;
        }
    };
    let info = || transport.info();
    timeout(PATIENCE, reached)
        .await
        .unwrap_or_else(|_| panic!("not {wanted:?}: {:?}", info()));
}

fn options() -> CallOptions {
    CallOptions::new(PATIENCE.into())
}

fn endless<T: Send + 'static>(first: T) -> BoxStream<T> {
    stream::iter([first]).chain(stream::pending()).boxed()
}
