//! The proxies of the fixture: held bytes do not arrive, cut connections are reset, parted members lose their peers.

#![allow(clippy::unwrap_used, reason = "it is test code, helpers included")]

use std::time::Duration;

use etcd_lock_testkit::real_etcd::Setup;
use etcd_lock_testkit::real_etcd::proxy::Proxy;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::{Instant, sleep, timeout};

const SHORT: Duration = Duration::from_millis(100);
const PATIENCE: Duration = Duration::from_secs(20);

#[tokio::test]
async fn bytes_pass_in_both_directions_and_the_end_is_told() {
    let (proxy, mut client) = echo().await;
    assert_eq!(ask(&mut client, b"one").await, b"one");
    assert_eq!(proxy.link().requested(), "0one".len() as u64);
    client.shutdown().await.unwrap();
    assert_eq!(client.read(&mut [0; 8]).await.unwrap(), 0);
}

#[tokio::test]
async fn delayed_bytes_take_longer_each_way() {
    let (proxy, mut client) = echo().await;
    proxy.link().delay(SHORT);
    let began = Instant::now();
    assert_eq!(ask(&mut client, b"one").await, b"one");
    assert!(began.elapsed() >= 2 * SHORT, "{:?}", began.elapsed());
}

#[tokio::test]
async fn held_bytes_arrive_once_the_link_passes_again() {
    let (proxy, mut client) = echo().await;
    proxy.link().hold_replies();
    client.write_all(b"held").await.unwrap();
    let mut reply = [0; 4];
    assert!(timeout(SHORT, client.read(&mut reply)).await.is_err());
    assert_eq!(proxy.link().requested(), "0held".len() as u64);
    proxy.link().pass();
    client.read_exact(&mut reply).await.unwrap();
    assert_eq!(&reply, b"held");
}

#[tokio::test]
async fn a_cut_connection_is_reset_and_a_new_one_is_accepted() {
    let (proxy, mut client) = echo().await;
    proxy.link().cut();
    assert!(client.read(&mut [0; 8]).await.is_err());
    let mut next = connect(&proxy).await.unwrap();
    assert_eq!(ask(&mut next, b"two").await, b"two");
}

#[tokio::test]
async fn a_refused_connection_is_refused_until_the_link_passes_again() {
    let (proxy, _client) = echo().await;
    proxy.link().refuse();
    until(async || connect(&proxy).await.is_err()).await;
    proxy.link().pass();
    until(async || connect(&proxy).await.is_ok()).await;
}

#[tokio::test]
async fn a_member_parted_from_its_peers_is_reachable_and_not_healthy() {
    let mut etcd = Setup::new().members(3).with_peer_links().start().await;
    let leader = etcd.leader().await.unwrap();

    etcd.peer_links().part(leader);

    until(async || !etcd.members()[leader].is_healthy().await).await;
    let other = (leader + 1) % 3;
    until(async || etcd.members()[other].is_healthy().await).await;
    assert!(
        etcd.members()[leader]
            .metrics()
            .await
            .contains("etcd_server_is_leader")
    );
    etcd.peer_links().heal(leader);
    until(async || etcd.members()[leader].is_healthy().await).await;
}

/// A proxy in front of a server that sends back all it gets, and a connection through it.
async fn echo() -> (Proxy, TcpStream) {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let (mut from, mut to) = stream.split();
                let _ = tokio::io::copy(&mut from, &mut to).await;
            });
        }
    });
    let proxy = Proxy::to(&format!("http://{address}")).await;
    let mut client = connect(&proxy).await.unwrap();
    // A connection to the proxy says nothing of the one behind it; an answer does.
    assert_eq!(ask(&mut client, b"0").await, b"0");
    (proxy, client)
}

async fn connect(proxy: &Proxy) -> std::io::Result<TcpStream> {
    TcpStream::connect(proxy.endpoint().trim_start_matches("http://")).await
}

async fn ask(stream: &mut TcpStream, text: &[u8]) -> Vec<u8> {
    stream.write_all(text).await.unwrap();
    let mut reply = vec![0; text.len()];
    stream.read_exact(&mut reply).await.unwrap();
    reply
}

async fn until(mut reached: impl AsyncFnMut() -> bool) {
    let reached = async {
        while !reached().await {
            sleep(Duration::from_millis(10)).await;
        }
    };
    timeout(PATIENCE, reached).await.unwrap();
}
