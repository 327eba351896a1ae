//! A connection to an HTTP/2 server in memory that does what a test says.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::task::{Context, Poll};
use std::time::Duration;

use futures_util::{FutureExt, StreamExt, stream};
use h2::server::{Connection, SendResponse};
use http::{Request, Response};
use http_body::{Body as _, Frame};
use tokio::io::{AsyncRead, AsyncWrite, DuplexStream, ReadBuf, duplex};
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};
use tonic::Status;
use tonic::body::Body;
use tonic::codegen::Bytes;

use super::{KeepAlive, NotSent, Requests, connect};

const KEEP_ALIVE: KeepAlive = KeepAlive {
    interval: Duration::from_secs(10),
    timeout: Duration::from_secs(5),
};

const LONG: Duration = Duration::from_secs(3600);

type Server = Connection<DuplexStream, Bytes>;

/// A connection that is driven, and the other side of it, which stands still while it isn't polled.
async fn connection() -> (Requests, JoinHandle<io::Result<()>>, Server) {
    let (ours, theirs) = duplex(4096);
    let (connected, server) =
        tokio::join!(connect(ours, KEEP_ALIVE), h2::server::handshake(theirs));
    let (requests, driven) = connected.unwrap();
    (requests, tokio::spawn(driven), server.unwrap())
}

fn request(body: Body) -> Request<Body> {
    Request::post("http://etcd/call").body(body).unwrap()
}

/// A body of these messages, each of which is there when it is asked for, and then waits without end if it `stays_open`.
fn body(messages: impl IntoIterator<Item = Bytes>, stays_open: bool) -> Body {
    let messages: Vec<_> = messages.into_iter().map(Ok::<_, Status>).collect();
    let rest = match stays_open {
        true => stream::pending().boxed(),
        false => stream::empty().boxed(),
    };
    Body::new(Frames(stream::iter(messages).chain(rest).boxed()))
}

struct Frames(stream::BoxStream<'static, Result<Bytes, Status>>);

impl http_body::Body for Frames {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let next = self.0.poll_next_unpin(cx);
        next.map(|next| next.map(|data| data.map(Frame::data)))
    }
}

/// Bytes both ways, whose writes are counted.
struct Counted(DuplexStream, Arc<AtomicUsize>);

impl AsyncRead for Counted {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_read(cx, buffer)
    }
}

impl AsyncWrite for Counted {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.1.fetch_add(1, SeqCst);
        Pin::new(&mut self.0).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(cx)
    }
}

/// Accepts one call, and goes on driving the connection in a task.
async fn accept(mut server: Server) -> (Request<h2::RecvStream>, SendResponse<Bytes>) {
    let call = server.accept().await.unwrap().unwrap();
    tokio::spawn(async move { while server.accept().await.is_some() {} });
    call
}

#[tokio::test]
async fn a_short_request_is_one_frame_that_ends_the_stream() {
    let (requests, _driven, server) = connection().await;
    let sent = tokio::spawn(requests.send(request(body([Bytes::from("lock")], false))));
    let (request, mut respond) = accept(server).await;
    let mut received = request.into_body();
    assert_eq!(received.data().await.unwrap().unwrap(), "lock");
    assert!(received.is_end_stream());
    let mut reply = respond.send_response(Response::new(()), false).unwrap();
    reply.send_data(Bytes::from("held"), true).unwrap();
    let mut reply = sent.await.unwrap().unwrap().into_body();
    let frame = std::future::poll_fn(|cx| Pin::new(&mut reply).poll_frame(cx)).await;
    assert_eq!(frame.unwrap().unwrap().into_data().unwrap(), "held");
}

#[tokio::test]
async fn a_short_request_is_written_at_once_by_its_caller() {
    let (ours, theirs) = duplex(4096);
    let writes = Arc::new(AtomicUsize::new(0));
    let ours = Counted(ours, writes.clone());
    let (connected, _server) =
        tokio::join!(connect(ours, KEEP_ALIVE), h2::server::handshake(theirs));
    let (requests, _driven) = connected.unwrap();
    writes.store(0, SeqCst);
    let sent = requests.send(request(body([Bytes::from("lock")], false)));
    // Nothing else has run: the task of the connection isn't even spawned.
    assert!(sent.now_or_never().is_none());
    assert_eq!(writes.load(SeqCst), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn requests_of_many_threads_are_all_answered() {
    let (requests, _driven, mut server) = connection().await;
    tokio::spawn(async move {
        while let Some(Ok((_request, mut respond))) = server.accept().await {
            respond.send_response(Response::new(()), true).unwrap();
        }
    });
    let callers = (0..16).map(|_| {
        let requests = requests.clone();
        tokio::spawn(async move {
            for _ in 0..500 {
                let sent = requests
                    .clone()
                    .send(request(body([Bytes::from("lock")], false)));
                timeout(LONG, sent).await.unwrap().unwrap();
            }
        })
    });
    for caller in callers.collect::<Vec<_>>() {
        caller.await.unwrap();
    }
}

#[tokio::test]
async fn a_body_larger_than_the_window_is_sent_whole() {
    let (requests, _driven, server) = connection().await;
    let messages = (0..20).map(|number| Bytes::from(vec![number; 50_000]));
    let _sent = tokio::spawn(requests.send(request(body(messages, false))));
    let (request, _respond) = accept(server).await;
    let (mut received, mut length) = (request.into_body(), 0);
    while let Some(data) = received.data().await {
        let data = data.unwrap();
        assert!(
            data.iter()
                .all(|byte| usize::from(*byte) == (length / 50_000))
        );
        length += data.len();
        received
            .flow_control()
            .release_capacity(data.len())
            .unwrap();
    }
    assert_eq!(length, 1_000_000);
}

#[tokio::test]
async fn a_stream_whose_reply_is_dropped_is_reset_although_its_request_goes_on() {
    let (requests, _driven, server) = connection().await;
    let sent = tokio::spawn(requests.send(request(body([Bytes::from("watch")], true))));
    let (request, mut respond) = accept(server).await;
    let _reply = respond.send_response(Response::new(()), false).unwrap();
    drop(sent.await.unwrap().unwrap());
    let mut received = request.into_body();
    assert_eq!(received.data().await.unwrap().unwrap(), "watch");
    let end = received.data().await.unwrap().unwrap_err();
    assert_eq!(end.reason(), Some(h2::Reason::CANCEL));
}

#[tokio::test]
async fn a_request_whose_future_is_dropped_is_reset() {
    let (requests, _driven, server) = connection().await;
    let mut sent = Box::pin(requests.send(request(body([Bytes::from("lock")], false))));
    assert!((&mut sent).now_or_never().is_none());
    let (request, mut respond) = accept(server).await;
    drop(sent);
    let reason = std::future::poll_fn(|cx| respond.poll_reset(cx)).await;
    assert_eq!(reason.unwrap(), h2::Reason::CANCEL);
    drop(request);
}

#[tokio::test]
async fn a_reply_that_the_server_resets_is_an_error_and_no_end() {
    let (requests, _driven, server) = connection().await;
    let sent = tokio::spawn(requests.send(request(body([Bytes::from("watch")], true))));
    let (_request, mut respond) = accept(server).await;
    let mut reply = respond.send_response(Response::new(()), false).unwrap();
    let mut received = sent.await.unwrap().unwrap().into_body();
    reply.send_reset(h2::Reason::CANCEL);
    let frame = std::future::poll_fn(|cx| Pin::new(&mut received).poll_frame(cx)).await;
    assert!(frame.unwrap().is_err());
}

#[tokio::test]
async fn a_connection_ends_with_its_last_handle() {
    let (requests, driven, mut server) = connection().await;
    let another = requests.clone();
    drop(requests);
    assert!(!another.is_closed());
    drop(another);
    assert!(timeout(LONG, server.accept()).await.unwrap().is_none());
    driven.await.unwrap().unwrap();
}

#[tokio::test]
async fn a_request_on_a_connection_that_has_ended_is_not_sent() {
    let (requests, driven, server) = connection().await;
    drop(server);
    let _end = driven.await.unwrap();
    assert!(requests.is_closed());
    let error = requests.send(request(body([], false))).await.unwrap_err();
    assert!(error.is::<NotSent>(), "{error:?}");
}

#[tokio::test]
async fn a_connection_that_the_server_takes_leave_of_is_closed_while_a_call_goes_on() {
    let (requests, _driven, mut server) = connection().await;
    let _first = tokio::spawn(requests.clone().send(request(body([], true))));
    let _call = server.accept().await.unwrap().unwrap();
    server.graceful_shutdown();
    tokio::spawn(async move { while server.accept().await.is_some() {} });
    let refused = async {
        loop {
            let sent = requests.clone().send(request(body([], false)));
            match timeout(Duration::from_millis(20), sent).await {
                Ok(Err(error)) if error.is::<NotSent>() => return,
                _ => {}
            }
        }
    };
    timeout(LONG, refused).await.unwrap();
    assert!(requests.is_closed());
}

#[tokio::test(start_paused = true)]
async fn a_connection_is_given_up_when_a_ping_is_not_answered_while_a_call_is_under_way() {
    let (requests, driven, mut server) = connection().await;
    let sent = tokio::spawn(requests.clone().send(request(body([], true))));
    let _call = server.accept().await.unwrap().unwrap();
    let begun = tokio::time::Instant::now();
    assert!(sent.await.unwrap().is_err());
    assert_eq!(begun.elapsed(), KEEP_ALIVE.interval + KEEP_ALIVE.timeout);
    let end = driven.await.unwrap().unwrap_err();
    assert_eq!(end.kind(), io::ErrorKind::TimedOut);
    assert!(requests.is_closed());
}

#[tokio::test(start_paused = true)]
async fn a_silent_connection_whose_pings_are_answered_stays_open() {
    let (requests, driven, mut server) = connection().await;
    let _sent = tokio::spawn(requests.clone().send(request(body([], true))));
    let _call = server.accept().await.unwrap().unwrap();
    tokio::spawn(async move { while server.accept().await.is_some() {} });
    sleep(LONG).await;
    assert!(!requests.is_closed() && !driven.is_finished());
}

#[tokio::test(start_paused = true)]
async fn no_ping_is_sent_while_no_call_is_under_way() {
    let (requests, driven, _server) = connection().await;
    sleep(LONG).await;
    assert!(!requests.is_closed() && !driven.is_finished());
}
