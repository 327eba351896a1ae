//! The in-memory etcd over gRPC, as etcd serves it.

mod kv;
mod lease;
mod limits;
mod lock;
mod maintenance;
mod watch;
mod wording;

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use etcd_lock_proto::etcdserverpb::auth_server::AuthServer;
use etcd_lock_proto::etcdserverpb::cluster_server::ClusterServer;
use etcd_lock_proto::etcdserverpb::kv_server::KvServer;
use etcd_lock_proto::etcdserverpb::lease_server::LeaseServer;
use etcd_lock_proto::etcdserverpb::maintenance_server::MaintenanceServer;
use etcd_lock_proto::etcdserverpb::watch_server::WatchServer;
use etcd_lock_proto::v3lockpb::lock_server::LockServer;
use tokio::net::{TcpListener, ToSocketAddrs};
use tokio::sync::watch::{Receiver, Sender, channel};
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tonic::service::Routes;
use tonic::transport::server::TcpIncoming;

use self::limits::{MAX_CALLS, MAX_MESSAGE, OpenLocks};
use crate::MemoryEtcd;
use crate::status::{Code, Status};

/// A gRPC server of an in-memory etcd. It stops when it is dropped.
///
/// It serves keys, leases, watches and locks, with what `etcdctl` asks beside it, gRPC health and reflection. There is no
/// TLS and no login: bind it to the loopback interface.
///
/// One client can't make it hold more than so much: 4,096 open calls a connection, 1,024 of them calls of `Lock`; 10,000
/// watches a stream; requests of 2 MiB. A client that goes on is told so with `ResourceExhausted`, but for calls, which
/// HTTP/2 lets wait at the client. A watch stream that is read too slowly loses its watches: when 10,000 replies wait, each
/// watch is cancelled with a reason.
#[derive(Debug)]
pub struct Server {
    address: SocketAddr,
    closing: Sender<bool>,
    task: JoinHandle<Result<(), tonic::transport::Error>>,
}

impl Server {
    /// Serves an etcd at an address; port 0 picks a free one.
    ///
    /// # Errors
    /// When the address can't be bound.
    ///
    /// # Cancel safety
    /// Nothing is left behind.
    pub async fn bind(address: impl ToSocketAddrs, etcd: MemoryEtcd) -> io::Result<Self> {
        let listener = TcpListener::bind(address).await?;
        let address = listener.local_addr()?;
        let (closing, closed) = channel(false);
        let routes = routes(&Served {
            etcd,
            address,
            closed: closed.clone(),
            locks: OpenLocks::default(),
        })?;
        // A reply is several small writes, and without this the later ones wait for the client's acknowledgement: 40 ms.
        let incoming = TcpIncoming::from(listener).with_nodelay(Some(true));
        let stopped = async move { until_closed(closed).await };
        let server = tonic::transport::Server::builder()
            .max_concurrent_streams(MAX_CALLS)
            .layer(wording::Wording)
            .add_routes(routes)
            .serve_with_incoming_shutdown(incoming, stopped);
        Ok(Self {
            address,
            closing,
            task: tokio::spawn(server),
        })
    }

    /// Where it listens.
    #[must_use]
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// The same as an endpoint for clients.
    #[must_use]
    pub fn endpoint(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Ends open watches and waiting calls, and stops. Clients have a second to take their last replies; a connection that
    /// is still open then ends with the runtime.
    ///
    /// # Errors
    /// When serving had failed before.
    ///
    /// # Cancel safety
    /// When dropped, the server stops at once.
    pub async fn shutdown(mut self) -> io::Result<()> {
        self.closing.send_replace(true);
        match timeout(GRACE, &mut self.task).await {
            Ok(served) => served.map_err(io::Error::other)?.map_err(io::Error::other),
            // Dropping the server does the rest.
            Err(_) => Ok(()),
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.closing.send_replace(true);
        self.task.abort();
    }
}

/// The state that all services share.
#[derive(Clone, Debug)]
struct Served {
    etcd: MemoryEtcd,
    address: SocketAddr,
    closed: Receiver<bool>,
    locks: OpenLocks,
}

impl Served {
    /// Waits until the server is to stop.
    async fn stopping(&self) -> tonic::Status {
        until_closed(self.closed.clone()).await;
        tonic::Status::unavailable("etcdserver: server stopped")
    }
}

impl From<Status> for tonic::Status {
    fn from(status: Status) -> Self {
        let code = match status.code {
            Code::Unknown => tonic::Code::Unknown,
            Code::InvalidArgument => tonic::Code::InvalidArgument,
            Code::NotFound => tonic::Code::NotFound,
            Code::ResourceExhausted => tonic::Code::ResourceExhausted,
            Code::FailedPrecondition => tonic::Code::FailedPrecondition,
            Code::OutOfRange => tonic::Code::OutOfRange,
        };
        Self::new(code, status.message)
    }
}

fn routes(served: &Served) -> io::Result<Routes> {
    let (health, health_service) = tonic_health::server::health_reporter();
    // A health service that knows of the whole server alone says "serving" for it from the start.
    drop(health);
    let reflection = tonic_reflection::server::Builder::configure()
        .register_encoded_file_descriptor_set(etcd_lock_proto::FILE_DESCRIPTOR_SET)
        .build_v1()
        .map_err(io::Error::other)?;
    let mut routes = Routes::builder();
    routes
        .add_service(KvServer::new(served.clone()).max_decoding_message_size(MAX_MESSAGE))
        .add_service(WatchServer::new(served.clone()).max_decoding_message_size(MAX_MESSAGE))
        .add_service(LeaseServer::new(served.clone()).max_decoding_message_size(MAX_MESSAGE))
        .add_service(LockServer::new(served.clone()).max_decoding_message_size(MAX_MESSAGE))
        .add_service(ClusterServer::new(served.clone()))
        .add_service(MaintenanceServer::new(served.clone()))
        .add_service(AuthServer::new(served.clone()))
        .add_service(health_service)
        .add_service(reflection);
    Ok(routes.routes())
}

/// How long clients have to take their last replies when the server stops.
const GRACE: Duration = Duration::from_secs(1);

async fn until_closed(mut closed: Receiver<bool>) {
    // An error says that the server itself is gone, which is as good.
    let _ = closed.wait_for(|closed| *closed).await;
}
