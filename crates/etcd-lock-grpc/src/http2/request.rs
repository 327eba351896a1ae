//! The body of a request on its way.

use std::future::poll_fn;
use std::pin::Pin;

use futures_util::FutureExt;
use h2::SendStream;
use http_body::Body as _;
use tokio::sync::oneshot;
use tonic::body::Body;
use tonic::codegen::Bytes;
use tower::BoxError;

/// Says that the reply is still wanted. When it is dropped, what is left of the request is not sent.
pub(super) type Open = Option<oneshot::Sender<()>>;

/// The body of a request, taken apart before its head is sent: then head and message follow each other so closely that they
/// leave in one write. `h2` buffers what exceeds the flow-control window.
pub(super) struct Outgoing {
    ready: Vec<Bytes>,
    /// Where more may come.
    rest: Option<Body>,
}

impl Outgoing {
    /// Takes from a body what is there: one message and the end, in a short request.
    ///
    /// # Errors
    /// If the message could not be made.
    pub(super) fn new(mut body: Body) -> Result<Self, BoxError> {
        let mut ready = Vec::with_capacity(1);
        while ready.len() < 2
            && let Some(next) = next(&mut body).now_or_never()
        {
            match next {
                Some(data) => ready.push(data?),
                None => return Ok(Self { ready, rest: None }),
            }
        }
        let rest = Some(body);
        Ok(Self { ready, rest })
    }

    /// Sends what is there. A task sends the rest. A server may answer before it has read anything: then its reply counts, and
    /// not that the stream takes no more.
    pub(super) fn send(self, mut stream: SendStream<Bytes>) -> Open {
        let mut ready = self.ready.into_iter().peekable();
        while let Some(data) = ready.next() {
            let is_last = self.rest.is_none() && ready.peek().is_none();
            if let Err(error) = stream.send_data(data, is_last) {
                tracing::debug!(%error, "a request could not be sent to its end");
                return None;
            }
        }
        let mut rest = self.rest?;
        let (open, gone) = oneshot::channel();
        tokio::spawn(async move {
            tokio::select! {
                biased;
                _ = gone => {}
                sent = send_all(&mut stream, &mut rest) => {
                    if let Err(error) = sent {
                        tracing::debug!(%error, "a request could not be sent to its end");
                    }
                }
            }
        });
        Some(open)
    }
}

async fn send_all(stream: &mut SendStream<Bytes>, body: &mut Body) -> Result<(), BoxError> {
    while let Some(data) = next(body).await {
        // It waits for one byte of capacity only: a message may be larger than the whole window.
        stream.reserve_capacity(1);
        while stream.capacity() == 0 {
            match poll_fn(|cx| stream.poll_capacity(cx)).await {
                Some(room) => room?,
                None => return Ok(()),
            };
        }
        stream.send_data(data?, false)?;
    }
    stream.send_data(Bytes::new(), true)?;
    Ok(())
}

/// The next data of a body, or `None` at its end.
async fn next(body: &mut Body) -> Option<Result<Bytes, BoxError>> {
    let frame = poll_fn(|cx| Pin::new(&mut *body).poll_frame(cx)).await?;
    let data = frame.map(|frame| frame.into_data().unwrap_or_default());
    Some(data.map_err(Into::into))
}
