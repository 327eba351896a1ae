//! A job that every machine starts by its own clock, and that one machine runs once a day.

mod support;

use std::time::Duration;

use etcd_lock::kv::{PutRequest, RangeRequest};
use etcd_lock::{
    Client, Error, ErrorKind, LockGuard, Mutex, Owner, Result, Session, SessionOptions, Timeout,
};

const LAST_RUN: &str = "report/last-run";

#[tokio::main]
async fn main() -> Result<()> {
    let client = support::client()?;
    // Two machines start the job at about the same time, for the same day.
    let (one, other) = tokio::join!(job(&client, "2026-11-29"), job(&client, "2026-11-29"));
    println!("one: {}, other: {}", one?, other?);
    Ok(())
}

/// Runs the job of a day, and says what came of it.
async fn job(client: &Client, day: &str) -> Result<&'static str> {
    let owner = Owner::current().with_note("daily report");
    let session = SessionOptions::new().with_owner(owner).open(client).await?;
    let outcome = hold(client, &session, day).await;
    // Also where the job failed: the lock is free at once, and not only when the lease ends.
    let closed = session.close().await;
    let outcome = outcome?;
    if let Err(error) = closed {
        eprintln!("the lock ends with its lease: {error}");
    }
    Ok(outcome)
}

async fn hold(client: &Client, session: &Session, day: &str) -> Result<&'static str> {
    let guard = match Mutex::new(session, "report")?.try_lock().await {
        Ok(guard) => guard,
        // Another machine is at it.
        Err(error) if error.kind() == ErrorKind::Busy => return Ok("skipped"),
        Err(error) => return Err(error),
    };
    if last_run(client).await?.as_deref() == Some(day.as_bytes()) {
        return Ok("done already");
    }
    // Dropped in the middle if the lock is lost: another machine may be at it then.
    guard.run(report()).await?;
    note_run(client, &guard, day).await?;
    guard.unlock().await?;
    Ok("done")
}

async fn report() {
    tokio::time::sleep(Duration::from_millis(200)).await;
}

async fn last_run(client: &Client) -> Result<Option<Vec<u8>>> {
    let options = Timeout::DEFAULT.into();
    let read = RangeRequest::key(LAST_RUN);
    let reply = client.transport().range(read, options).await?;
    Ok(reply.kvs.first().map(|kv| kv.value.to_vec()))
}

/// Writes down that the job was done, which only the holder of the lock can do.
async fn note_run(client: &Client, guard: &LockGuard, day: &str) -> Result<()> {
    let note = PutRequest::new(LAST_RUN, day.to_owned());
    match guard.fenced_txn().and_then(note).commit().await {
        Ok(_) => Ok(()),
        // Perhaps it was executed: what is there says so.
        Err(error) if error.is_outcome_unknown() => match last_run(client).await? {
            Some(noted) if noted == day.as_bytes() => Ok(()),
            _ => Err(Error::new(error.kind(), "the run may be noted later").with_source(error)),
        },
        Err(error) => Err(error),
    }
}
