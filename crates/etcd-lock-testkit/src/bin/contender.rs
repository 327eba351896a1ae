//! A process that takes part in a lock, to be stopped and killed by tests. It says on standard output what it has come
//! to, one word a line, and goes on when it reads a line.
//!
//! ```text
//! contender hold ENDPOINT NAME      takes the lock; then writes the key NAME-fenced under the guard, and NAME-naive as it is
//!                                   with HISTORY set it writes what it claims into that file
//! contender crowd ENDPOINT NAME N   waits N times for the lock, each time with a session of its own
//! ```
#![allow(clippy::unwrap_used, reason = "it is test code")]

use std::io::stdin;
use std::path::Path;
use std::time::Duration;

use etcd_lock_core::Client;
use etcd_lock_core::kv::PutRequest;
use etcd_lock_group::GroupCommit;
use etcd_lock_grpc::GrpcTransport;
use etcd_lock_session::{Mutex, Queue, Session};
use etcd_lock_testkit::recorder::{Journal, RecordedClient};
use etcd_lock_testkit::store;

/// The least that etcd grants.
const TTL: Duration = Duration::from_secs(2);

#[tokio::main]
async fn main() {
    let args: Vec<_> = std::env::args().skip(1).collect();
    let args: Vec<_> = args.iter().map(String::as_str).collect();
    match args[..] {
        ["hold", endpoint, name] => hold(&connect(endpoint), name).await,
        ["crowd", endpoint, name, size] => {
            crowd(&connect(endpoint), name, size.parse().unwrap()).await;
        }
        _ => panic!("hold ENDPOINT NAME, or crowd ENDPOINT NAME N"),
    }
}

fn connect(endpoint: &str) -> Client {
    let transport = GrpcTransport::connect([endpoint]).unwrap();
    Queue::new(GroupCommit::new(transport)).into_client()
}

async fn hold(client: &Client, name: &str) {
    let journal = match std::env::var_os("HISTORY") {
        Some(path) => Journal::in_file(Path::new(&path)).unwrap(),
        None => Journal::in_memory(),
    };
    let recorded = RecordedClient::new(journal, 1);
    let session = Session::open(client, TTL).await.unwrap();
    recorded.note_session(&session);
    let held = recorded.lock(&session, name).await.unwrap();
    let guard = held.guard();
    println!("held");
    wait_for_a_line();
    // Asked first thing after whatever pause there was.
    let believed = held.is_held();
    println!("{}", if believed { "believed" } else { "doubted" });
    let value = guard.token().to_string();
    let write = PutRequest::new(format!("{name}-fenced"), value.clone());
    match guard.fenced_txn().and_then(write).commit().await {
        Ok(_) => println!("written"),
        Err(error) => println!("{}", error.kind().as_str()),
    }
    store::put(client, &format!("{name}-naive"), &value).await;
    println!("{}", held.lost().await.kind().as_str());
}

async fn crowd(client: &Client, name: &str, size: usize) {
    let mut waits = Vec::new();
    for _ in 0..size {
        let session = Session::open(client, TTL).await.unwrap();
        let mutex = Mutex::new(&session, name.to_owned()).unwrap();
        waits.push(tokio::spawn(async move { mutex.lock().await }));
    }
    println!("waiting");
    wait_for_a_line();
}

fn wait_for_a_line() {
    stdin().read_line(&mut String::new()).unwrap();
}
