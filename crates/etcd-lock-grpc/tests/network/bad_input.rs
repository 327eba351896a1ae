//! Input that gRPC has trouble with: sizes, times, endpoints (the conformance suite has the input that any transport refuses).

use std::time::Duration;

use etcd_lock_core::kv::{OpResponse, PutRequest, RangeRequest, TxnRequest};
use etcd_lock_core::watch::{WatchBody, WatchCreate, WatchRequest};
use etcd_lock_core::{CallOptions, ErrorKind, Result, Timeout, Transport};
use etcd_lock_grpc::{ConnectOptions, GrpcTransport};
use etcd_lock_memory::{MemoryEtcd, Server};
use etcd_lock_testkit::RealEtcd;
use futures_util::stream::{self, StreamExt};
use tokio::time::timeout;

use crate::calls::{PATIENCE, every_call, is_usable};

#[tokio::test]
async fn endpoints_that_cant_be_any() {
    for bad in [
        "",
        "127.0.0.1",
        "not a url",
        "http://",
        "http://:2379",
        "http://127.0.0.1:port",
        "http://127.0.0.1:2379/v3",
        "ftp://127.0.0.1:2379",
        "unix:run/etcd",
        "unix://",
        "etcd://127.0.0.1:2379",
        "127.0.0.1:2379,127.0.0.1:22379",
        "\0",
    ] {
        let endpoints = ["http://127.0.0.1:2379", bad];
        let error = GrpcTransport::connect(endpoints).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidArgument, "{bad:?}");
        let text = error.to_string();
        assert!(text.contains("as in http://127.0.0.1:2379"), "{text}");
        assert!(text.contains(&format!("{bad:?}")), "{text}");
    }
    let none = GrpcTransport::connect([""; 0]).unwrap_err();
    assert!(none.to_string().contains("at least one"), "{none}");
}

#[tokio::test]
async fn options_that_cant_work() {
    for bad in [
        ConnectOptions::new().with_max_attempts(0),
        ConnectOptions::new().with_connect_timeout(Duration::ZERO),
        ConnectOptions::new().with_keep_alive_interval(Duration::from_secs(1)),
        ConnectOptions::new().with_keep_alive_timeout(Duration::ZERO),
        ConnectOptions::new().with_attempt_timeout(Duration::from_millis(1)),
        ConnectOptions::new().with_member_sync(Duration::ZERO),
    ] {
        let error = GrpcTransport::connect(bad.with_endpoints(["127.0.0.1:2379"])).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidArgument, "{error:?}");
    }
}

#[tokio::test]
async fn a_timeout_of_zero_is_refused_before_anything_is_sent() {
    let transport = connect("http://127.0.0.1:1");
    for called in every_call(&transport, Duration::ZERO).await {
        let name = called.name;
        let error = called.error();
        assert_eq!(
            error.kind(),
            ErrorKind::InvalidArgument,
            "{name}: {error:?}"
        );
        assert!(error.to_string().contains("zero"), "{name}: {error}");
    }
}

#[tokio::test]
async fn timeouts_beyond_what_clocks_and_headers_can_say_work() {
    for etcd in [Etcd::served().await, Etcd::real().await] {
        let transport = connect(&etcd.endpoint());
        let year = Duration::from_secs(365 * 24 * 60 * 60);
        for bound in [
            Timeout::Infinity,
            Timeout::After(Duration::MAX),
            Timeout::After(year * 20_000),
            Timeout::After(year),
            Timeout::After(year - Duration::from_nanos(1)),
        ] {
            for called in every_call(&transport, bound).await {
                works(&called.result, called.name);
            }
        }
        is_usable(&transport).await;
    }
}

#[tokio::test]
async fn the_shortest_timeouts_end_and_leave_a_usable_client() {
    for etcd in [Etcd::served().await, Etcd::real().await] {
        let transport = connect(&etcd.endpoint());
        for bound in [Duration::from_nanos(1), Duration::from_micros(100)] {
            for called in every_call(&transport, bound).await {
                match called.result {
                    Err(error) if error.is_timeout() => {
                        let unknown = error.is_outcome_unknown();
                        assert!(!(unknown && called.is_read), "{}", called.name);
                    }
                    result => works(&result, called.name),
                }
            }
        }
        is_usable(&transport).await;
    }
}

/// Only the one is refused: what waits on the same connections, and what is asked at the same time, is answered.
#[tokio::test]
async fn a_request_that_is_too_large_leaves_the_others_alone() {
    for etcd in [Etcd::served().await, Etcd::real().await] {
        let transport = connect(&etcd.endpoint());
        let watch = WatchRequest::Create(WatchCreate::key(1, "small"));
        let requests = stream::iter([watch]).chain(stream::pending()).boxed();
        let mut watched = transport.watch(requests);
        assert_eq!(
            watched.next().await.unwrap().unwrap().body,
            WatchBody::Created
        );

        let ((), (), ()) = tokio::join!(
            is_too_large(&transport, 2 << 20),
            is_too_large(&transport, 32 << 20),
            is_usable(&transport),
        );

        put(&transport, "small", 1).await.unwrap();
        let event = timeout(PATIENCE, watched.next()).await.unwrap();
        let WatchBody::Events(events) = event.unwrap().unwrap().body else {
            panic!("the watch was disturbed");
        };
        assert_eq!(events[0].kv.key, "small");
    }
}

#[tokio::test]
async fn a_reply_larger_than_any_request_arrives() {
    for etcd in [Etcd::served().await, Etcd::real().await] {
        let transport = connect(&etcd.endpoint());
        for number in 0..6 {
            put(&transport, &format!("large/{number}"), 1 << 20)
                .await
                .unwrap();
        }
        let all = RangeRequest::prefix("large/");
        let reply = transport.range(all, ample()).await.unwrap();
        let size: usize = reply.kvs.iter().map(|kv| kv.value.len()).sum();
        assert_eq!(size, 6 << 20);
    }
}

async fn is_too_large(transport: &GrpcTransport, size: usize) {
    let error = put(transport, "large", size).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ResourceExhausted, "{error:?}");
    assert!(error.to_string().contains("large"), "{error}");
    assert!(!error.is_outcome_unknown(), "{error:?}");
}

async fn put(transport: &GrpcTransport, key: &str, size: usize) -> Result<OpResponse> {
    let put = PutRequest::new(key.to_owned(), vec![b'x'; size]);
    let reply = transport
        .txn(TxnRequest::new().and_then(put), ample())
        .await?;
    Ok(reply.responses.into_iter().next().unwrap())
}

/// That a call was answered: the lease in it was never granted.
fn works(result: &Result<()>, name: &str) {
    if let Err(error) = result {
        assert_eq!(error.kind(), ErrorKind::LeaseNotFound, "{name}: {error:?}");
    }
}

fn ample() -> CallOptions {
    CallOptions::new(PATIENCE.into())
}

fn connect(endpoint: &str) -> GrpcTransport {
    GrpcTransport::connect([endpoint]).unwrap()
}

/// The two kinds of etcd that speak gRPC.
enum Etcd {
    Served(Server),
    Real(RealEtcd),
}

impl Etcd {
    async fn served() -> Self {
        let server = Server::bind("127.0.0.1:0", MemoryEtcd::new()).await;
        Self::Served(server.unwrap())
    }

    async fn real() -> Self {
        Self::Real(RealEtcd::start().await)
    }

    fn endpoint(&self) -> String {
        match self {
            Self::Served(server) => server.endpoint(),
            Self::Real(etcd) => etcd.endpoints().remove(0),
        }
    }
}
