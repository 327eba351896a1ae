//! Nobody listens, nobody answers, or somebody answers who is no etcd. Each gets an error that lets a person fix it, in
//! time, and once there is an etcd the same transport works.

use std::error::Error as _;
use std::future::{pending, poll_fn};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::time::Duration;

use bytes::Bytes;
use etcd_lock_core::kv::{PutRequest, RangeRequest, TxnRequest};
use etcd_lock_core::watch::{WatchCreate, WatchRequest};
use etcd_lock_core::{BoxStream, CallOptions, Error, ErrorKind, LeaseId, Timeout, Transport};
use etcd_lock_grpc::{ConnectOptions, EndpointChoice, GrpcTransport};
use etcd_lock_memory::{MemoryEtcd, Server};
use etcd_lock_testkit::ReservedPort;
use futures_util::stream::{self, StreamExt};
use tokio::io::{AsyncReadExt, AsyncWriteExt, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tonic::service::Routes;

use crate::calls::{PATIENCE, every_call, is_usable};

/// Enough for everything that gets an answer of any kind.
const AMPLE: Duration = Duration::from_secs(10);

/// For what gets none.
const SHORT: Duration = Duration::from_millis(150);

#[tokio::test]
async fn nobody_listens() {
    let port = ReservedPort::new();
    let address = port.address();
    let transport = connect(&endpoint(address));
    for called in every_call(&transport, AMPLE).await {
        let name = called.name;
        let error = called.error();
        is(&error, ErrorKind::Unavailable, &endpoint(address));
        assert!(
            error.to_string().contains("is an etcd listening there?"),
            "{error}"
        );
        assert!(!error.is_outcome_unknown(), "{name}: {error:?}");
    }
    for error in streams(&transport).await {
        is(&error, ErrorKind::Unavailable, &endpoint(address));
    }
    works_with_an_etcd_at(port, &transport).await;
}

#[tokio::test]
async fn a_host_that_does_not_exist() {
    let transport = connect("http://etcd.invalid:2379");
    for called in every_call(&transport, AMPLE).await {
        let error = called.error();
        is(&error, ErrorKind::Unavailable, "http://etcd.invalid:2379");
        assert!(!error.is_outcome_unknown(), "{error:?}");
    }
}

#[tokio::test]
async fn a_listener_that_says_nothing() {
    let bad = BadServer::start(|stream| async move {
        let _open = stream;
        pending().await
    })
    .await;
    let transport = connect(&bad.endpoint());
    for called in every_call(&transport, SHORT).await {
        let (name, is_read) = (called.name, called.is_read);
        let error = called.error();
        assert_eq!(error.kind(), ErrorKind::Timeout, "{name}: {error:?}");
        // The entry of a lock that isn't granted is looked after, so nothing about it is unknown.
        if !["lock", "unlock"].contains(&name) {
            assert_eq!(error.is_outcome_unknown(), !is_read, "{name}: {error:?}");
        }
    }
    works_with_an_etcd_at(bad.stop().await, &transport).await;
}

#[tokio::test]
async fn a_listener_that_hangs_up() {
    let bad = BadServer::start(|stream| async move { drop(stream) }).await;
    let transport = connect(&bad.endpoint());
    every_call_is_unavailable(&transport, &bad.endpoint()).await;
    works_with_an_etcd_at(bad.stop().await, &transport).await;
}

#[tokio::test]
async fn a_listener_that_hangs_up_when_it_is_asked() {
    let bad = BadServer::start(|mut stream| async move {
        let _ = stream.read(&mut [0; 16]).await;
    })
    .await;
    let transport = connect(&bad.endpoint());
    every_call_is_unavailable(&transport, &bad.endpoint()).await;
    works_with_an_etcd_at(bad.stop().await, &transport).await;
}

#[tokio::test]
async fn servers_of_other_protocols() {
    for greeting in [
        &b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n"[..],
        b"SSH-2.0-OpenSSH_9.2p1\r\n",
        b"\x15\x03\x03\x00\x02\x02\x46",
        b"220 mail.example ESMTP ready, tell me what you want to send and to whom\r\n",
    ] {
        let bad = BadServer::start(move |mut stream| async move {
            let _ = stream.write_all(greeting).await;
            // It answers nothing, and waits for more.
            while stream.read(&mut [0; 1024]).await.is_ok_and(|size| size > 0) {}
        })
        .await;
        let transport = connect(&bad.endpoint());
        for called in every_call(&transport, AMPLE).await {
            is(&called.error(), ErrorKind::Protocol, "is not an etcd");
        }
        for error in streams(&transport).await {
            is(&error, ErrorKind::Protocol, "is not an etcd");
        }
        works_with_an_etcd_at(bad.stop().await, &transport).await;
    }
}

/// The pause before the next connection grows beyond the bound of an attempt, which then tells of the connection before.
#[tokio::test]
async fn an_attempt_that_ends_before_the_next_connection_says_why_the_last_one_failed() {
    let bad = BadServer::start(async |mut stream| {
        let _ = stream.write_all(b"SSH-2.0-OpenSSH_9.2p1\r\n").await;
        pending::<()>().await;
    })
    .await;
    let bound = Duration::from_millis(100);
    let options = ConnectOptions::new().with_attempt_timeout(bound);
    let transport = GrpcTransport::connect(
        options
            .with_max_attempts(1)
            .with_endpoints([bad.endpoint()]),
    )
    .unwrap();
    let read = || transport.range(RangeRequest::key("key"), CallOptions::new(AMPLE.into()));
    // A machine under load may need longer than the bound for the first connections.
    while read().await.unwrap_err().kind() != ErrorKind::Protocol {}
    for _ in 0..8 {
        is(
            &read().await.unwrap_err(),
            ErrorKind::Protocol,
            "is not an etcd",
        );
    }
    for error in streams(&transport).await {
        is(&error, ErrorKind::Protocol, "is not an etcd");
    }
}

#[tokio::test]
async fn a_grpc_server_of_other_services() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let others = tonic::transport::Server::builder().add_routes(Routes::default());
    let serving = tokio::spawn(others.serve(address));
    while TcpStream::connect(address).await.is_err() {}

    let transport = connect(&endpoint(address));
    for called in every_call(&transport, AMPLE).await {
        let error = called.error();
        is(
            &error,
            ErrorKind::Unsupported,
            "not an etcd, or one without this service",
        );
        assert!(!error.is_outcome_unknown(), "{error:?}");
    }
    for error in streams(&transport).await {
        is(
            &error,
            ErrorKind::Unsupported,
            "not an etcd, or one without this service",
        );
    }
    serving.abort();
}

/// The answer of a proxy that has no more than a status.
#[tokio::test]
async fn a_proxy_that_refuses() {
    for (status, kind) in [
        (200, ErrorKind::Protocol),
        (401, ErrorKind::Unauthenticated),
        (403, ErrorKind::PermissionDenied),
        (404, ErrorKind::Unsupported),
        (503, ErrorKind::Unavailable),
    ] {
        every_call_to_a_web_server_is(kind, status, "").await;
    }
}

/// A page is no message, with any status.
#[tokio::test]
async fn a_web_server() {
    for status in [200, 401, 404, 503] {
        every_call_to_a_web_server_is(ErrorKind::Protocol, status, "<h1>Welcome</h1>").await;
    }
}

async fn every_call_to_a_web_server_is(kind: ErrorKind, status: u16, page: &'static str) {
    let bad = BadServer::start(move |stream| answer_with(status, page, stream)).await;
    let transport = connect(&bad.endpoint());
    for called in every_call(&transport, AMPLE).await {
        let name = called.name;
        let error = called.error();
        assert_eq!(error.kind(), kind, "{status} to {name}: {error:?}");
        assert!(error.to_string().contains(&bad.endpoint()), "{error}");
        let told = status == 200 || error.to_string().contains(&status.to_string());
        assert!(told, "{status} to {name}: {error}");
    }
    works_with_an_etcd_at(bad.stop().await, &transport).await;
}

/// An endpoint that can't be reached is left for one that can, in both orders.
#[tokio::test]
async fn one_of_two_endpoints_refuses() {
    let good = Server::bind("127.0.0.1:0", MemoryEtcd::new())
        .await
        .unwrap();
    let port = ReservedPort::new();
    let bad = endpoint(port.address());
    for endpoints in [[good.endpoint(), bad.clone()], [bad, good.endpoint()]] {
        let transport = GrpcTransport::connect(&endpoints).unwrap();
        is_usable(&transport).await;
    }
}

/// An endpoint that takes a request and gives no answer is left, too: by a read within the same call, by a write after it.
#[tokio::test]
async fn one_of_two_endpoints_hangs_up() {
    let good = Server::bind("127.0.0.1:0", MemoryEtcd::new())
        .await
        .unwrap();
    let bad = BadServer::start(|stream| async move {
        let mut connection = h2::server::handshake(stream).await.unwrap();
        connection.accept().await;
    })
    .await;
    for first in ["range", "txn"] {
        let endpoints = [bad.endpoint(), good.endpoint()];
        let options = ConnectOptions::new().with_endpoint_choice(EndpointChoice::Listed);
        let transport = GrpcTransport::connect(options.with_endpoints(endpoints)).unwrap();
        let options = CallOptions::new(AMPLE.into());
        if first == "range" {
            transport
                .range(RangeRequest::key("key"), options)
                .await
                .unwrap();
        } else {
            let put = TxnRequest::new().and_then(PutRequest::new("key", "value"));
            let error = transport.txn(put, options).await.unwrap_err();
            is(&error, ErrorKind::Unavailable, &bad.endpoint());
            assert!(error.is_outcome_unknown(), "{error:?}");
        }
        is_usable(&transport).await;
    }
}

/// A request that it didn't look at is sent again, also a write that isn't idempotent, and not to another endpoint.
#[tokio::test]
async fn a_server_that_says_goodbye_before_a_request() {
    let server = Server::bind("127.0.0.1:0", MemoryEtcd::new())
        .await
        .unwrap();
    let address = server.address();
    let first = Arc::new(AtomicBool::new(true));
    let bad = BadServer::start(move |mut stream| {
        let is_first = first.swap(false, SeqCst);
        async move {
            if is_first {
                let mut connection = h2::server::handshake(stream).await.unwrap();
                // Its last stream is the one before the first.
                connection.abrupt_shutdown(h2::Reason::NO_ERROR);
                let _ = poll_fn(|cx| connection.poll_closed(cx)).await;
            } else {
                let mut server = TcpStream::connect(address).await.unwrap();
                let _ = copy_bidirectional(&mut stream, &mut server).await;
            }
        }
    })
    .await;
    let transport = GrpcTransport::connect([bad.endpoint()]).unwrap();
    let put = TxnRequest::new().and_then(PutRequest::new("key", "value"));
    let options = CallOptions::new(AMPLE.into());
    transport.txn(put, options).await.unwrap();
}

/// Of a write whose outcome isn't known it is said; of a read it is of no interest.
async fn every_call_is_unavailable(transport: &GrpcTransport, endpoint: &str) {
    for called in every_call(transport, AMPLE).await {
        let (name, is_read) = (called.name, called.is_read);
        let error = called.error();
        is(&error, ErrorKind::Unavailable, endpoint);
        assert!(
            !(is_read && error.is_outcome_unknown()),
            "{name}: {error:?}"
        );
    }
    for error in streams(transport).await {
        is(&error, ErrorKind::Unavailable, endpoint);
    }
}

/// The first errors of a watch and of a keep-alive stream, after which both have ended.
async fn streams(transport: &GrpcTransport) -> [Error; 2] {
    let watch = WatchRequest::Create(WatchCreate::key(1, "key"));
    let lease = LeaseId::new(0x1f).unwrap();
    [
        only_error(transport.watch(endless(watch))).await,
        only_error(transport.lease_keep_alive(endless(lease))).await,
    ]
}

fn endless<T: Send + 'static>(first: T) -> BoxStream<T> {
    stream::iter([first]).chain(stream::pending()).boxed()
}

async fn only_error<T>(mut stream: BoxStream<Result<T, Error>>) -> Error {
    let first = timeout(PATIENCE, stream.next()).await;
    let Some(Err(error)) = first.expect("the stream must fail") else {
        panic!("the stream must fail first, and then end");
    };
    assert!(stream.next().await.is_none());
    error
}

async fn works_with_an_etcd_at(port: ReservedPort, transport: &GrpcTransport) {
    let _server = Server::bind(port.address(), MemoryEtcd::new())
        .await
        .unwrap();
    let errors: Vec<_> = every_call(transport, Timeout::DEFAULT)
        .await
        .into_iter()
        .filter_map(|called| called.result.err())
        // The lease in these calls was never granted.
        .filter(|error| error.kind() != ErrorKind::LeaseNotFound)
        .collect();
    assert!(errors.is_empty(), "{errors:?}");
    is_usable(transport).await;
}

fn is(error: &Error, kind: ErrorKind, text: &str) {
    assert_eq!(error.kind(), kind, "{error:?}");
    assert!(error.to_string().contains(text), "{text:?} not in: {error}");
    says_nothing_twice(error);
}

/// Those that print errors print the causes behind them, too.
fn says_nothing_twice(error: &Error) {
    let mut said = vec![error.to_string()];
    let mut cause = error.source();
    while let Some(error) = cause {
        let text = error.to_string();
        assert!(
            !said.iter().any(|earlier| earlier.contains(&text)),
            "{text:?} again after {said:?}"
        );
        said.push(text);
        cause = error.source();
    }
}

fn connect(endpoint: &str) -> GrpcTransport {
    // One repetition is as good as many to fail.
    let options = ConnectOptions::new().with_max_attempts(2);
    GrpcTransport::connect(options.with_endpoints([endpoint])).unwrap()
}

fn endpoint(address: SocketAddr) -> String {
    format!("http://{address}")
}

/// Answers every request over HTTP/2 with a page.
async fn answer_with(status: u16, page: &'static str, stream: TcpStream) {
    let Ok(mut connection) = h2::server::handshake(stream).await else {
        return;
    };
    while let Some(Ok((_, mut respond))) = connection.accept().await {
        let head = http::Response::builder().status(status);
        let head = head.header("content-type", "text/html").body(()).unwrap();
        if let Ok(mut body) = respond.send_response(head, page.is_empty()) {
            let _ = body.send_data(Bytes::from_static(page.as_bytes()), true);
        }
    }
}

/// A listener that treats each connection in the same way.
struct BadServer {
    port: ReservedPort,
    task: JoinHandle<()>,
}

impl BadServer {
    async fn start<F>(treat: impl Fn(TcpStream) -> F + Send + 'static) -> Self
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let port = ReservedPort::new();
        let listener = TcpListener::bind(port.address()).await.unwrap();
        let task = tokio::spawn(async move {
            let mut connections = tokio::task::JoinSet::new();
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                connections.spawn(treat(stream));
            }
        });
        Self { port, task }
    }

    fn endpoint(&self) -> String {
        endpoint(self.port.address())
    }

    /// Hangs up on all, and returns where it was.
    async fn stop(self) -> ReservedPort {
        self.task.abort();
        let _ = self.task.await;
        self.port
    }
}
