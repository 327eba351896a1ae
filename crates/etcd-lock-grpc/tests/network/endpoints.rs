//! Which endpoint is asked, and what is refused.

use std::time::Duration;

use etcd_lock_core::kv::RangeRequest;
use etcd_lock_core::{CallOptions, Result, Transport};
use etcd_lock_grpc::{ConnectOptions, EndpointChoice, EndpointState, GrpcTransport};
use etcd_lock_memory::{MemoryEtcd, Server};
use etcd_lock_testkit::{RealEtcd, ReservedPort};
use futures_util::future::join_all;
use tokio::io;
use tokio::net::{TcpListener, TcpStream, UnixListener};
use tokio::time::{sleep, timeout};

use crate::calls::{PATIENCE, is_usable};
use crate::proxy::Proxy;

#[tokio::test]
async fn a_random_endpoint_is_asked_and_stays() {
    let servers = three(&MemoryEtcd::new()).await;
    let mut firsts = [0; 3];
    for _ in 0..30 {
        let transport = connect(&servers, EndpointChoice::Random);
        for _ in 0..3 {
            range(&transport).await.unwrap();
        }
        let asked = attempts(&transport);
        let first = asked.iter().position(|&count| count > 0).unwrap();
        assert_eq!(asked[first], 3, "{asked:?}");
        firsts[first] += 1;
    }
    // By chance, one is left out in 16 of a million runs.
    assert!(firsts.iter().all(|&count| count > 0), "{firsts:?}");
}

#[tokio::test]
async fn endpoints_in_turn_are_asked_equally_often() {
    let servers = three(&MemoryEtcd::new()).await;
    let transport = connect(&servers, EndpointChoice::RoundRobin);
    for _ in 0..30 {
        range(&transport).await.unwrap();
    }
    let asked = attempts(&transport);
    assert!(
        asked.iter().all(|&count| (8..=12).contains(&count)),
        "{asked:?}"
    );
}

#[tokio::test]
async fn a_listed_endpoint_that_comes_back_is_asked_again() {
    let etcd = MemoryEtcd::new();
    let port = ReservedPort::new();
    let mut servers = three(&etcd).await;
    servers[0] = Server::bind(port.address(), etcd.clone()).await.unwrap();
    let transport = connect(&servers, EndpointChoice::Listed);
    range(&transport).await.unwrap();
    assert_eq!(attempts(&transport), [1, 0, 0]);
    let [first, second, _third] = servers;
    first.shutdown().await.unwrap();
    range(&transport).await.unwrap();
    assert_ne!(transport.info().endpoints[0].state, EndpointState::Healthy);
    let _first = Server::bind(port.address(), etcd).await.unwrap();
    becomes(&transport, EndpointState::Healthy).await;
    second.shutdown().await.unwrap();
    range(&transport).await.unwrap();
}

#[tokio::test]
async fn an_endpoint_of_another_cluster_is_refused() {
    let server = Server::bind("127.0.0.1:0", MemoryEtcd::new())
        .await
        .unwrap();
    let (ours, mut other) = (
        Proxy::start(server.address()).await,
        RealEtcd::start().await,
    );
    let stranger = other.members()[0].endpoint();
    let options = ConnectOptions::new().with_endpoint_choice(EndpointChoice::Listed);
    let transport =
        GrpcTransport::connect(options.with_endpoints([ours.endpoint(), stranger.clone()]))
            .unwrap();
    range(&transport).await.unwrap();
    ours.freeze();
    let error = range(&transport).await.unwrap_err();
    assert!(error.is_unavailable() || error.is_timeout(), "{error:?}");
    // Whichever is the wrong one: both are named, with their clusters.
    let text = format!("{error:?}");
    assert!(text.contains(&stranger), "{text}");
    assert!(text.contains(&ours.endpoint()), "{text}");
    let id = transport.info().cluster_id.unwrap();
    assert!(text.contains(&format!("cluster {id:x}")), "{text}");
    let info = transport.info();
    assert_eq!(info.endpoints[1].state, EndpointState::Refused, "{info:?}");
    let reason = info.endpoints[1].reason.clone().unwrap();
    assert!(reason.contains("belongs to the cluster"), "{reason}");
    ours.thaw();
    range(&transport).await.unwrap();
}

/// No request was answered yet, so nothing rests on what a probe says.
#[tokio::test]
async fn a_probe_of_another_cluster_does_not_make_the_right_one_refused() {
    let mut other = RealEtcd::start().await;
    let address = other.members()[0].endpoint();
    let stranger = Proxy::start(address.trim_start_matches("http://").parse().unwrap()).await;
    let server = Server::bind("127.0.0.1:0", MemoryEtcd::new())
        .await
        .unwrap();
    let ours = Proxy::start(server.address()).await;
    let options = ConnectOptions::new().with_endpoint_choice(EndpointChoice::Listed);
    let given = [stranger.endpoint(), ours.endpoint()];
    let transport = GrpcTransport::connect(options.with_endpoints(given)).unwrap();
    stranger.freeze();
    ours.freeze();
    let short = CallOptions::new(Duration::from_secs(1).into());
    let asked = transport.range(RangeRequest::key("key"), short);
    asked.await.unwrap_err();
    stranger.thaw();
    becomes(&transport, EndpointState::Healthy).await;
    assert_eq!(transport.info().cluster_id, None);

    stranger.freeze();
    ours.thaw();
    range(&transport).await.unwrap();
    stranger.thaw();
    becomes(&transport, EndpointState::Refused).await;
    range(&transport).await.unwrap();
}

/// A login that hangs at one endpoint is bounded, and keeps nobody from another endpoint.
#[tokio::test]
async fn a_login_at_a_hung_endpoint_holds_up_nobody_for_long() {
    let silent = silent_server().await;
    let good = Server::bind("127.0.0.1:0", MemoryEtcd::new())
        .await
        .unwrap();
    let options = ConnectOptions::new()
        .with_login("user", "password")
        .with_endpoint_choice(EndpointChoice::Listed);
    let transport =
        GrpcTransport::connect(options.with_endpoints([silent, good.endpoint()])).unwrap();
    // One login after the other would take longer than the calls have.
    let calls = (0..50).map(|_| range(&transport));
    for answer in join_all(calls).await {
        answer.unwrap();
    }
}

#[tokio::test]
async fn the_members_that_the_cluster_lists_are_asked() {
    let mut etcd = RealEtcd::start().await;
    let listed = etcd.members()[0].endpoint();
    let address = listed.trim_start_matches("http://").parse().unwrap();
    let proxy = Proxy::start(address).await;
    let options = ConnectOptions::new().with_member_sync(Duration::from_millis(50));
    let transport = GrpcTransport::connect(options.with_endpoints([proxy.endpoint()])).unwrap();
    let known = async {
        while transport.info().endpoints[0].name != listed {
            range(&transport).await.unwrap();
        }
    };
    timeout(PATIENCE, known).await.unwrap();
    proxy.freeze();
    is_usable(&transport).await;
}

#[tokio::test]
async fn an_etcd_behind_a_unix_socket_can_be_asked() {
    let server = Server::bind("127.0.0.1:0", MemoryEtcd::new())
        .await
        .unwrap();
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("etcd");
    let listener = UnixListener::bind(&path).unwrap();
    let address = server.address();
    tokio::spawn(async move {
        while let Ok((mut client, _)) = listener.accept().await {
            let mut server = TcpStream::connect(address).await.unwrap();
            tokio::spawn(async move { io::copy_bidirectional(&mut client, &mut server).await });
        }
    });
    let endpoint = format!("unix:{}", path.display());
    let transport = GrpcTransport::connect([endpoint]).unwrap();
    is_usable(&transport).await;
}

async fn three(etcd: &MemoryEtcd) -> [Server; 3] {
    let bind = || Server::bind("127.0.0.1:0", etcd.clone());
    [
        bind().await.unwrap(),
        bind().await.unwrap(),
        bind().await.unwrap(),
    ]
}

fn connect(servers: &[Server; 3], choice: EndpointChoice) -> GrpcTransport {
    let options = ConnectOptions::new().with_endpoint_choice(choice);
    GrpcTransport::connect(options.with_endpoints(servers.each_ref().map(Server::endpoint)))
        .unwrap()
}

/// Waits until the first endpoint is in a state.
async fn becomes(transport: &GrpcTransport, wanted: EndpointState) {
    let reached = async {
        while transport.info().endpoints[0].state != wanted {
            sleep(Duration::from_millis(10)).await;
        }
    };
    timeout(PATIENCE, reached).await.unwrap();
}

async fn range(transport: &GrpcTransport) -> Result<()> {
    let request = RangeRequest::key("key");
    transport
        .range(request, CallOptions::default())
        .await
        .map(drop)
}

fn attempts(transport: &GrpcTransport) -> Vec<u64> {
    transport
        .info()
        .endpoints
        .iter()
        .map(|it| it.attempts)
        .collect()
}

/// A server that speaks HTTP/2 and answers nothing.
async fn silent_server() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let mut connection = h2::server::handshake(stream).await.unwrap();
                let mut kept = Vec::new();
                while let Some(Ok(request)) = connection.accept().await {
                    kept.push(request);
                }
            });
        }
    });
    endpoint
}
