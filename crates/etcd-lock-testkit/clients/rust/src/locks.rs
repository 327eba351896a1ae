//! Locks under contention, and how a wait for one ends.

use std::time::{Duration, Instant};

use etcd_client::{Client, GetOptions, LockOptions};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use crate::{Result, expect, value};

const CONTENDERS: usize = 5;
const ROUNDS: usize = 4;

/// The counterpart of the next: the same updates without the lock must be noticed.
pub async fn without_the_lock_updates_are_lost(client: Client) -> Result {
    let total = count(client, "bare", None).await?;
    if total == CONTENDERS * ROUNDS {
        return Err("no update was lost: the count can't tell whether a lock excludes".into());
    }
    Ok(())
}

pub async fn contenders_exclude_each_other(client: Client) -> Result {
    let total = count(client, "locked", Some("lock/count")).await?;
    expect("updates", total, CONTENDERS * ROUNDS)
}

/// Has several contenders read a number, wait, and write it back greater by one.
async fn count(mut client: Client, key: &'static str, lock: Option<&'static str>) -> Result<usize> {
    let mut contenders = JoinSet::new();
    for _ in 0..CONTENDERS {
        let mut client = client.clone();
        contenders.spawn(async move {
            for _ in 0..ROUNDS {
                let held = match lock {
                    Some(name) => Some(take(&mut client, name, 10).await?),
                    None => None,
                };
                update(&mut client, key).await?;
                if let Some(held) = held {
                    client.unlock(held).await?;
                }
            }
            Result::Ok(())
        });
    }
    while let Some(done) = contenders.join_next().await {
        done??;
    }
    Ok(value(&mut client, key).await?.unwrap_or_default().parse()?)
}

async fn update(client: &mut Client, key: &str) -> Result {
    let number: usize = value(client, key)
        .await?
        .unwrap_or("0".to_owned())
        .parse()?;
    sleep(Duration::from_millis(5)).await;
    client.put(key, (number + 1).to_string(), None).await?;
    Ok(())
}

pub async fn waiters_are_served_in_order(mut client: Client) -> Result {
    let held = take(&mut client, "order", 60).await?;
    let (served, mut turns) = tokio::sync::mpsc::unbounded_channel();
    for waiter in 0..CONTENDERS {
        let (mut other, served) = (client.clone(), served.clone());
        tokio::spawn(async move {
            let held = take(&mut other, "order", 60).await?;
            served.send(waiter)?;
            other.unlock(held).await?;
            Result::Ok(())
        });
        queue_has(&mut client, "order/", waiter + 2).await?;
    }
    client.unlock(held).await?;
    for waiter in 0..CONTENDERS {
        expect("turn", turns.recv().await, Some(waiter))?;
    }
    Ok(())
}

pub async fn a_dropped_wait_leaves_the_queue(mut client: Client) -> Result {
    let held = take(&mut client, "up", 60).await?;
    let mut other = client.clone();
    if timeout(Duration::from_millis(200), take(&mut other, "up", 60))
        .await
        .is_ok()
    {
        return Err("a held lock was granted".into());
    }
    queue_has(&mut client, "up/", 1).await?;
    client.unlock(held).await?;
    queue_has(&mut client, "up/", 0).await
}

/// Nobody keeps a lease alive here, as if the holder had died.
pub async fn an_ended_lease_frees_the_lock(mut client: Client) -> Result {
    take(&mut client, "dead", 2).await?;
    let began = Instant::now();
    take(&mut client, "dead", 60).await?;
    let waited = began.elapsed();
    if waited < Duration::from_secs(1) || waited > Duration::from_secs(5) {
        return Err(format!("a lease of 2 s held the lock for {waited:?}").into());
    }
    Ok(())
}

/// Takes a lock with a lease of its own, and tells its key.
async fn take(client: &mut Client, name: &str, ttl: i64) -> Result<Vec<u8>> {
    let lease = client.lease_grant(ttl, None).await?.id();
    let options = LockOptions::new().with_lease(lease);
    Ok(client.lock(name, Some(options)).await?.key().to_vec())
}

async fn queue_has(client: &mut Client, prefix: &str, entries: usize) -> Result {
    let all = GetOptions::new().with_prefix();
    while client.get(prefix, Some(all.clone())).await?.kvs().len() != entries {
        sleep(Duration::from_millis(5)).await;
    }
    Ok(())
}
