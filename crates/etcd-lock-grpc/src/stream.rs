//! Streams that end with their first error, and don't end without one.

use etcd_lock_core::{BoxStream, Error, ErrorKind, Result};
use futures_util::{Stream, StreamExt, stream};
use std::future::{Future, ready};

/// Opens a stream when it is first polled. etcd sends no headers before its first reply, so opening may take as long as
/// the first request takes to come.
pub(crate) fn open<T, S>(
    opening: impl Future<Output = Result<S>> + Send + 'static,
) -> BoxStream<Result<T>>
where
    T: Send + 'static,
    S: Stream<Item = Result<T>> + Send + 'static,
{
    let opened = stream::once(opening).flat_map(|opened| match opened {
        Ok(replies) => replies.boxed(),
        Err(error) => stream::once(ready(Err(error))).boxed(),
    });
    // A stream may end without a status, as behind a proxy that is closed.
    let ended = Error::new(ErrorKind::Unavailable, "the server ended the stream");
    opened
        .chain(stream::once(ready(Err(ended))))
        .scan(false, |failed, reply| {
            let over = std::mem::replace(failed, reply.is_err());
            ready((!over).then_some(reply))
        })
        .boxed()
}
