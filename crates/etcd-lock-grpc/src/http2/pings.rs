//! Pings: a connection whose other side is silent while a call is under way is asked for a sign of life.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::task::{Context, Poll};
use std::time::Duration;

use h2::{Ping, PingPong};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, sleep_until, timeout};

use super::KeepAlive;

/// Completes when a ping was not answered in time. etcd takes pings without a call under way for an attack, so there are
/// none then.
pub(super) async fn unanswered(
    pings: Option<PingPong>,
    heard: &LastHeard,
    keep_alive: KeepAlive,
    is_busy: impl Fn() -> bool,
) {
    let Some(mut pings) = pings else {
        return std::future::pending().await;
    };
    loop {
        let due = heard.at() + keep_alive.interval;
        if Instant::now() < due {
            sleep_until(due).await;
        } else if !is_busy() {
            heard.note();
        } else {
            let answered = timeout(keep_alive.timeout, pings.ping(Ping::opaque())).await;
            if answered.is_err() {
                return;
            }
            heard.note();
        }
    }
}

/// When the other side was heard last.
#[derive(Clone)]
pub(super) struct LastHeard {
    since: Instant,
    /// In milliseconds after the beginning.
    after: Arc<AtomicU64>,
}

impl LastHeard {
    pub(super) fn new() -> Self {
        Self {
            since: Instant::now(),
            after: Arc::default(),
        }
    }

    fn note(&self) {
        let after = self.since.elapsed().as_millis();
        let after = u64::try_from(after).unwrap_or(u64::MAX);
        self.after.store(after, Relaxed);
    }

    fn at(&self) -> Instant {
        self.since + Duration::from_millis(self.after.load(Relaxed))
    }
}

/// Notes when bytes arrive.
pub(super) struct Heard<T> {
    io: T,
    last: LastHeard,
}

impl<T> Heard<T> {
    pub(super) const fn new(io: T, last: LastHeard) -> Self {
        Self { io, last }
    }
}

impl<T: AsyncRead + Unpin> AsyncRead for Heard<T> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let read = Pin::new(&mut self.io).poll_read(cx, buffer);
        if buffer.filled().len() > before {
            self.last.note();
        }
        read
    }
}

impl<T: AsyncWrite + Unpin> AsyncWrite for Heard<T> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write_vectored(cx, bytes)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }
}
