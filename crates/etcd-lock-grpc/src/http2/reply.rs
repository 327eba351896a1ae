//! The body of a reply as it arrives.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use h2::RecvStream;
use http_body::{Body, Frame};
use tonic::codegen::Bytes;

use super::UnderWay;
use super::request::Open;

/// A reply, and what ends with it.
pub(super) struct Reply {
    stream: RecvStream,
    has_data: bool,
    _call: (UnderWay, Open),
}

impl Reply {
    pub(super) const fn new(stream: RecvStream, call: (UnderWay, Open)) -> Self {
        Self {
            stream,
            has_data: true,
            _call: call,
        }
    }
}

impl Body for Reply {
    type Data = Bytes;
    type Error = h2::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, h2::Error>>> {
        if self.has_data {
            if let Some(data) = ready!(self.stream.poll_data(cx)) {
                let data = data?;
                self.stream.flow_control().release_capacity(data.len())?;
                return Poll::Ready(Some(Ok(Frame::data(data))));
            }
            self.has_data = false;
        }
        let trailers = ready!(self.stream.poll_trailers(cx))?;
        Poll::Ready(trailers.map(|trailers| Ok(Frame::trailers(trailers))))
    }

    fn is_end_stream(&self) -> bool {
        self.stream.is_end_stream()
    }
}
