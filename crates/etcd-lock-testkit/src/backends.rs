//! The backends that we have: each an etcd of some kind, with its locks taken by the transport itself or by our queue.
//!
//! They are started by functions to give to [`conformance!`](crate::conformance!). Those in memory without a server live
//! under a paused clock, the others need real time.
//!
//! Checks of our queue take names of their own, so that all of them can share one etcd, or one cluster: `cargo xtask test`
//! starts both and names their endpoints in environment variables. Without those each check starts its own.

use std::env;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use async_trait::async_trait;
use etcd_lock_core::{Client, Transport};
use etcd_lock_group::GroupCommit;
use etcd_lock_grpc::GrpcTransport;
use etcd_lock_grpc::layers::Layered;
use etcd_lock_memory::{MemoryEtcd, Server};
use etcd_lock_session::Queue;

use crate::{Backend, NestedNames, RealEtcd};

/// Endpoints of an etcd of one member, and of three, that tests may share: with commas between them.
const SHARED_VARIABLE: &str = "ETCD_LOCK_SHARED_ETCD";
const SHARED_CLUSTER_VARIABLE: &str = "ETCD_LOCK_SHARED_CLUSTER";

/// The in-memory etcd. Its `Lock` has the hazards of the RPC, so it is for checks of keys.
pub async fn memory() -> Box<dyn Backend> {
    plain(MemoryEtcd::new())
}

/// The in-memory etcd behind the layers that gRPC requests pass, which make its `Lock` as safe as that of gRPC.
pub async fn layered() -> Box<dyn Backend> {
    plain(Layers(MemoryEtcd::new()))
}

/// gRPC to the in-memory etcd's server.
pub async fn served() -> Box<dyn Backend> {
    plain(serve().await)
}

/// gRPC to a real etcd of one member, which no other test uses: etcd 3.4 keeps calls of its `Lock` waiting for long after
/// others have given up theirs.
pub async fn etcd() -> Box<dyn Backend> {
    plain(RealEtcd::start().await)
}

/// Our queue on [`memory`].
pub async fn queue_on_memory() -> Box<dyn Backend> {
    queue(MemoryEtcd::new())
}

/// Our queue on [`layered`].
pub async fn queue_on_layered() -> Box<dyn Backend> {
    queue(Layers(MemoryEtcd::new()))
}

/// Our queue on [`served`].
pub async fn queue_on_served() -> Box<dyn Backend> {
    queue(serve().await)
}

/// Our queue on a real etcd of one member.
pub async fn queue_on_etcd() -> Box<dyn Backend> {
    queue(one_member().await)
}

/// Our queue on a real etcd of three members.
pub async fn queue_on_cluster() -> Box<dyn Backend> {
    queue(three_members().await)
}

/// Every other client by our queue, the rest by the transport itself, on [`layered`].
pub async fn mixed_on_layered() -> Box<dyn Backend> {
    mixed(Layers(MemoryEtcd::new()))
}

/// Every other client by our queue, the rest by etcd's own service, on [`etcd`].
pub async fn mixed_on_etcd() -> Box<dyn Backend> {
    mixed(RealEtcd::start().await)
}

/// An etcd of some kind.
trait Etcd: fmt::Debug + Send + Sync + 'static {
    /// A transport with connections of its own, where there are any.
    fn connect(&self) -> Arc<dyn Transport>;

    /// Whether other tests use it at the same time.
    fn is_shared(&self) -> bool {
        false
    }
}

impl Etcd for MemoryEtcd {
    fn connect(&self) -> Arc<dyn Transport> {
        Arc::new(self.clone())
    }
}

/// The in-memory etcd, behind a set of layers for each connection.
#[derive(Debug)]
struct Layers(MemoryEtcd);

impl Etcd for Layers {
    fn connect(&self) -> Arc<dyn Transport> {
        Arc::new(Layered::new(self.0.clone()))
    }
}

async fn serve() -> Server {
    Server::bind("127.0.0.1:0", MemoryEtcd::new())
        .await
        .unwrap()
}

impl Etcd for Server {
    fn connect(&self) -> Arc<dyn Transport> {
        grpc(&[self.endpoint()])
    }
}

impl Etcd for RealEtcd {
    fn connect(&self) -> Arc<dyn Transport> {
        grpc(&self.endpoints())
    }
}

/// An etcd that somebody else has started, or one of our own.
#[derive(Debug)]
enum MaybeShared {
    Own(RealEtcd),
    Shared(Vec<String>),
}

async fn one_member() -> MaybeShared {
    match shared(SHARED_VARIABLE) {
        Some(shared) => shared,
        None => MaybeShared::Own(RealEtcd::start().await),
    }
}

async fn three_members() -> MaybeShared {
    match shared(SHARED_CLUSTER_VARIABLE) {
        Some(shared) => shared,
        None => MaybeShared::Own(RealEtcd::cluster(3).await),
    }
}

fn shared(variable: &str) -> Option<MaybeShared> {
    let endpoints = env::var(variable).ok()?;
    let endpoints = endpoints.split(',').map(str::to_owned);
    Some(MaybeShared::Shared(endpoints.collect()))
}

impl Etcd for MaybeShared {
    fn connect(&self) -> Arc<dyn Transport> {
        match self {
            Self::Own(etcd) => etcd.connect(),
            Self::Shared(endpoints) => grpc(endpoints),
        }
    }

    fn is_shared(&self) -> bool {
        matches!(self, Self::Shared(_))
    }
}

fn grpc(endpoints: &[String]) -> Arc<dyn Transport> {
    Arc::new(GrpcTransport::connect(endpoints).unwrap())
}

/// An etcd, and how locks are taken on it.
#[derive(Debug)]
struct On<E> {
    etcd: E,
    locks: Locks,
    clients: AtomicUsize,
}

#[derive(Clone, Copy, Debug)]
enum Locks {
    /// As the transport itself takes them.
    Plain,
    /// By transactions and watches.
    Queue,
    /// One way and the other, in turn from client to client.
    Mixed,
}

fn plain(etcd: impl Etcd) -> Box<dyn Backend> {
    on(etcd, Locks::Plain)
}

fn queue(etcd: impl Etcd) -> Box<dyn Backend> {
    on(etcd, Locks::Queue)
}

fn mixed(etcd: impl Etcd) -> Box<dyn Backend> {
    on(etcd, Locks::Mixed)
}

fn on(etcd: impl Etcd, locks: Locks) -> Box<dyn Backend> {
    let clients = AtomicUsize::new(0);
    Box::new(On {
        etcd,
        locks,
        clients,
    })
}

#[async_trait]
impl<E: Etcd> Backend for On<E> {
    async fn client(&self) -> (Client, NestedNames) {
        let transport = self.etcd.connect();
        let is_even = self.clients.fetch_add(1, Relaxed).is_multiple_of(2);
        let is_queue = match self.locks {
            Locks::Plain => false,
            Locks::Queue => true,
            Locks::Mixed => !is_even,
        };
        match is_queue {
            true => {
                let queue = Queue::new(GroupCommit::from(transport));
                (queue.into_client(), NestedNames::Apart)
            }
            false => (transport.into(), NestedNames::Wait),
        }
    }

    async fn inspector(&self) -> Client {
        self.etcd.connect().into()
    }

    fn is_shared(&self) -> bool {
        self.etcd.is_shared()
    }
}
