//! Lock cycles by Rust's `etcd-client`, until standard input ends: `etcd-client-cycles ENDPOINTS NAME CALLERS`.
//!
//! Each caller has a client and a lease of 10 s, renewed every third of that, and locks by the `Lock` service. It prints
//! `cycle` for each whole cycle, `lost` for a lease that ended, and `error` with the reason for a call that failed.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::{Duration, Instant};

use etcd_client::{Client, ConnectOptions, LockOptions};
use tokio::time::{sleep, timeout};

const TTL: Duration = Duration::from_secs(10);

/// No call may take longer. The client itself has no bound.
const BOUND: Duration = Duration::from_secs(5);

const PAUSE: Duration = Duration::from_millis(20);

type Result<T = ()> = std::result::Result<T, Box<dyn std::error::Error + Send + Sync>>;

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() -> Result {
    let arguments: Vec<_> = std::env::args().skip(1).collect();
    let [endpoints, name, callers] = &arguments[..] else {
        return Err("ENDPOINTS NAME CALLERS".into());
    };
    let endpoints: Vec<_> = endpoints.split(',').map(ToOwned::to_owned).collect();
    for _ in 0..callers.parse()? {
        let (endpoints, name) = (endpoints.clone(), name.clone());
        tokio::spawn(async move {
            loop {
                if let Err(error) = session(&endpoints, &name).await {
                    println!("error {error}");
                }
                sleep(PAUSE).await;
            }
        });
    }
    tokio::task::spawn_blocking(|| std::io::stdin().read_line(&mut String::new())).await??;
    std::process::exit(0)
}

/// Runs cycles for as long as a lease lives.
async fn session(endpoints: &[String], name: &str) -> Result {
    let options = ConnectOptions::new()
        .with_connect_timeout(Duration::from_secs(2))
        .with_keep_alive(Duration::from_secs(10), Duration::from_secs(5))
        .with_timeout(BOUND);
    let mut client = Client::connect(endpoints, Some(options)).await?;
    let lease = client.lease_grant(TTL.as_secs() as i64, None).await?.id();
    let is_lost = Arc::new(AtomicBool::new(false));
    let keeper = tokio::spawn(keep(client.clone(), lease, is_lost.clone()));
    while !is_lost.load(Relaxed) {
        match cycle(&mut client, name, lease).await {
            Ok(()) => println!("cycle"),
            Err(error) => {
                println!("error {error}");
                sleep(PAUSE).await;
            }
        }
    }
    keeper.abort();
    println!("lost");
    Ok(())
}

async fn cycle(client: &mut Client, name: &str, lease: i64) -> Result {
    let options = LockOptions::new().with_lease(lease);
    let held = timeout(BOUND, client.lock(name, Some(options))).await??;
    timeout(BOUND, client.unlock(held.key())).await??;
    Ok(())
}

/// Renews a lease until it is gone, or was not renewed for as long as it lives.
async fn keep(mut client: Client, lease: i64, is_lost: Arc<AtomicBool>) {
    let mut renewed = Instant::now();
    while renewed.elapsed() < TTL {
        let sent = Instant::now();
        match timeout(BOUND, renew(&mut client, lease)).await {
            Ok(Ok(0)) => break,
            Ok(Ok(_)) => {
                renewed = sent;
                sleep(TTL / 3).await;
            }
            Ok(Err(_)) | Err(_) => sleep(PAUSE).await,
        }
    }
    is_lost.store(true, Relaxed);
}

/// Renews a lease once, and returns how long it lives.
async fn renew(client: &mut Client, lease: i64) -> Result<i64> {
    let (mut keeper, mut renewals) = client.lease_keep_alive(lease).await?;
    keeper.keep_alive().await?;
    let renewal = renewals.message().await?.ok_or("the stream ended")?;
    Ok(renewal.ttl())
}
