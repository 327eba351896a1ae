//! The purpose of locks: nobody's work is lost. And the proof that without them it would be.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use etcd_lock_core::Client;
use tokio::task::{JoinSet, yield_now};

use crate::{TestContext, store};

const WORKERS: usize = 5;
const ROUNDS: usize = 6;

/// Not enough for a queue of ten to pass.
const HURRY: Duration = Duration::from_millis(20);

/// Workers that read, add one and write, each under the lock: the sum is right.
pub async fn counter_under_the_lock_loses_nothing(test: &TestContext) {
    let (name, key) = (test.name("counter"), test.key("sum"));
    let mut workers = JoinSet::new();
    for _ in 0..WORKERS {
        let (contender, name, key) = (test.contender().await, name.clone(), key.clone());
        workers.spawn(async move {
            for _ in 0..ROUNDS {
                let held = contender.lock(&name).await;
                increment(contender.client(), &key).await;
                contender.unlock(&held).await;
            }
        });
    }
    workers.join_all().await;

    assert_eq!(count(test.inspector(), &key).await, WORKERS * ROUNDS);
}

/// The positive control: the same work without the lock loses updates, so the check above can fail.
pub async fn counter_without_a_lock_loses_updates(test: &TestContext) {
    let key = test.key("sum");
    let mut workers = JoinSet::new();
    for _ in 0..WORKERS {
        let (client, key) = (test.client().await, key.clone());
        workers.spawn(async move {
            for _ in 0..10 * ROUNDS {
                increment(&client, &key).await;
            }
        });
    }
    workers.join_all().await;

    let sum = count(test.inspector(), &key).await;
    assert!(sum < WORKERS * 10 * ROUNDS, "nothing was lost: {sum}");
}

/// There is never more than one between a grant and its release, although half of them are in a hurry and give up now
/// and then; and who is patient gets it.
pub async fn never_two_holders_at_once(test: &TestContext) {
    let name = test.name("one-at-a-time");
    let inside = Arc::new(AtomicUsize::new(0));
    let mut workers = JoinSet::new();
    for worker in 0..2 * WORKERS {
        let (contender, name, inside) = (test.contender().await, name.clone(), inside.clone());
        workers.spawn(async move {
            for _ in 0..ROUNDS {
                let held = match worker % 2 {
                    0 => Ok(contender.lock(&name).await),
                    _ => contender.lock_within(&name, HURRY).await,
                };
                let Ok(held) = held else { continue };
                assert_eq!(inside.fetch_add(1, Ordering::SeqCst), 0);
                yield_now().await;
                inside.fetch_sub(1, Ordering::SeqCst);
                contender.unlock(&held).await;
            }
        });
    }
    workers.join_all().await;

    test.queue_has(&name, 0).await;
}

async fn increment(client: &Client, key: &str) {
    let next = count(client, key).await + 1;
    // A transport that never waits would else be a lock by itself.
    yield_now().await;
    store::put(client, key, &next.to_string()).await;
}

async fn count(client: &Client, key: &str) -> usize {
    let Some(kv) = store::get(client, key.to_owned()).await else {
        return 0;
    };
    str::from_utf8(&kv.value).unwrap().parse().unwrap()
}
