//! Ten thousand leases that one process keeps alive, and nothing else.

use std::time::Duration;

use etcd_lock_session::Session;
use futures_util::{StreamExt, stream};

use crate::bare::Bare;
use crate::client::connect;
use crate::usage::own_processor;
use crate::worker::follow_orders;

pub(crate) const COUNT: usize = 10_000;

/// How long a lease lives that is not renewed.
const TTL: Duration = Duration::from_secs(15);

/// How often each is renewed.
pub(crate) const INTERVAL: Duration = Duration::from_secs(5);

/// How many are granted at a time, and how many revoked.
const AT_ONCE: usize = 100;

/// Sessions of one client. It answers its parent with the processor time that it has used, in microseconds.
pub(crate) async fn ours(endpoint: &str) {
    let client = connect(endpoint);
    let opened = stream::iter(0..COUNT).map(|_| Session::open(&client, TTL));
    let opened = opened.buffer_unordered(AT_ONCE).map(Result::unwrap);
    let sessions: Vec<_> = opened.collect().await;
    follow_orders(|| (), used);
    let sessions = stream::iter(sessions);
    let close = async |session: Session| session.close().await.unwrap();
    sessions.for_each_concurrent(AT_ONCE, close).await;
}

/// The floor: keep-alives on one stream, evenly spread, with nothing around them.
pub(crate) async fn bare(endpoint: &str) {
    let bare = Bare::connect(endpoint).await;
    let granted = stream::iter(0..COUNT).map(|_| bare.another());
    let leases: Vec<_> = granted.buffer_unordered(AT_ONCE).collect().await;
    let ids = leases.iter().map(Bare::lease).collect();
    let keeper = bare.clone();
    let keep = async move { keeper.keep_alive(ids, INTERVAL).await };
    let keeping = follow_orders(|| tokio::spawn(keep), used);
    assert!(!keeping.is_finished(), "a keep-alive failed");
    keeping.abort();
    let leases = stream::iter(leases);
    leases.for_each_concurrent(AT_ONCE, Bare::close).await;
    bare.close().await;
}

fn used() -> u64 {
    u64::try_from(own_processor().as_micros()).unwrap()
}
