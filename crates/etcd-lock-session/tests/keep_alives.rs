//! All sessions of a client share one keep-alive stream, and none spoils it for the others.

#![allow(clippy::unwrap_used, reason = "tests")]

mod common;

use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::time::Duration;

use common::client;
use etcd_lock_core::{lease, new};
use etcd_lock_memory::MemoryEtcd;
use etcd_lock_session::{Queue, Session, lease as keep};
use etcd_lock_testkit::faults::{CallFault, CallKind, FaultyTransport};
use tokio::time::Instant;

const TTL: Duration = Duration::from_secs(10);

#[tokio::test(start_paused = true)]
async fn callers_without_patience_do_not_cost_a_session_its_lease() {
    let faulty = FaultyTransport::new(&MemoryEtcd::new());
    faulty.on_calls(|call| match call {
        CallKind::KeepAlive => Some(CallFault::Slow(Duration::from_millis(50))),
        _ => None,
    });
    let client = client(Queue::new(faulty));
    let session = Session::open(&client, TTL).await.unwrap();
    let other = lease::grant(&client, TTL).await.unwrap().id;
    let began = Instant::now();
    while began.elapsed() < TTL * 3 {
        let hasty = new(&client).with_timeout(Duration::from_millis(10));
        keep::keep_alive_once(hasty, other).await.unwrap_err();
        assert!(session.is_alive(), "lost after {:?}", began.elapsed());
    }
}

/// While etcd takes longer to answer than a short session can wait, a long one can.
#[tokio::test(start_paused = true)]
async fn short_sessions_do_not_cost_a_long_one_its_lease() {
    let faulty = FaultyTransport::new(&MemoryEtcd::new());
    faulty.on_calls(|call| match call {
        CallKind::KeepAlive => Some(CallFault::Slow(Duration::from_millis(700))),
        _ => None,
    });
    let client = client(Queue::new(faulty));
    let long = Session::open(&client, TTL).await.unwrap();
    let began = Instant::now();
    while began.elapsed() < TTL * 3 {
        let short = Session::open(&client, Duration::from_secs(2))
            .await
            .unwrap();
        tokio::time::timeout(Duration::from_secs(1), short.lost())
            .await
            .unwrap_err();
        short.close().await.unwrap();
        assert!(long.is_alive(), "lost after {:?}", began.elapsed());
    }
}

#[tokio::test(start_paused = true)]
async fn a_stream_that_has_gone_silent_is_replaced() {
    let faulty = FaultyTransport::new(&MemoryEtcd::new());
    let streams = AtomicUsize::new(0);
    faulty.on_calls(move |call| match call {
        CallKind::KeepAlive if streams.fetch_add(1, SeqCst) == 0 => {
            Some(CallFault::Slow(TTL * 100))
        }
        _ => None,
    });
    let client = client(Queue::new(faulty));
    let session = Session::open(&client, TTL).await.unwrap();
    tokio::time::sleep(TTL * 3).await;
    assert!(session.is_alive());
}
