//! This project's own lock cycles, in a process of their own.

use std::process::ExitCode;
use std::time::Duration;

use etcd_lock_core::kv::RangeRequest;
use etcd_lock_core::{CallOptions, Client, Error, Result};
use etcd_lock_group::GroupCommit;
use etcd_lock_grpc::GrpcTransport;
use etcd_lock_session::{Mutex, Queue, Session};
use tokio::time::sleep;

const TTL: Duration = Duration::from_secs(10);
const PAUSE: Duration = Duration::from_millis(20);

/// How often another client is made until one begins with the wanted member: it chooses by chance.
const ATTEMPTS: usize = 60;

/// Runs cycles until standard input ends.
pub(crate) async fn run(endpoints: &str, name: &str, callers: usize) -> ExitCode {
    let endpoints: Vec<_> = endpoints.split(',').map(ToOwned::to_owned).collect();
    for _ in 0..callers {
        let client = connect_to_first(&endpoints).await;
        let name = name.to_owned();
        tokio::spawn(async move {
            loop {
                if let Err(error) = session(&client, &name).await {
                    println!("error {error}");
                }
                sleep(PAUSE).await;
            }
        });
    }
    let ended = tokio::task::spawn_blocking(|| std::io::stdin().read_line(&mut String::new()));
    ended.await.unwrap().unwrap();
    // The callers never end, and their sessions are the next round's business as little as those of other clients.
    std::process::exit(0)
}

/// Runs cycles for as long as a session lives.
async fn session(client: &Client, name: &str) -> Result<()> {
    let session = Session::open(client, TTL).await?;
    let mutex = Mutex::new(&session, name.to_owned())?;
    while session.is_alive() {
        match cycle(&mutex).await {
            Ok(()) => println!("cycle"),
            Err(error) => {
                println!("error {error}");
                sleep(PAUSE).await;
            }
        }
    }
    println!("lost");
    Ok(())
}

async fn cycle(mutex: &Mutex) -> Result<(), Error> {
    mutex.lock().await?.unlock().await
}

/// A client that may use all endpoints, and whose requests were seen to be answered by the first.
async fn connect_to_first(endpoints: &[String]) -> Client {
    let first = member(&connect(&endpoints[..1])).await;
    for _ in 0..ATTEMPTS {
        let client = connect(endpoints);
        if member(&client).await == first {
            return client;
        }
    }
    panic!("none of {ATTEMPTS} clients began with {}", endpoints[0]);
}

fn connect(endpoints: &[String]) -> Client {
    let transport = GrpcTransport::connect(endpoints).unwrap();
    Queue::new(GroupCommit::new(transport)).into_client()
}

/// The member that answers a client.
async fn member(client: &Client) -> u64 {
    let request = RangeRequest::key("failover");
    let reply = client.transport().range(request, CallOptions::default());
    reply.await.unwrap().header.member_id
}
