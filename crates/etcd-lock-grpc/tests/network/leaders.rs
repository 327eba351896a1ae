//! A proposal that was on its way to a leader that died is lost, and its member answers only after etcd's own time-out. So does
//! a member that lost all of its peers. One that its peers don't hear may say all the time that it has a leader.

use std::future::pending;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst};
use std::time::Duration;

use etcd_lock_core::kv::{PutRequest, RangeRequest, TxnRequest};
use etcd_lock_core::{CallOptions, Result, Transport};
use etcd_lock_grpc::{ConnectOptions, EndpointChoice, EndpointInfo, EndpointState, GrpcTransport};
use etcd_lock_proto::etcdserverpb as pb;
use pb::kv_server::{Kv, KvServer};
use pb::maintenance_server::{Maintenance, MaintenanceServer};
use tokio::net::TcpListener;
use tokio::time::{sleep, timeout};
use tokio_stream::wrappers::TcpListenerStream;
use tonic::{Request, Response, Status};

use crate::calls::PATIENCE;

/// Longer than a test has patience: what ends a request earlier is something else.
const FOREVER: Duration = Duration::from_secs(600);

/// An attempt's bound that is shorter than what a slow request takes.
const SHORT: Duration = Duration::from_millis(600);

#[tokio::test]
async fn an_idempotent_request_that_was_lost_with_the_leader_is_sent_again() {
    let member = Member::start(First::LostWithTheLeader, FOREVER).await;
    let result = timeout(PATIENCE, member.write(put().idempotent())).await;
    result.unwrap().unwrap();
    assert_eq!(member.txns(), 2);
}

#[tokio::test]
async fn the_outcome_of_another_write_that_was_lost_with_the_leader_is_unknown() {
    let member = Member::start(First::LostWithTheLeader, FOREVER).await;
    let error = timeout(PATIENCE, member.write(put())).await.unwrap();
    let error = error.unwrap_err();
    assert!(error.is_outcome_unknown(), "{error}");
    assert_eq!(member.txns(), 1);
}

/// The control: while the leader stays, a request may be slow.
#[tokio::test]
async fn a_slow_request_under_the_same_leader_is_waited_for() {
    let member = Member::start(First::Slow, FOREVER).await;
    member.write(put()).await.unwrap();
    assert_eq!(member.txns(), 1);
}

#[tokio::test]
async fn the_outcome_of_a_write_at_a_member_without_a_leader_is_unknown() {
    let member = Member::start(First::LostWithThePeers, SHORT).await;
    let error = timeout(PATIENCE, member.write(put())).await.unwrap();
    let error = error.unwrap_err();
    assert!(error.is_outcome_unknown(), "{error}");
    assert_eq!(member.txns(), 1);
}

/// The controls: while it has a leader, or gets another in time, a write may take longer than its bound.
#[tokio::test]
async fn a_write_that_may_not_be_repeated_is_waited_for_while_its_member_has_a_leader() {
    for first in [First::Slow, First::SlowForAnElection] {
        let member = Member::start(first, SHORT).await;
        member.write(put()).await.unwrap();
        assert_eq!(member.txns(), 1);
    }
}

#[tokio::test]
async fn a_member_that_says_that_it_is_well_and_answers_no_read_is_left_until_it_does() {
    let (cut_off, cut_off_at) = serve(First::Slow).await;
    let (_other, other_at) = serve(First::Slow).await;
    let options = ConnectOptions::new()
        .with_attempt_timeout(SHORT)
        .with_endpoint_choice(EndpointChoice::Listed)
        .with_endpoints([cut_off_at, other_at]);
    let transport = GrpcTransport::connect(options).unwrap();
    let read = async || {
        let read = transport.range(RangeRequest::key("key"), CallOptions::default());
        timeout(PATIENCE, read).await.unwrap().unwrap();
    };
    let first = || -> EndpointInfo { transport.info().endpoints.swap_remove(0) };
    read().await;
    assert_eq!(first().state, EndpointState::Healthy);

    cut_off.is_cut_off.store(true, SeqCst);
    read().await;
    let attempts = first().attempts;
    // Long enough for some probes.
    for _ in 0..10 {
        sleep(SHORT / 5).await;
        read().await;
    }
    assert_ne!(first().state, EndpointState::Healthy);
    assert_eq!(first().attempts, attempts);

    cut_off.is_cut_off.store(false, SeqCst);
    let is_taken_again = async {
        while first().state != EndpointState::Healthy {
            sleep(SHORT / 10).await;
        }
    };
    timeout(PATIENCE, is_taken_again).await.unwrap();
}

fn put() -> TxnRequest {
    TxnRequest::new().and_then(PutRequest::new("key", "value"))
}

/// A member of an etcd, and a transport to it that has heard of its leader.
struct Member {
    cluster: Arc<Cluster>,
    transport: GrpcTransport,
}

impl Member {
    async fn start(first: First, bound: Duration) -> Self {
        let (cluster, address) = serve(first).await;
        let options = ConnectOptions::new().with_attempt_timeout(bound);
        let transport = GrpcTransport::connect(options.with_endpoints([address])).unwrap();
        let read = RangeRequest::key("key");
        transport.range(read, CallOptions::default()).await.unwrap();
        Self { cluster, transport }
    }

    async fn write(&self, txn: TxnRequest) -> Result<()> {
        let options = CallOptions::new(FOREVER.into());
        self.transport.txn(txn, options).await.map(|_| ())
    }

    fn txns(&self) -> u64 {
        self.cluster.txns.load(SeqCst)
    }
}

/// Serves a member for as long as its test runs, and returns its address.
async fn serve(first: First) -> (Arc<Cluster>, String) {
    let cluster = Arc::new(Cluster {
        first,
        leader: AtomicU64::new(1),
        term: AtomicU64::new(7),
        txns: AtomicU64::new(0),
        is_cut_off: AtomicBool::new(false),
    });
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address: SocketAddr = listener.local_addr().unwrap();
    let router = tonic::transport::Server::builder()
        .add_service(KvServer::from_arc(cluster.clone()))
        .add_service(MaintenanceServer::from_arc(cluster.clone()));
    let serving = router.serve_with_incoming(TcpListenerStream::new(listener));
    tokio::spawn(async move { serving.await.unwrap() });
    (cluster, address.to_string())
}

/// The fate of the first transaction.
#[derive(Clone, Copy, PartialEq)]
enum First {
    /// It is never answered, and the cluster has another leader from then on.
    LostWithTheLeader,
    /// It is never answered, and the member has no leader from then on.
    LostWithThePeers,
    /// It is answered after a second.
    Slow,
    /// The same, and the member has no leader at first.
    SlowForAnElection,
}

struct Cluster {
    first: First,
    leader: AtomicU64,
    term: AtomicU64,
    txns: AtomicU64,
    /// No read is answered.
    is_cut_off: AtomicBool,
}

impl Cluster {
    fn header(&self) -> Option<pb::ResponseHeader> {
        Some(pb::ResponseHeader {
            cluster_id: 1,
            member_id: 1,
            revision: 1,
            raft_term: self.term.load(SeqCst),
        })
    }
}

#[tonic::async_trait]
impl Kv for Cluster {
    async fn range(
        &self,
        _: Request<pb::RangeRequest>,
    ) -> Result<Response<pb::RangeResponse>, Status> {
        if self.is_cut_off.load(SeqCst) {
            pending::<()>().await;
        }
        Ok(Response::new(pb::RangeResponse {
            header: self.header(),
            ..pb::RangeResponse::default()
        }))
    }

    async fn txn(&self, _: Request<pb::TxnRequest>) -> Result<Response<pb::TxnResponse>, Status> {
        if self.txns.fetch_add(1, SeqCst) == 0 {
            match self.first {
                First::LostWithTheLeader => {
                    self.term.fetch_add(1, SeqCst);
                    pending::<()>().await;
                }
                First::LostWithThePeers => {
                    self.leader.store(0, SeqCst);
                    pending::<()>().await;
                }
                First::Slow => sleep(Duration::from_secs(1)).await,
                First::SlowForAnElection => {
                    self.leader.store(0, SeqCst);
                    sleep(SHORT - Duration::from_millis(250)).await;
                    self.leader.store(1, SeqCst);
                    sleep(Duration::from_millis(650)).await;
                }
            }
        }
        Ok(Response::new(pb::TxnResponse {
            header: self.header(),
            succeeded: true,
            responses: vec![pb::ResponseOp {
                response: Some(pb::response_op::Response::ResponsePut(
                    pb::PutResponse::default(),
                )),
            }],
        }))
    }

    async fn put(&self, _: Request<pb::PutRequest>) -> Result<Response<pb::PutResponse>, Status> {
        Err(Status::unimplemented("nobody asks"))
    }

    async fn delete_range(
        &self,
        _: Request<pb::DeleteRangeRequest>,
    ) -> Result<Response<pb::DeleteRangeResponse>, Status> {
        Err(Status::unimplemented("nobody asks"))
    }

    async fn compact(
        &self,
        _: Request<pb::CompactionRequest>,
    ) -> Result<Response<pb::CompactionResponse>, Status> {
        Err(Status::unimplemented("nobody asks"))
    }
}

#[tonic::async_trait]
impl Maintenance for Cluster {
    async fn status(
        &self,
        _: Request<pb::StatusRequest>,
    ) -> Result<Response<pb::StatusResponse>, Status> {
        Ok(Response::new(pb::StatusResponse {
            header: self.header(),
            leader: self.leader.load(SeqCst),
            raft_term: self.term.load(SeqCst),
            ..pb::StatusResponse::default()
        }))
    }

    async fn alarm(
        &self,
        _: Request<pb::AlarmRequest>,
    ) -> Result<Response<pb::AlarmResponse>, Status> {
        Err(Status::unimplemented("nobody asks"))
    }

    async fn hash_kv(
        &self,
        _: Request<pb::HashKvRequest>,
    ) -> Result<Response<pb::HashKvResponse>, Status> {
        Err(Status::unimplemented("nobody asks"))
    }
}
