//! Connections by name: `open`, `close`, `info`, and contexts that are made from a name.

#![allow(clippy::unwrap_used, reason = "it is test code, helpers included")]

use std::time::Duration;

use etcd_lock::core::CallOptions;
use etcd_lock::kv::RangeRequest;
use etcd_lock::memory::{MemoryEtcd, Server};
use etcd_lock::{
    Client, ConnectOptions, ErrorKind, close, connect, info, lease, lock_with, new, open, unlock,
};

#[tokio::test]
async fn a_name_that_nobody_opened() {
    let error = lock_with("nowhere", "name", 1).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotOpen);
    assert!(error.to_string().contains("\"nowhere\""), "{error}");
    for error in [
        unlock("nowhere", "name/1").await.unwrap_err(),
        lease::leases("nowhere").await.unwrap_err(),
        close("nowhere").unwrap_err(),
        new("nowhere").client().unwrap_err(),
    ] {
        assert_eq!(error.kind(), ErrorKind::NotOpen, "{error:?}");
    }
}

#[tokio::test]
async fn a_name_is_opened_once_and_stays_with_who_has_it() {
    let (first, second) = (serve().await, serve().await);
    open("taken", [first.endpoint()]).unwrap();

    let error = open("taken", [second.endpoint()]).unwrap_err();

    assert_eq!(error.kind(), ErrorKind::AlreadyOpen, "{error:?}");
    assert!(error.to_string().contains("\"taken\""), "{error}");
    assert!(error.to_string().contains("close it first"), "{error}");
    let held = lock("taken").await;
    assert_eq!(keys(&first).await, [held]);
    assert!(keys(&second).await.is_empty());

    close("taken").unwrap();
    open("taken", [second.endpoint()]).unwrap();
    let held = lock("taken").await;
    assert_eq!(keys(&second).await, [held]);
    close("taken").unwrap();
}

#[tokio::test]
async fn what_cant_be_opened_takes_no_name() {
    let error = open("untaken", ["not a url"]).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidArgument, "{error:?}");
    let none = open("untaken", [""; 0]).unwrap_err();
    assert_eq!(none.kind(), ErrorKind::InvalidArgument, "{none:?}");
    assert!(!info().iter().any(|(name, _)| name == "untaken"));

    open("untaken", [serve().await.endpoint()]).unwrap();
    close("untaken").unwrap();
}

/// A name is only a name: who has the client goes on with it.
#[tokio::test]
async fn closing_takes_the_name_and_not_the_connection() {
    let server = serve().await;
    let client = open("closed", [server.endpoint()]).unwrap();
    let ctx = new("closed");
    lease::leases(&ctx).await.unwrap();

    close("closed").unwrap();

    assert_eq!(
        lease::leases(&ctx).await.unwrap_err().kind(),
        ErrorKind::NotOpen
    );
    lease::leases(&client).await.unwrap();
}

#[tokio::test]
async fn info_lists_what_is_open_in_order() {
    let server = serve().await;
    for name in ["listed/b", "listed/a"] {
        open(name, [server.endpoint()]).unwrap();
    }
    let names: Vec<_> = info().into_iter().map(|(name, _)| name).collect();
    let listed: Vec<_> = names
        .iter()
        .filter(|name| name.starts_with("listed/"))
        .collect();
    assert_eq!(listed, ["listed/a", "listed/b"]);
    for name in listed {
        close(name).unwrap();
    }
}

/// The wait queue writes its mark into an entry's value, and etcd's `Lock` RPC writes nothing.
#[tokio::test]
async fn entry_of_a_server_side_lock_is_empty_and_one_of_the_queue_is_not() {
    let server = serve().await;
    let queue = ConnectOptions::from([server.endpoint()]);
    for (options, is_marked) in [
        (queue.clone().with_server_side_locks(), false),
        (queue, true),
    ] {
        let client = connect(options).unwrap();
        let lease = lease::grant(&client, Duration::from_secs(60))
            .await
            .unwrap();
        let held = lock_with(&client, "marked", lease.id).await.unwrap();
        let entry = RangeRequest::key(&held.key);
        let reply = client
            .transport()
            .range(entry, CallOptions::default())
            .await;
        assert_eq!(!reply.unwrap().kvs[0].value.is_empty(), is_marked);
        unlock(&client, &held.key).await.unwrap();
    }
}

async fn serve() -> Server {
    Server::bind("127.0.0.1:0", MemoryEtcd::new())
        .await
        .unwrap()
}

/// Locks something over a named connection, and returns the key.
async fn lock(connection: &str) -> String {
    let lease = lease::grant(connection, Duration::from_secs(60))
        .await
        .unwrap();
    let held = lock_with(connection, "name", lease.id).await.unwrap();
    held.key.to_string()
}

/// The queue of the same lock, as somebody with a connection of his own sees it.
async fn keys(server: &Server) -> Vec<String> {
    let client: Client = connect([server.endpoint()]).unwrap();
    let queue = RangeRequest::prefix("name/");
    let reply = client
        .transport()
        .range(queue, CallOptions::default())
        .await;
    let keys = reply.unwrap().kvs.into_iter().map(|kv| kv.key.to_vec());
    keys.map(|key| String::from_utf8(key).unwrap()).collect()
}
