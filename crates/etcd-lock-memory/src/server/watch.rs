//! The `Watch` service.

use std::pin::Pin;
use std::sync::Arc;

use etcd_lock_proto::etcdserverpb as pb;
use futures_util::{Stream, StreamExt, stream};
use pb::watch_server::Watch;
use tonic::{Request, Response, Result, Status, Streaming};

use super::Served;
use super::limits::MAX_WATCHES;
use crate::transport::WatchStream;

#[tonic::async_trait]
impl Watch for Served {
    type WatchStream = Pin<Box<dyn Stream<Item = Result<pb::WatchResponse>> + Send>>;

    async fn watch(
        &self,
        requests: Request<Streaming<pb::WatchRequest>>,
    ) -> Result<Response<Self::WatchStream>> {
        let watches = Arc::new(WatchStream::open(&self.etcd));
        let asked = watches.clone();
        // The client's side: it says what it wants, fails, or is done, which leaves its watches open.
        let requests = requests.into_inner().map(move |request| match request {
            Ok(_) if asked.count() >= MAX_WATCHES => Some(Err(Status::resource_exhausted(
                "etcd-lock: too many watches on one stream",
            ))),
            Ok(request) => {
                asked.ask(request);
                None
            }
            Err(status) => Some(Err(status)),
        });
        let replies = stream::unfold(watches, |watches| async move {
            let reply = watches.next().await;
            Some((Some(Ok(reply)), watches))
        });
        let served = self.clone();
        let stopping = stream::once(async move { Some(Err(served.stopping().await)) });
        let requests = requests.chain(stream::once(std::future::pending()));
        let all = stream::select(stream::select(requests, replies), stopping);
        let all = all
            .filter_map(std::future::ready)
            .scan(false, |failed, reply| {
                let over = std::mem::replace(failed, reply.is_err());
                std::future::ready((!over).then_some(reply))
            });
        Ok(Response::new(all.boxed()))
    }
}
