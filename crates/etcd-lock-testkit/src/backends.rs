//! The backends that we have: each an etcd of some kind, with its locks taken by the transport itself or by our queue.
//!
//! They are started by functions to give to [`conformance!`](crate::conformance!). Those in memory without a server live
//! under a paused clock, the others need real time.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use async_trait::async_trait;
use etcd_lock_core::{Client, Transport};
use etcd_lock_grpc::layers::Layered;
use etcd_lock_grpc::{GrpcTransport, Options};
use etcd_lock_memory::{MemoryEtcd, Server};
use etcd_lock_session::Queue;

use crate::{Backend, Profile, RealEtcd};

/// The small etcd in memory.
pub async fn memory() -> Box<dyn Backend> {
    plain(MemoryEtcd::new())
}

/// The small etcd behind the layers that gRPC requests pass.
pub async fn layered() -> Box<dyn Backend> {
    plain(Layers(MemoryEtcd::new()))
}

/// gRPC to the small etcd's server.
pub async fn served() -> Box<dyn Backend> {
    plain(serve().await)
}

/// gRPC to a real etcd of one member.
pub async fn etcd() -> Box<dyn Backend> {
    plain(RealEtcd::start().await)
}

/// gRPC to a real etcd of three members.
pub async fn cluster() -> Box<dyn Backend> {
    plain(RealEtcd::cluster(3).await)
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

/// Our queue on [`etcd`].
pub async fn queue_on_etcd() -> Box<dyn Backend> {
    queue(RealEtcd::start().await)
}

/// Our queue on [`cluster`].
pub async fn queue_on_cluster() -> Box<dyn Backend> {
    queue(RealEtcd::cluster(3).await)
}

/// Every other client by our queue, the rest by the transport itself, on [`memory`].
pub async fn mixed_on_memory() -> Box<dyn Backend> {
    mixed(MemoryEtcd::new())
}

/// Every other client by our queue, the rest by etcd's own service, on [`etcd`].
pub async fn mixed_on_etcd() -> Box<dyn Backend> {
    mixed(RealEtcd::start().await)
}

/// An etcd of some kind.
trait Etcd: fmt::Debug + Send + Sync + 'static {
    /// A transport with connections of its own, where there are any.
    fn connect(&self) -> Arc<dyn Transport>;
}

impl Etcd for MemoryEtcd {
    fn connect(&self) -> Arc<dyn Transport> {
        Arc::new(self.clone())
    }
}

/// The small etcd, behind a set of layers for each connection.
#[derive(Debug)]
struct Layers(MemoryEtcd);

impl Etcd for Layers {
    fn connect(&self) -> Arc<dyn Transport> {
        Arc::new(Layered::new(self.0.clone(), Options::new()).unwrap())
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

fn grpc(endpoints: &[String]) -> Arc<dyn Transport> {
    Arc::new(GrpcTransport::connect(endpoints, Options::new()).unwrap())
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
    async fn client(&self) -> Client {
        let transport = self.etcd.connect();
        let is_even = self.clients.fetch_add(1, Relaxed).is_multiple_of(2);
        match self.locks {
            Locks::Plain => transport.into(),
            Locks::Mixed if is_even => transport.into(),
            Locks::Queue | Locks::Mixed => Client::new(Queue::over(transport)),
        }
    }

    async fn inspector(&self) -> Client {
        self.etcd.connect().into()
    }

    fn profile(&self) -> Profile {
        match self.locks {
            Locks::Plain => Profile::ETCD,
            Locks::Queue => Profile::QUEUE,
            Locks::Mixed => Profile::MIXED,
        }
    }
}
