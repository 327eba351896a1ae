//! Notices that the entry of a waiting `Lock` RPC is gone: the server doesn't tell its caller.

use std::future::pending;

use etcd_lock_core::watch::{EventKind, WatchBody, WatchCreate, WatchRequest, WatchResponse};
use etcd_lock_core::{BoxStream, Error, ErrorKind, LockKey, Result};
use futures_util::{StreamExt, stream};

use crate::layers::Streams;

/// A watch on the key of an attempt, begun before the attempt.
pub(crate) struct OwnKey {
    responses: BoxStream<Result<WatchResponse>>,
    /// Whether the entry is known to stand: the deletion of a key that an earlier attempt left is no loss.
    stands: bool,
}

impl OwnKey {
    /// Returns once the watch is on, so that nothing that is asked for later can be missed.
    pub(crate) async fn watch(streams: &impl Streams, key: &LockKey, stands: bool) -> Result<Self> {
        let create = WatchRequest::Create(WatchCreate::key(1, key.as_bytes().clone()));
        // The stream of requests stays open: its end would end the watch.
        let requests = stream::iter([create]).chain(stream::pending());
        let mut responses = streams.watch(Box::pin(requests));
        match responses.next().await {
            Some(Ok(response)) if response.body == WatchBody::Created => {
                Ok(Self { responses, stands })
            }
            Some(Ok(response)) => Err(refused(response)),
            Some(Err(error)) => Err(error),
            None => Err(Error::new(ErrorKind::Unavailable, "the watch ended")),
        }
    }

    /// Waits until the entry is deleted. A watch that breaks tells nothing any more; the RPC itself breaks then.
    pub(crate) async fn deleted(&mut self) {
        while let Some(Ok(response)) = self.responses.next().await {
            let WatchBody::Events(events) = response.body else {
                continue;
            };
            for event in events {
                match event.kind {
                    EventKind::Put => self.stands = true,
                    EventKind::Delete if self.stands => return,
                    EventKind::Delete => {}
                }
            }
        }
        pending().await
    }
}

fn refused(response: WatchResponse) -> Error {
    let reason = match response.body {
        WatchBody::Canceled { reason, .. } => reason,
        _ => String::new(),
    };
    let kind = if reason.contains("permission denied") {
        ErrorKind::PermissionDenied
    } else if reason.contains("auth token") || reason.contains("user name is empty") {
        ErrorKind::Unauthenticated
    } else {
        ErrorKind::Server
    };
    Error::new(kind, "the server refused to watch the key of the lock").with_server_text(reason)
}
