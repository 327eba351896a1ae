//! A reply over HTTP, made of bytes.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Response};
use http_body::Frame;
use prost::Message;
use tonic::body::Body;

/// How many bytes arrive at once.
const CHUNKS: [usize; 4] = [1, 4, 32, 4096];

/// A reply as a server may send it: three bytes say in which form, with which code, and how long the text is that follows;
/// the rest is the body.
#[derive(Clone, Debug)]
pub(crate) struct Canned {
    form: u8,
    pub(crate) code: u8,
    text: Bytes,
    body: Bytes,
}

impl Canned {
    pub(crate) fn new(bytes: &[u8]) -> Option<Self> {
        let (&[form, code, length], rest) = bytes.split_first_chunk()?;
        let (text, body) = rest.split_at_checked(length.into())?;
        Some(Self {
            form,
            code: code % 20,
            text: Bytes::copy_from_slice(text),
            body: Bytes::copy_from_slice(body),
        })
    }

    /// Whether it is in the form of gRPC, and says that all is well.
    pub(crate) const fn is_success(&self) -> bool {
        self.form & 0b1_1111 == 0 && self.code == 0
    }

    pub(crate) fn response(&self) -> Response<Body> {
        let status = match self.form & 0b11 {
            0 | 1 => 200,
            2 => 404,
            _ => 503,
        };
        let content = match self.form & 0b101 {
            0 => "application/grpc",
            _ => "text/html",
        };
        let mut response = Response::new(());
        *response.status_mut() = http::StatusCode::from_u16(status).unwrap();
        let headers = response.headers_mut();
        headers.insert("content-type", HeaderValue::from_static(content));
        let (mut chunks, mut trailers) = (self.chunks(), HeaderMap::new());
        match self.form & 0b1_1000 {
            0 => self.say(&mut trailers),
            0b1000 => {
                self.say(headers);
                chunks.clear();
            }
            _ => {}
        }
        chunks.push_back(Frame::trailers(trailers));
        response.map(|()| Body::new(Frames(chunks)))
    }

    /// The messages in the body, up to the first that isn't whole.
    pub(crate) fn messages<M: Message + Default>(&self) -> Vec<Result<M, prost::DecodeError>> {
        let mut messages = Vec::new();
        let mut rest = &self.body[..];
        while let Some((&[0, a, b, c, d], after)) = rest.split_first_chunk() {
            let length = usize::try_from(u32::from_be_bytes([a, b, c, d])).unwrap();
            let Some((message, after)) = after.split_at_checked(length) else {
                break;
            };
            messages.push(M::decode(message));
            rest = after;
        }
        messages
    }

    /// Whether the body is one whole message.
    pub(crate) fn is_one_message(&self) -> bool {
        let length = self.body.len().checked_sub(5);
        let length = length.and_then(|length| u32::try_from(length).ok());
        let head = length.map(|length| [&[0][..], &length.to_be_bytes()].concat());
        head.is_some_and(|head| self.body.starts_with(&head))
    }

    fn chunks(&self) -> VecDeque<Frame<Bytes>> {
        let chunks = self.body.chunks(CHUNKS[usize::from(self.form >> 6)]);
        chunks
            .map(Bytes::copy_from_slice)
            .map(Frame::data)
            .collect()
    }

    fn say(&self, headers: &mut HeaderMap) {
        headers.insert("grpc-status", HeaderValue::from(u16::from(self.code)));
        if let Ok(text) = HeaderValue::from_bytes(&self.text) {
            headers.insert("grpc-message", text);
        }
    }
}

struct Frames(VecDeque<Frame<Bytes>>);

impl http_body::Body for Frames {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        Poll::Ready(self.0.pop_front().map(Ok))
    }
}
