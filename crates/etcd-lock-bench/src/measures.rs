//! What is measured, and what each measure must reach.

use std::pin::Pin;
use std::time::Duration;

use etcd_lock_core::{Client, Timeout, lease, new};
use etcd_lock_session::{Mutex, Session};
use etcd_lock_testkit::RealEtcd;
use stats_alloc::Region;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};

use crate::bare::{self, Bare};
use crate::channels;
use crate::contest::{self, Outcome, Ring, Share, connect, fresh_name};
use crate::report::{Must, Report, Row};
use crate::{ALLOCATOR, usage};

const TTL: Duration = Duration::from_secs(60);
const WINDOW: Duration = Duration::from_secs(2);

/// The etcd that all measures share, and how often sides take turns on it.
pub(crate) struct Bench {
    /// Stopped when the bench is over.
    _etcd: RealEtcd,
    ring: Ring,
    rounds: usize,
}

impl Bench {
    pub(crate) async fn start(rounds: usize) -> Self {
        let mut etcd = RealEtcd::start().await;
        let pid = etcd.members()[0].pid();
        let endpoint = etcd.endpoints()[0].clone();
        Self {
            _etcd: etcd,
            ring: Ring { endpoint, pid },
            rounds,
        }
    }
}

type Run<'a> = Pin<Box<dyn Future<Output = ()> + 'a>>;

/// Something to measure.
pub(crate) struct Measure {
    pub(crate) name: &'static str,
    run: for<'a> fn(&'a mut Bench, &'a mut Report) -> Run<'a>,
}

impl Measure {
    pub(crate) async fn run(&self, bench: &mut Bench, report: &mut Report) {
        (self.run)(bench, report).await;
    }
}

/// In this order: what leaves etcd with much memory to collect comes last.
pub(crate) const ALL: &[Measure] = &[
    Measure {
        name: "uncontended",
        run: |bench, report| Box::pin(uncontended(bench, report)),
    },
    Measure {
        name: "channels",
        run: |bench, report| {
            Box::pin(channels::compare(
                &bench.ring.endpoint,
                bench.rounds,
                report,
            ))
        },
    },
    Measure {
        name: "hand-overs of 2",
        run: |bench, report| Box::pin(hand_overs_of_2(bench, report)),
    },
    Measure {
        name: "hand-overs of 50",
        run: |bench, report| Box::pin(hand_overs_of_50(bench, report)),
    },
    Measure {
        name: "latency",
        run: |bench, report| Box::pin(latency(bench, report)),
    },
    Measure {
        name: "one session",
        run: |bench, report| Box::pin(one_session(bench, report)),
    },
    Measure {
        name: "our memory",
        run: |bench, report| Box::pin(our_memory(bench, report)),
    },
    Measure {
        name: "beside writes",
        run: |bench, report| Box::pin(beside_writes(bench, report)),
    },
    Measure {
        name: "500 clients",
        run: |bench, report| Box::pin(hand_overs_of_500(bench, report)),
    },
    Measure {
        name: "memory of etcd",
        run: |bench, report| Box::pin(memory_of_etcd(bench, report)),
    },
];

async fn uncontended(bench: &mut Bench, report: &mut Report) {
    let client = connect(&bench.ring.endpoint);
    let session = Session::open(&client, TTL).await.unwrap();
    let mutex = Mutex::new(&session, fresh_name()).unwrap();
    let (bare, name) = (Bare::connect(&bench.ring.endpoint).await, fresh_name());
    let (mut ours, mut floor) = (Vec::new(), Vec::new());
    for _ in 0..bench.rounds * 300 {
        floor.push(micros(bare.cycle(&name).await));
        let begun = Instant::now();
        mutex.lock().await.unwrap().unlock().await.unwrap();
        ours.push(micros(begun.elapsed()));
    }
    report.add(Row {
        measure: "uncontended lock and unlock, beside the same two RPCs".into(),
        value: median(ours),
        unit: "µs",
        reference: median(floor),
        must: Must::AtMost(1.10),
    });
    drop(mutex);
    session.close().await.unwrap();
}

async fn hand_overs_of_2(bench: &mut Bench, report: &mut Report) {
    let (ours, peer) = race(bench, 2, Share::Nothing, WINDOW).await;
    report.add(Row {
        measure: "hand-overs, 2 contenders, separate clients, beside v3lock".into(),
        value: ours,
        unit: "1/s",
        reference: peer,
        must: Must::AtLeast(50.0),
    });
}

async fn hand_overs_of_50(bench: &mut Bench, report: &mut Report) {
    for (share, what) in [(Share::Client, "sessions"), (Share::Nothing, "clients")] {
        let (ours, peer) = race(bench, 50, share, WINDOW).await;
        report.add(Row {
            measure: format!("hand-overs, 50 contenders, separate {what}, beside v3lock"),
            value: ours,
            unit: "1/s",
            reference: peer,
            must: Must::AtLeast(6.0),
        });
    }
}

async fn latency(bench: &mut Bench, report: &mut Report) {
    let bare = Bare::connect(&bench.ring.endpoint).await;
    let holder = Session::open(&connect(&bench.ring.endpoint), TTL)
        .await
        .unwrap();
    let waiter = Session::open(&connect(&bench.ring.endpoint), TTL)
        .await
        .unwrap();
    let (mut ours, mut floor) = (Vec::new(), Vec::new());
    for _ in 0..bench.rounds {
        floor.extend(bare.notice(&fresh_name()).await.into_iter().map(micros));
        let name = fresh_name();
        let (first, second) = (
            Mutex::new(&holder, name.clone()).unwrap(),
            Mutex::new(&waiter, name).unwrap(),
        );
        for _ in 0..bare::SAMPLES {
            let guard = first.lock().await.unwrap();
            let waiting = second.clone();
            let granted = tokio::spawn(async move { (waiting.lock().await, Instant::now()) });
            sleep(Duration::from_millis(3)).await;
            let begun = Instant::now();
            let unlocked = tokio::spawn(guard.unlock());
            let (next, at) = granted.await.unwrap();
            ours.push(micros(at - begun));
            unlocked.await.unwrap().unwrap();
            next.unwrap().unlock().await.unwrap();
        }
    }
    report.add(Row {
        measure: "hand-over latency, beside delete and a bare watch".into(),
        value: median(ours),
        unit: "µs",
        reference: median(floor),
        must: Must::AtMost(1.3),
    });
    holder.close().await.unwrap();
    waiter.close().await.unwrap();
}

async fn one_session(bench: &mut Bench, report: &mut Report) {
    let (mut ours, mut peer) = (Vec::new(), Vec::new());
    for _ in 0..bench.rounds {
        peer.push(contest::tokio_mutex(&bench.ring, 50, WINDOW / 2).await.rate);
        ours.push(contest::one_session(&bench.ring, 50, WINDOW / 2).await.rate);
    }
    report.add(Row {
        measure: "hand-overs, 50 tasks of one session, beside tokio's mutex".into(),
        value: median(ours),
        unit: "1/s",
        reference: median(peer),
        must: Must::AtLeast(0.2),
    });
}

/// Both sides have a task for each waiter: what is left is the waiting itself.
async fn our_memory(bench: &mut Bench, report: &mut Report) {
    const WAITERS: usize = 10_000;
    let session = Session::open(&connect(&bench.ring.endpoint), TTL)
        .await
        .unwrap();
    let mutex = Mutex::new(&session, fresh_name()).unwrap();
    let guard = mutex.lock().await.unwrap();
    let ours = heap_per_waiter(WAITERS, || {
        let mutex = mutex.clone();
        async move { drop(mutex.lock().await.unwrap()) }
    })
    .await;
    guard.unlock().await.unwrap();

    let mutex = std::sync::Arc::new(tokio::sync::Mutex::new(()));
    let guard = mutex.lock().await;
    let peer = heap_per_waiter(WAITERS, || {
        let mutex = mutex.clone();
        async move { drop(mutex.lock().await) }
    })
    .await;
    drop(guard);
    report.add(Row {
        measure: "heap per waiting task of one session beyond tokio's mutex, beside 1 KiB".into(),
        value: ours - peer,
        unit: "bytes",
        reference: 1024.0,
        must: Must::AtMost(1.0),
    });
    session.close().await.unwrap();
}

async fn beside_writes(bench: &mut Bench, report: &mut Report) {
    for (contenders, share) in [(2, Share::Nothing), (50, Share::Client)] {
        let (mut with, mut without) = (Vec::new(), Vec::new());
        for _ in 0..bench.rounds {
            let outcome = contest::ours(&bench.ring, contenders, share, WINDOW).await;
            without.push(outcome.rate);
            let bare = Bare::connect(&bench.ring.endpoint).await;
            let writer = tokio::spawn(bare.write_at(1000));
            let outcome = contest::ours(&bench.ring, contenders, share, WINDOW).await;
            with.push(outcome.rate);
            writer.abort();
        }
        report.add(Row {
            measure: format!(
                "hand-overs, {contenders} contenders, while another writes 1,000 keys/s, beside without"
            ),
            value: median(with),
            unit: "1/s",
            reference: median(without),
            must: Must::AtLeast(0.7),
        });
    }
}

async fn hand_overs_of_500(bench: &mut Bench, report: &mut Report) {
    let (mut ours, mut peer) = (Vec::new(), Vec::new());
    // Few rounds: it takes longer to bring 500 clients into position than to measure them.
    for _ in 0..bench.rounds.min(3) {
        peer.push(contest::v3lock(&bench.ring, 500, Share::Nothing, 4 * WINDOW).await);
        ours.push(contest::ours(&bench.ring, 500, Share::Nothing, 4 * WINDOW).await);
    }
    let rates = |outcomes: &[Outcome]| median(outcomes.iter().map(|one| one.rate).collect());
    let costs = |outcomes: &[Outcome]| median(outcomes.iter().map(|one| one.processor).collect());
    report.add(Row {
        measure: "hand-overs, 500 separate clients, beside v3lock".into(),
        value: rates(&ours),
        unit: "1/s",
        reference: rates(&peer),
        must: Must::AtLeast(2.0),
    });
    report.add(Row {
        measure: "etcd's processor time per hand-over, 500 separate clients, beside v3lock".into(),
        value: costs(&ours),
        unit: "µs",
        reference: costs(&peer),
        must: Must::AtMost(0.5),
    });
}

/// All come at once: what a restart of everybody does.
async fn memory_of_etcd(bench: &mut Bench, report: &mut Report) {
    let (mut ours, mut peer, mut floor) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..bench.rounds.min(3) {
        peer.push(memory_per_waiter(v3lock_waiters).await);
        ours.push(memory_per_waiter(our_waiters).await);
        floor.push(memory_per_waiter(bare_entries).await);
    }
    let (ours, peer, floor) = (median(ours), median(peer), median(floor));
    for (beside, reference, bound) in [
        ("v3lock", peer, 0.02),
        ("as many leases with a key each", floor, 1.5),
    ] {
        report.add(Row {
            measure: format!("etcd's memory per waiter, 2,000 waiters, beside {beside}"),
            value: ours,
            unit: "KiB",
            reference,
            must: Must::AtMost(bound),
        });
    }
}

const WAITERS: usize = 2000;

async fn our_waiters(endpoint: &str, name: &str) -> JoinSet<()> {
    let client = connect(endpoint);
    let mut contexts = Vec::new();
    for _ in 0..WAITERS {
        let lease = lease::grant(&client, TTL).await.unwrap().id;
        let ctx = new(&client).with_name(name.to_owned()).with_lease(lease);
        contexts.push(ctx.with_timeout(Timeout::Infinity));
    }
    let waits = contexts.into_iter().map(|ctx| async move {
        ctx.lock().await.unwrap();
    });
    waits.collect()
}

async fn v3lock_waiters(endpoint: &str, name: &str) -> JoinSet<()> {
    let waits = bare_clients(endpoint).await.into_iter().map(|client| {
        let name = name.to_owned();
        async move { drop(client.lock(&name).await) }
    });
    waits.collect()
}

/// What each waiter needs at least.
async fn bare_entries(endpoint: &str, name: &str) -> JoinSet<()> {
    let entries = bare_clients(endpoint).await.into_iter().map(|client| {
        let name = name.to_owned();
        async move { client.put_entry(&name).await }
    });
    entries.collect()
}

/// Leases on one connection.
async fn bare_clients(endpoint: &str) -> Vec<Bare> {
    let mut clients = vec![Bare::connect(endpoint).await];
    while clients.len() < WAITERS {
        clients.push(clients[0].another().await);
    }
    clients
}

/// How much an etcd of its own grows by one of those who wait: one that was busy before has room to reuse.
async fn memory_per_waiter(wait: impl AsyncFnOnce(&str, &str) -> JoinSet<()>) -> f64 {
    let bench = Bench::start(1).await;
    let client = connect(&bench.ring.endpoint);
    let name = fresh_name();
    let before = settled_memory(bench.ring.pid).await;
    let _waiters = wait(&bench.ring.endpoint, &name).await;
    waits(&client, &name, WAITERS).await;
    let grown = settled_memory(bench.ring.pid).await - before;
    grown / WAITERS as f64 / 1024.0
}

/// Hand-overs a second of our mutexes and of v3lock callers, which take turns.
async fn race(bench: &Bench, contenders: usize, share: Share, window: Duration) -> (f64, f64) {
    let (mut ours, mut peer) = (Vec::new(), Vec::new());
    for _ in 0..bench.rounds {
        let outcome = contest::v3lock(&bench.ring, contenders, share, window).await;
        peer.push(outcome.rate);
        let outcome = contest::ours(&bench.ring, contenders, share, window).await;
        ours.push(outcome.rate);
    }
    (median(ours), median(peer))
}

/// How much the heap of this process grows by a task that waits.
async fn heap_per_waiter<F>(waiters: usize, wait: impl Fn() -> F) -> f64
where
    F: Future<Output = ()> + Send + 'static,
{
    let region = Region::new(ALLOCATOR);
    let tasks: Vec<_> = (0..waiters).map(|_| tokio::spawn(wait())).collect();
    // Until all have been polled once, and whatever that set going is done.
    sleep(Duration::from_millis(500)).await;
    let change = region.change();
    let grown = change.bytes_allocated as f64 - change.bytes_deallocated as f64;
    for task in tasks {
        task.abort();
        let _ = task.await;
    }
    grown / waiters as f64
}

/// Waits until a queue has so many entries.
async fn waits(client: &Client, name: &str, entries: usize) {
    let prefix = format!("{name}/");
    loop {
        let request = etcd_lock_core::kv::RangeRequest::prefix(prefix.clone()).keys_only();
        let options = etcd_lock_core::CallOptions::default();
        let reply = client.transport().range(request, options).await.unwrap();
        if reply.kvs.len() == entries {
            return;
        }
        sleep(Duration::from_millis(50)).await;
    }
}

/// What etcd has once nothing moves any more.
async fn settled_memory(pid: u32) -> f64 {
    let mut last = usage::memory(pid);
    for _ in 0..20 {
        sleep(Duration::from_millis(500)).await;
        let now = usage::memory(pid);
        if (now - last).abs() < 1024.0 * 1024.0 {
            return now;
        }
        last = now;
    }
    last
}

pub(crate) fn micros(time: Duration) -> f64 {
    time.as_secs_f64() * 1e6
}

pub(crate) fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}
