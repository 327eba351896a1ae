//! The metadata that reaches a server: how long the caller will wait, that it wants a leader, and that it has gone.

use std::collections::BTreeSet;
use std::future::poll_fn;
use std::time::Duration;

use bytes::Bytes;
use etcd_lock_core::kv::RangeRequest;
use etcd_lock_core::watch::{WatchCreate, WatchRequest};
use etcd_lock_core::{CallOptions, LeaseId, Timeout, Transport};
use etcd_lock_grpc::GrpcTransport;
use futures_util::stream::{self, StreamExt};
use h2::SendStream;
use h2::server::SendResponse;
use http::{HeaderMap, HeaderValue, Request, Response};
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio::time::timeout;

use crate::calls::{PATIENCE, every_call};

const LOCK: &str = "/v3lockpb.Lock/Lock";
const RANGE: &str = "/etcdserverpb.KV/Range";
const STATUS: &str = "/etcdserverpb.Maintenance/Status";
const WATCH: &str = "/etcdserverpb.Watch/Watch";

/// The message that says that a watch is on, at revision 1.
const CREATED: &[u8] = b"\0\0\0\0\x06\x0a\x02\x18\x01\x18\x01";

/// The message that says that there is no such key, at revision 1.
const NO_KEY: &[u8] = b"\0\0\0\0\x04\x0a\x02\x18\x01";

/// The requests answered before the `Lock` RPC is called: its key is read, and watched.
const BEFORE_A_LOCK: &[&str] = &[RANGE, WATCH];

#[tokio::test]
async fn a_deadline_reaches_the_server() {
    let (transport, mut silent) = silent_server(BEFORE_A_LOCK).await;
    let bound = Duration::from_millis(100);
    every_call(&transport, bound).await;
    let mut paths = BTreeSet::new();
    while let Some(seen) = silent.already_there() {
        let path = seen.head.uri().path();
        // The transport's own requests have a time of their own.
        let agent = &seen.head.headers()["user-agent"];
        assert_eq!(agent, concat!("etcd-lock/", env!("CARGO_PKG_VERSION")));
        if path != WATCH && path != STATUS {
            let left = seen.timeout().expect("a call without a timeout");
            assert!(!left.is_zero() && left <= bound, "{left:?} of {bound:?}");
            paths.insert(path.to_owned());
        }
    }
    for call in [
        RANGE,
        LOCK,
        "/etcdserverpb.KV/Txn",
        "/etcdserverpb.Lease/LeaseGrant",
        "/etcdserverpb.Lease/LeaseLeases",
        "/etcdserverpb.Lease/LeaseRevoke",
        "/etcdserverpb.Lease/LeaseTimeToLive",
    ] {
        assert!(paths.contains(call), "{call} not in {paths:?}");
    }
}

#[tokio::test]
async fn no_deadline_reaches_no_server() {
    for bound in [Timeout::Infinity, Timeout::After(Duration::MAX)] {
        let (transport, mut silent) = silent_server(&[]).await;
        let endless = tokio::spawn(async move {
            let request = RangeRequest::key("key");
            transport.range(request, CallOptions::new(bound)).await
        });
        assert_eq!(silent.next().await.timeout(), None);
        endless.abort();
    }
}

/// A wait at a member that lost its cluster would be in vain. Calls that don't wait find out by themselves.
#[tokio::test]
async fn calls_that_wait_ask_for_a_leader() {
    let (transport, mut silent) = silent_server(BEFORE_A_LOCK).await;
    every_call(&transport, Duration::from_millis(50)).await;
    let watch = WatchRequest::Create(WatchCreate::key(1, "key"));
    let mut watch = transport.watch(stream::iter([watch]).chain(stream::pending()).boxed());
    let lease = LeaseId::new(7).unwrap();
    let leases = stream::iter([lease]).chain(stream::pending()).boxed();
    let mut keep_alive = transport.lease_keep_alive(leases);
    let waiting = [LOCK, WATCH, "/etcdserverpb.Lease/LeaseKeepAlive"];
    // Kept, as it would be answered by a reset otherwise.
    let mut kept = Vec::new();
    let mut asked = BTreeSet::new();
    let looking = async {
        while asked.len() < waiting.len() {
            let seen = silent.next().await;
            if seen
                .head
                .headers()
                .get("hasleader")
                .is_some_and(|value| value == "true")
            {
                asked.insert(seen.head.uri().path().to_owned());
            }
            kept.push(seen);
        }
    };
    tokio::select! {
        () = looking => {}
        () = async { while let Some(Ok(_)) = watch.next().await {} } => panic!("the watch broke"),
        _ = keep_alive.next() => panic!("nobody answered the keep-alive"),
    }
    assert_eq!(asked, waiting.map(str::to_owned).into());
}

/// etcd stops waiting for the lock when it hears of it.
#[tokio::test]
async fn a_caller_that_has_gone_is_told() {
    let (transport, mut silent) = silent_server(&[]).await;
    let dropped = tokio::spawn({
        let transport = transport.clone();
        async move {
            let request = RangeRequest::key("key");
            transport
                .range(request, CallOptions::new(Timeout::Infinity))
                .await
        }
    });
    let mut seen = silent.next().await;
    dropped.abort();
    seen.is_cancelled().await;

    let short = CallOptions::new(Duration::from_millis(50).into());
    let late = transport.range(RangeRequest::key("key"), short);
    let (late, mut seen) = tokio::join!(late, silent.next());
    assert!(late.unwrap_err().is_timeout());
    seen.is_cancelled().await;
}

/// etcd keeps a stream of which it hears no end.
#[tokio::test]
async fn a_stream_that_is_dropped_ends() {
    let (transport, mut silent) = silent_server(&[WATCH]).await;
    let create = WatchRequest::Create(WatchCreate::key(1, "key"));
    let requests = stream::iter([create]).chain(stream::pending());
    let mut watch = transport.watch(requests.boxed());
    watch.next().await.unwrap().unwrap();
    let mut seen = silent.next().await;
    drop(watch);
    seen.is_cancelled().await;
}

/// More than a connection's share wait in the client, and their time runs there.
#[tokio::test]
async fn a_server_is_asked_so_much_at_a_time() {
    let (transport, mut silent) = silent_server(&[]).await;
    let ask = |bound| {
        let transport = transport.clone();
        async move {
            let options = CallOptions::new(bound);
            transport.range(RangeRequest::key("key"), options).await
        }
    };
    let asking: Vec<_> = (0..128)
        .map(|_| tokio::spawn(ask(Timeout::Infinity)))
        .collect();
    let mut seen = Vec::new();
    while seen.len() < asking.len() {
        seen.push(silent.next().await);
    }
    let short = Timeout::After(Duration::from_millis(50));
    assert!(ask(short).await.unwrap_err().is_timeout());
    assert!(silent.already_there().is_none());
    let next = tokio::spawn(ask(Timeout::Infinity));
    asking[0].abort();
    silent.next().await;
    next.abort();
}

/// A server that takes requests and never answers any, but for those that it was told to.
struct Silent(mpsc::UnboundedReceiver<Seen>);

impl Silent {
    async fn next(&mut self) -> Seen {
        timeout(PATIENCE, self.0.recv()).await.unwrap().unwrap()
    }

    fn already_there(&mut self) -> Option<Seen> {
        self.0.try_recv().ok()
    }
}

/// A request as it came, with its body still open.
struct Seen {
    head: Request<h2::RecvStream>,
    respond: SendResponse<Bytes>,
    /// The answer under way, where there is one: dropped, it would end.
    answer: Option<SendStream<Bytes>>,
}

impl Seen {
    /// How long the caller will wait: a number of at most eight digits, and a unit.
    fn timeout(&self) -> Option<Duration> {
        let text = self.head.headers().get("grpc-timeout")?.to_str().unwrap();
        let (number, unit) = text.split_at(text.len() - 1);
        assert!(number.len() <= 8, "{text}");
        let unit = match unit {
            "H" => Duration::from_secs(3600),
            "M" => Duration::from_secs(60),
            "S" => Duration::from_secs(1),
            "m" => Duration::from_millis(1),
            "u" => Duration::from_micros(1),
            "n" => Duration::from_nanos(1),
            other => panic!("{other:?} is no unit"),
        };
        Some(unit * number.parse().unwrap())
    }

    /// Waits until the caller says that he wants no answer any more.
    async fn is_cancelled(&mut self) {
        let reset = poll_fn(|cx| match &mut self.answer {
            Some(answer) => answer.poll_reset(cx),
            None => self.respond.poll_reset(cx),
        });
        let reason = timeout(PATIENCE, reset).await.unwrap().unwrap();
        assert_eq!(reason, h2::Reason::CANCEL);
    }
}

/// Says that a watch is on, and of any other request that there is no such key.
fn answer(path: &str, respond: &mut SendResponse<Bytes>) -> SendStream<Bytes> {
    let head = Response::builder().header("content-type", "application/grpc");
    let mut answer = respond
        .send_response(head.body(()).unwrap(), false)
        .unwrap();
    let message = if path == WATCH { CREATED } else { NO_KEY };
    answer
        .send_data(Bytes::from_static(message), false)
        .unwrap();
    if path != WATCH {
        let ok = ("grpc-status".parse().unwrap(), HeaderValue::from(0));
        answer.send_trailers(HeaderMap::from_iter([ok])).unwrap();
    }
    answer
}

async fn silent_server(answered: &'static [&'static str]) -> (GrpcTransport, Silent) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint = format!("http://{}", listener.local_addr().unwrap());
    let (sender, receiver) = mpsc::unbounded_channel();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let sender = sender.clone();
            tokio::spawn(async move {
                let mut connection = h2::server::handshake(stream).await.unwrap();
                while let Some(Ok((head, mut respond))) = connection.accept().await {
                    let path = head.uri().path();
                    let is_answered = answered.contains(&path);
                    let answer = is_answered.then(|| answer(path, &mut respond));
                    let _ = sender.send(Seen {
                        head,
                        respond,
                        answer,
                    });
                }
            });
        }
    });
    let transport = GrpcTransport::connect([endpoint]).unwrap();
    (transport, Silent(receiver))
}
