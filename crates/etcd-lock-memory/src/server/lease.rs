//! The `Lease` service.

use std::pin::Pin;

use etcd_lock_proto::etcdserverpb as pb;
use futures_util::{Stream, StreamExt, stream};
use pb::lease_server::Lease;
use tonic::{Request, Response, Result, Streaming};

use super::Served;

#[tonic::async_trait]
impl Lease for Served {
    async fn lease_grant(
        &self,
        request: Request<pb::LeaseGrantRequest>,
    ) -> Result<Response<pb::LeaseGrantResponse>> {
        // A lease ends also when nobody asks.
        self.etcd.ensure_ticking();
        let reply = self
            .etcd
            .with(|model| model.lease_grant(request.get_ref()))?;
        Ok(Response::new(reply))
    }

    async fn lease_revoke(
        &self,
        request: Request<pb::LeaseRevokeRequest>,
    ) -> Result<Response<pb::LeaseRevokeResponse>> {
        let reply = self
            .etcd
            .with(|model| model.lease_revoke(request.get_ref()))?;
        Ok(Response::new(reply))
    }

    type LeaseKeepAliveStream =
        Pin<Box<dyn Stream<Item = Result<pb::LeaseKeepAliveResponse>> + Send>>;

    async fn lease_keep_alive(
        &self,
        requests: Request<Streaming<pb::LeaseKeepAliveRequest>>,
    ) -> Result<Response<Self::LeaseKeepAliveStream>> {
        let served = self.clone();
        let replies = requests.into_inner().map(move |request| {
            let request = request?;
            Ok(served.etcd.with(|model| model.lease_keep_alive(&request)))
        });
        let served = self.clone();
        let stopping = stream::once(async move { Err(served.stopping().await) });
        Ok(Response::new(until_error(replies, stopping)))
    }

    async fn lease_time_to_live(
        &self,
        request: Request<pb::LeaseTimeToLiveRequest>,
    ) -> Result<Response<pb::LeaseTimeToLiveResponse>> {
        Ok(Response::new(
            self.etcd
                .with(|model| model.lease_time_to_live(request.get_ref())),
        ))
    }

    async fn lease_leases(
        &self,
        _: Request<pb::LeaseLeasesRequest>,
    ) -> Result<Response<pb::LeaseLeasesResponse>> {
        Ok(Response::new(self.etcd.with(|model| model.lease_leases())))
    }
}

/// Replies until the first error, be it of the client or of a server that stops, or until the client has nothing more to
/// say.
fn until_error<T: Send + 'static>(
    replies: impl Stream<Item = Result<T>> + Send + 'static,
    stopping: impl Stream<Item = Result<T>> + Send + 'static,
) -> Pin<Box<dyn Stream<Item = Result<T>> + Send>> {
    let replies = replies.map(Some).chain(stream::once(async { None }));
    let both = stream::select(replies, stopping.map(Some));
    both.take_while(|reply| std::future::ready(reply.is_some()))
        .filter_map(std::future::ready)
        .scan(false, |failed, reply| {
            let over = std::mem::replace(failed, reply.is_err());
            std::future::ready((!over).then_some(reply))
        })
        .boxed()
}
