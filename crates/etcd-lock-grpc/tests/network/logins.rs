//! Tokens that end: there is a new login for the words of each version of etcd.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::time::Duration;

use bytes::{BufMut, Bytes, BytesMut};
use etcd_lock_core::kv::RangeRequest;
use etcd_lock_core::watch::{WatchCreate, WatchRequest};
use etcd_lock_core::{BoxStream, CallOptions, LeaseId, Transport};
use etcd_lock_grpc::{ConnectOptions, GrpcTransport};
use etcd_lock_proto::etcdserverpb as pb;
use futures_util::stream::{self, StreamExt};
use h2::server::SendResponse;
use http::{HeaderMap, HeaderValue, Request, Response};
use prost::Message;
use tokio::net::TcpListener;
use tokio::time::{sleep, timeout};

use crate::calls::PATIENCE;

/// A token that is refused when it is younger than this was no good from the start.
const FRESH: Duration = Duration::from_secs(2);

/// The reasons that etcd gives for a watch whose token has ended: 3.4, then 3.5.6 and 3.6.
const OF_A_WATCH: &[&str] = &[
    "rpc error: code = PermissionDenied desc = etcdserver: permission denied",
    "rpc error: code = Unauthenticated desc = etcdserver: invalid auth token",
    "rpc error: code = InvalidArgument desc = etcdserver: revision of auth store is old",
];

/// The statuses of other requests with such a token.
const OF_A_CALL: &[(u16, &str)] = &[
    (16, "etcdserver: invalid auth token"),
    (3, "etcdserver: revision of auth store is old"),
    (3, "etcdserver: user name is empty"),
];

#[tokio::test]
async fn a_call_whose_token_has_ended_succeeds_with_a_new_one() {
    for &(code, text) in OF_A_CALL {
        let etcd = Etcd::start(Refusal::Status(code, text)).await;
        let transport = etcd.connect();
        range(&transport).await;
        etcd.end_tokens();
        range(&transport).await;
        assert_eq!(etcd.logins(), 2, "{text}");
    }
}

#[tokio::test]
async fn a_keep_alive_whose_token_has_ended_is_opened_again_with_a_new_one() {
    let denied = (7, "etcdserver: permission denied");
    for &(code, text) in OF_A_CALL.iter().chain([&denied]) {
        let etcd = Etcd::start(Refusal::Status(code, text)).await;
        let transport = etcd.connect();
        range(&transport).await;
        etcd.end_tokens();
        if code == 7 {
            sleep(FRESH).await;
        }
        let mut stream = transport.lease_keep_alive(endless(LeaseId::new(7).unwrap()));
        let error = timeout(PATIENCE, stream.next())
            .await
            .unwrap()
            .unwrap()
            .unwrap_err();
        assert!(error.is_unavailable(), "{text}: {error:?}");
        range(&transport).await;
        assert_eq!(etcd.logins(), 2, "{text}");
    }
}

#[tokio::test]
async fn a_watch_whose_token_has_ended_is_opened_again_with_a_new_one() {
    for reason in OF_A_WATCH {
        let etcd = Etcd::start(Refusal::Watch(reason)).await;
        let transport = etcd.connect();
        range(&transport).await;
        etcd.end_tokens();
        sleep(FRESH).await;
        let mut stream = transport.watch(watch());
        let error = timeout(PATIENCE, stream.next())
            .await
            .unwrap()
            .unwrap()
            .unwrap_err();
        assert!(error.is_unavailable(), "{reason}: {error:?}");
        range(&transport).await;
        assert_eq!(etcd.logins(), 2, "{reason}");
    }
}

/// The user may not watch the key: a new token would be refused, too.
#[tokio::test]
async fn a_watch_that_is_denied_with_a_fresh_token_is_denied() {
    let etcd = Etcd::start(Refusal::Watch(OF_A_WATCH[0])).await;
    let transport = etcd.connect();
    range(&transport).await;
    etcd.end_tokens();
    let mut stream = transport.watch(watch());
    let reply = timeout(PATIENCE, stream.next())
        .await
        .unwrap()
        .unwrap()
        .unwrap();
    assert!(
        format!("{:?}", reply.body).contains("permission denied"),
        "{reply:?}"
    );
    assert_eq!(etcd.logins(), 1);
}

async fn range(transport: &GrpcTransport) {
    let options = CallOptions::new(PATIENCE.into());
    transport
        .range(RangeRequest::key("key"), options)
        .await
        .unwrap();
}

fn watch() -> BoxStream<WatchRequest> {
    endless(WatchRequest::Create(WatchCreate::key(1, "key")))
}

fn endless<T: Send + 'static>(first: T) -> BoxStream<T> {
    stream::iter([first]).chain(stream::pending()).boxed()
}

/// How requests with a token that has ended are refused.
#[derive(Clone, Copy)]
enum Refusal {
    Status(u16, &'static str),
    /// As a watch that is cancelled; everything else is answered.
    Watch(&'static str),
}

/// As much of an etcd as knows tokens: each is a number, and all below a least one have ended.
struct Etcd {
    endpoint: String,
    tokens: Arc<Tokens>,
}

#[derive(Default)]
struct Tokens {
    issued: AtomicUsize,
    ended: AtomicUsize,
}

impl Etcd {
    async fn start(refusal: Refusal) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let endpoint = format!("http://{}", listener.local_addr().unwrap());
        let tokens = Arc::<Tokens>::default();
        let known = tokens.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let tokens = known.clone();
                tokio::spawn(async move {
                    let mut connection = h2::server::handshake(stream).await.unwrap();
                    let mut kept = Vec::new();
                    while let Some(Ok((request, respond))) = connection.accept().await {
                        kept.push((answer(&tokens, refusal, &request, respond), request));
                    }
                });
            }
        });
        Self { endpoint, tokens }
    }

    fn connect(&self) -> GrpcTransport {
        let options = ConnectOptions::new().with_login("user", "password");
        GrpcTransport::connect(options.with_endpoints([&self.endpoint])).unwrap()
    }

    fn end_tokens(&self) {
        self.tokens.ended.store(self.logins(), SeqCst);
    }

    fn logins(&self) -> usize {
        self.tokens.issued.load(SeqCst)
    }
}

fn answer(
    tokens: &Tokens,
    refusal: Refusal,
    request: &Request<h2::RecvStream>,
    mut respond: SendResponse<Bytes>,
) -> Option<h2::SendStream<Bytes>> {
    let path = request.uri().path();
    let token = request.headers().get("token");
    let token = token.map_or(0, |token| token.to_str().unwrap().parse().unwrap());
    let is_watch = path == "/etcdserverpb.Watch/Watch";
    let (status, message) = match refusal {
        _ if path.ends_with("/Authenticate") => (None, issue(tokens)),
        _ if path.ends_with("/Status") => (None, pb::StatusResponse::default().encode_to_vec()),
        Refusal::Status(code, text) if token <= tokens.ended.load(SeqCst) => {
            (Some((code, text)), Vec::new())
        }
        Refusal::Watch(reason) if is_watch => (None, cancelled(reason)),
        _ => (None, range_reply()),
    };
    let head = Response::builder().header("content-type", "application/grpc");
    let mut stream = respond
        .send_response(head.body(()).unwrap(), false)
        .unwrap();
    let (code, text) = status.unwrap_or((0, ""));
    if code == 0 {
        let mut frame = BytesMut::new();
        frame.put_u8(0);
        frame.put_u32(u32::try_from(message.len()).unwrap());
        frame.put_slice(&message);
        stream.send_data(frame.freeze(), false).unwrap();
    }
    if is_watch && code == 0 {
        return Some(stream);
    }
    let trailers = HeaderMap::from_iter([
        ("grpc-status".parse().unwrap(), HeaderValue::from(code)),
        (
            "grpc-message".parse().unwrap(),
            HeaderValue::from_static(text),
        ),
    ]);
    stream.send_trailers(trailers).unwrap();
    None
}

fn issue(tokens: &Tokens) -> Vec<u8> {
    let number = tokens.issued.fetch_add(1, SeqCst) + 1;
    let reply = pb::AuthenticateResponse {
        header: header(),
        token: number.to_string(),
    };
    reply.encode_to_vec()
}

fn cancelled(reason: &str) -> Vec<u8> {
    let reply = pb::WatchResponse {
        header: header(),
        watch_id: -1,
        created: true,
        canceled: true,
        cancel_reason: reason.to_owned(),
        ..pb::WatchResponse::default()
    };
    reply.encode_to_vec()
}

fn range_reply() -> Vec<u8> {
    let reply = pb::RangeResponse {
        header: header(),
        ..pb::RangeResponse::default()
    };
    reply.encode_to_vec()
}

fn header() -> Option<pb::ResponseHeader> {
    Some(pb::ResponseHeader {
        revision: 1,
        ..pb::ResponseHeader::default()
    })
}
