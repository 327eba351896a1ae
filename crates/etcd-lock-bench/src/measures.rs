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
use crate::contest::{self, Etcd, Share, connect, fresh_name};
use crate::report::{Must, Report, Row};
use crate::rounds::{Rounds, in_turn, median};
use crate::{ALLOCATOR, usage};

const TTL: Duration = Duration::from_secs(60);
const WINDOW: Duration = Duration::from_secs(2);

/// The etcd that all measures share, and how often sides take turns on it.
pub(crate) struct Bench {
    /// Stopped when the bench is over.
    _process: RealEtcd,
    etcd: Etcd,
    rounds: usize,
}

impl Bench {
    pub(crate) async fn start(rounds: usize) -> Self {
        let mut process = RealEtcd::start().await;
        let pid = process.members()[0].pid();
        let endpoint = process.endpoints()[0].clone();
        Self {
            _process: process,
            etcd: Etcd { endpoint, pid },
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
        name: "distinct locks",
        run: |bench, report| Box::pin(distinct_locks(bench, report)),
    },
    Measure {
        name: "channels",
        run: |bench, report| {
            Box::pin(channels::compare(
                &bench.etcd.endpoint,
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

/// Bare calls and ours, one after the other: a cycle is too short for rounds.
async fn uncontended(bench: &mut Bench, report: &mut Report) {
    const CYCLES: usize = 300;
    let session = Session::open(&connect(&bench.etcd.endpoint), TTL)
        .await
        .unwrap();
    let mutex = Mutex::new(&session, fresh_name()).unwrap();
    let (bare, name) = (Bare::connect(&bench.etcd.endpoint).await, fresh_name());
    let our_cycle = async || {
        let begun = Instant::now();
        mutex.lock().await.unwrap().unlock().await.unwrap();
        micros(begun.elapsed())
    };
    let bare_cycle = async || micros(bare.cycle(&name).await);
    let mut rounds = Rounds::default();
    // The first round warms up.
    for round in 0..=bench.rounds {
        let (mut ours, mut reference) = (Vec::new(), Vec::new());
        for cycle in 0..CYCLES {
            let (our, bare) = in_turn(cycle, our_cycle, bare_cycle).await;
            ours.push(our);
            reference.push(bare);
        }
        if round > 0 {
            rounds.push((median(ours), median(reference)));
        }
    }
    report.add(Row {
        measure: "uncontended lock and unlock, beside the same two RPCs".into(),
        unit: "µs",
        rounds,
        must: Must::AtMost(1.10),
    });
    drop(mutex);
    session.close().await.unwrap();
}

/// The common case: everybody has a lock of their own.
async fn distinct_locks(bench: &mut Bench, report: &mut Report) {
    for locks in [1, 8, 64, 256] {
        let rounds = rounds(
            bench.rounds,
            async || contest::distinct(&bench.etcd, locks, WINDOW / 2).await.rate,
            async || {
                contest::distinct_bare(&bench.etcd, locks, WINDOW / 2)
                    .await
                    .rate
            },
        );
        report.add(Row {
            measure: format!(
                "cycles on {locks} distinct locks, beside the same RPCs on one connection"
            ),
            unit: "1/s",
            rounds: rounds.await,
            must: Must::Tell,
        });
    }
}

async fn hand_overs_of_2(bench: &mut Bench, report: &mut Report) {
    race(bench, report, (2, Share::Nothing), Must::AtLeast(50.0)).await;
}

async fn hand_overs_of_50(bench: &mut Bench, report: &mut Report) {
    for share in [Share::Client, Share::Nothing] {
        race(bench, report, (50, share), Must::AtLeast(6.0)).await;
    }
}

/// Hand-overs a second of our mutexes beside v3lock callers, and beside bare stubs that know who is before them.
async fn race(bench: &Bench, report: &mut Report, (contenders, share): (usize, Share), must: Must) {
    let what = match share {
        Share::Client => "sessions",
        Share::Nothing => "clients",
    };
    let etcd = &bench.etcd;
    let ours = async || contest::ours(etcd, contenders, share, WINDOW).await.rate;
    let v3lock = async || contest::v3lock(etcd, contenders, share, WINDOW).await.rate;
    let bare = async || {
        contest::bare_ring(etcd, contenders, share, WINDOW)
            .await
            .rate
    };
    report.add(Row {
        measure: format!("hand-overs, {contenders} contenders, separate {what}, beside v3lock"),
        unit: "1/s",
        rounds: rounds(bench.rounds, ours, v3lock).await,
        must,
    });
    report.add(Row {
        measure: format!(
            "hand-overs, {contenders} contenders, separate {what}, beside bare stubs that know their predecessor"
        ),
        unit: "1/s",
        rounds: rounds(bench.rounds, ours, bare).await,
        must: Must::Tell,
    });
}

async fn latency(bench: &mut Bench, report: &mut Report) {
    let endpoint = &bench.etcd.endpoint;
    let bare = Bare::connect(endpoint).await;
    let holder = Session::open(&connect(endpoint), TTL).await.unwrap();
    let waiter = Session::open(&connect(endpoint), TTL).await.unwrap();
    let rounds = rounds(
        bench.rounds,
        async || median(hand_over_times(&holder, &waiter).await),
        async || {
            let times = bare.notice(&fresh_name()).await;
            median(times.into_iter().map(micros).collect())
        },
    );
    report.add(Row {
        measure: "hand-over latency, beside delete and a bare watch".into(),
        unit: "µs",
        rounds: rounds.await,
        must: Must::AtMost(1.3),
    });
    holder.close().await.unwrap();
    waiter.close().await.unwrap();
}

async fn hand_over_times(holder: &Session, waiter: &Session) -> Vec<f64> {
    let name = fresh_name();
    let (first, second) = (
        Mutex::new(holder, name.clone()).unwrap(),
        Mutex::new(waiter, name).unwrap(),
    );
    let mut times = Vec::new();
    for _ in 0..bare::SAMPLES {
        let guard = first.lock().await.unwrap();
        let waiting = second.clone();
        let granted = tokio::spawn(async move { (waiting.lock().await, Instant::now()) });
        sleep(Duration::from_millis(3)).await;
        let begun = Instant::now();
        let unlocked = tokio::spawn(guard.unlock());
        let (next, at) = granted.await.unwrap();
        times.push(micros(at - begun));
        unlocked.await.unwrap().unwrap();
        next.unwrap().unlock().await.unwrap();
    }
    times
}

async fn one_session(bench: &mut Bench, report: &mut Report) {
    let rounds = rounds(
        bench.rounds,
        async || contest::one_session(&bench.etcd, 50, WINDOW / 2).await.rate,
        async || contest::tokio_mutex(&bench.etcd, 50, WINDOW / 2).await.rate,
    );
    report.add(Row {
        measure: "hand-overs, 50 tasks of one session, beside tokio's mutex".into(),
        unit: "1/s",
        rounds: rounds.await,
        must: Must::AtLeast(0.2),
    });
}

/// Both sides have a task for each waiter: what is left is the waiting itself.
async fn our_memory(bench: &mut Bench, report: &mut Report) {
    const WAITERS: usize = 10_000;
    let session = Session::open(&connect(&bench.etcd.endpoint), TTL)
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
    let mut rounds = Rounds::default();
    rounds.push((ours - peer, 1024.0));
    report.add(Row {
        measure: "heap per waiting task of one session beyond tokio's mutex, beside 1 KiB".into(),
        unit: "bytes",
        rounds,
        must: Must::AtMost(1.0),
    });
    session.close().await.unwrap();
}

async fn beside_writes(bench: &mut Bench, report: &mut Report) {
    for (contenders, share) in [(2, Share::Nothing), (50, Share::Client)] {
        let without = async || {
            let outcome = contest::ours(&bench.etcd, contenders, share, WINDOW).await;
            outcome.rate
        };
        let with = async || {
            let bare = Bare::connect(&bench.etcd.endpoint).await;
            let writer = tokio::spawn(bare.write_at(1000));
            let rate = without().await;
            writer.abort();
            rate
        };
        report.add(Row {
            measure: format!(
                "hand-overs, {contenders} contenders, while another writes 1,000 keys/s, beside without"
            ),
            unit: "1/s",
            rounds: rounds(bench.rounds, with, without).await,
            must: Must::AtLeast(0.7),
        });
    }
}

async fn hand_overs_of_500(bench: &mut Bench, report: &mut Report) {
    let (mut rates, mut costs) = (Rounds::default(), Rounds::default());
    // Few rounds: it takes longer to bring 500 clients into position than to measure them.
    for round in 0..bench.rounds.min(3) {
        let (ours, peer) = in_turn(
            round,
            async || contest::ours(&bench.etcd, 500, Share::Nothing, 4 * WINDOW).await,
            async || contest::v3lock(&bench.etcd, 500, Share::Nothing, 4 * WINDOW).await,
        )
        .await;
        rates.push((ours.rate, peer.rate));
        costs.push((ours.processor, peer.processor));
    }
    report.add(Row {
        measure: "hand-overs, 500 separate clients, beside v3lock".into(),
        unit: "1/s",
        rounds: rates,
        must: Must::AtLeast(2.0),
    });
    report.add(Row {
        measure: "etcd's processor time per hand-over, 500 separate clients, beside v3lock".into(),
        unit: "µs",
        rounds: costs,
        must: Must::AtMost(0.5),
    });
}

/// All come at once: what a restart of everybody does. Each side has a fresh etcd in each round; its memory is that of a
/// process that collects garbage, so the spread says more than the median.
async fn memory_of_etcd(bench: &mut Bench, report: &mut Report) {
    let count = bench.rounds.min(3);
    let ours = async || memory_per_waiter(our_waiters).await;
    let v3lock = rounds(count, ours, async || {
        memory_per_waiter(v3lock_waiters).await
    })
    .await;
    let bare = rounds(count, ours, async || memory_per_waiter(bare_entries).await).await;
    for (beside, rounds, bound) in [
        ("v3lock", v3lock, 0.02),
        ("as many leases with a key each", bare, 1.5),
    ] {
        report.add(Row {
            measure: format!("etcd's memory per waiter, 2,000 waiters, beside {beside}"),
            unit: "KiB",
            rounds,
            must: Must::AtMost(bound),
        });
    }
}

/// Both sides take turns, so often.
async fn rounds(
    count: usize,
    ours: impl AsyncFn() -> f64,
    reference: impl AsyncFn() -> f64,
) -> Rounds {
    let mut rounds = Rounds::default();
    for round in 0..count {
        rounds.push(in_turn(round, &ours, &reference).await);
    }
    rounds
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
    let client = connect(&bench.etcd.endpoint);
    let name = fresh_name();
    let before = settled_memory(bench.etcd.pid).await;
    let _waiters = wait(&bench.etcd.endpoint, &name).await;
    waits(&client, &name, WAITERS).await;
    let grown = settled_memory(bench.etcd.pid).await - before;
    grown / WAITERS as f64 / 1024.0
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
