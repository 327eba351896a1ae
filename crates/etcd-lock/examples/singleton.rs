//! A worker that runs on one of several machines, and moves to another one when its machine fails.

mod support;

use std::time::Duration;

use etcd_lock::{Client, LockGuard, Mutex, Owner, Result, SessionOptions};
use tokio::sync::watch;
use tokio::time::sleep;

#[tokio::main]
async fn main() -> Result<()> {
    let client = support::client()?;
    let (stop_one, one) = watch::channel(false);
    let (stop_other, other) = watch::channel(false);
    let one = tokio::spawn(machine(client.clone(), "one", one));
    let other = tokio::spawn(machine(client, "other", other));

    // A planned shutdown hands the work over at once; after a crash it takes as long as the lease lives.
    sleep(Duration::from_secs(1)).await;
    stop_one.send_replace(true);
    sleep(Duration::from_secs(1)).await;
    stop_other.send_replace(true);
    let _ = tokio::join!(one, other);
    Ok(())
}

/// Works whenever it is this machine's task to work, until it is told to stop.
async fn machine(client: Client, name: &str, stop: watch::Receiver<bool>) {
    while !*stop.borrow() {
        if let Err(error) = term(&client, name, stop.clone()).await {
            // After any failure the next try begins with a new session.
            eprintln!("{name}: {error}");
            sleep(Duration::from_secs(1)).await;
        }
    }
}

/// One session: waits for the lock and works while it is held.
async fn term(client: &Client, name: &str, stop: watch::Receiver<bool>) -> Result<()> {
    // The session counts as lost 2 s earlier than it must, which is the time that the work has to stop.
    let session = SessionOptions::new()
        .with_grace(Duration::from_secs(2))
        .with_owner(Owner::current().with_note(name))
        .open(client)
        .await?;
    let mutex = Mutex::new(&session, "singleton")?;
    let guard = tokio::select! {
        guard = mutex.lock() => guard?,
        () = stopped(stop.clone()) => return session.close().await,
    };
    println!("{name} works, with token {}", guard.token());
    guard.run(work(&guard, stop)).await?;
    println!("{name} stops");
    guard.unlock().await?;
    session.close().await
}

/// Ends when it is told to; `run` drops it when the lock is lost.
async fn work(guard: &LockGuard, stop: watch::Receiver<bool>) {
    loop {
        // Each write to the outside carries the token.
        let _token = guard.token();
        tokio::select! {
            () = stopped(stop.clone()) => return,
            () = sleep(Duration::from_millis(100)) => {}
        }
    }
}

async fn stopped(mut stop: watch::Receiver<bool>) {
    // An error means that the sender is gone: then there is nothing to wait for.
    let _ = stop.wait_for(|stop| *stop).await;
}
