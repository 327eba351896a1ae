//! All measures, by name.

mod closing;
mod daemon;
mod distinct;
mod etcds_memory;
mod hand_overs;
mod heap;
mod heartbeats;
mod latency;
mod processor;
mod program;
mod requests;
mod uncontended;
mod writes;

use std::path::PathBuf;
use std::pin::Pin;
use std::time::Duration;

use etcd_lock_testkit::RealEtcd;

use crate::channels;
use crate::race::{Etcd, Share};
use crate::report::{Must, Report};

/// How long a race is watched.
const WINDOW: Duration = Duration::from_secs(2);

/// The etcd that most measures share, and how often sides take turns.
pub(crate) struct Bench {
    /// Stopped when the bench is over.
    _process: RealEtcd,
    pub(crate) etcd: Etcd,
    pub(crate) rounds: usize,
    /// Go's client.
    pub(crate) go: Option<PathBuf>,
}

impl Bench {
    pub(crate) async fn start(rounds: usize, go: Option<PathBuf>) -> Self {
        let mut process = RealEtcd::start().await;
        let pid = process.members()[0].pid();
        let endpoint = process.endpoints()[0].clone();
        Self {
            _process: process,
            etcd: Etcd { endpoint, pid },
            rounds,
            go,
        }
    }
}

type Run<'a> = Pin<Box<dyn Future<Output = ()> + 'a>>;

/// Something to measure: one row of the table, or a few that come from the same rounds.
pub(crate) struct Measure {
    pub(crate) name: &'static str,
    run: for<'a> fn(&'a Bench, &'a mut Report) -> Run<'a>,
}

impl Measure {
    const fn new(
        name: &'static str,
        run: for<'a> fn(&'a Bench, &'a mut Report) -> Run<'a>,
    ) -> Self {
        Self { name, run }
    }

    pub(crate) async fn run(&self, bench: &Bench, report: &mut Report) {
        (self.run)(bench, report).await;
    }
}

/// In this order: what leaves etcd with much memory to collect comes last.
pub(crate) const ALL: &[Measure] = &[
    Measure::new("requests", |bench, report| {
        Box::pin(requests::measure(bench, report))
    }),
    Measure::new("processor, 1 task", |bench, report| {
        Box::pin(processor::measure(bench, report, 1))
    }),
    Measure::new("processor, 256 tasks", |bench, report| {
        Box::pin(processor::measure(bench, report, 256))
    }),
    Measure::new("daemon", |bench, report| {
        Box::pin(daemon::measure(bench, report))
    }),
    Measure::new("heartbeats", |bench, report| {
        Box::pin(heartbeats::measure(bench, report))
    }),
    Measure::new("closing", |bench, report| {
        Box::pin(closing::measure(bench, report))
    }),
    Measure::new("uncontended, no work", |bench, report| {
        Box::pin(uncontended::measure(bench, report, None))
    }),
    Measure::new("uncontended, 5 ms of work", |bench, report| {
        Box::pin(uncontended::measure(bench, report, Some(uncontended::WORK)))
    }),
    Measure::new("distinct, 1 task", |bench, report| {
        Box::pin(distinct::measure(bench, report, 1))
    }),
    Measure::new("distinct, 8 tasks", |bench, report| {
        Box::pin(distinct::measure(bench, report, 8))
    }),
    Measure::new("distinct, 64 tasks", |bench, report| {
        Box::pin(distinct::measure(bench, report, 64))
    }),
    Measure::new("distinct, 256 tasks", |bench, report| {
        Box::pin(distinct::measure(bench, report, 256))
    }),
    Measure::new("distinct, 1024 tasks", |bench, report| {
        Box::pin(distinct::measure(bench, report, 1024))
    }),
    Measure::new("channels", |bench, report| {
        let endpoint = &bench.etcd.endpoint;
        Box::pin(channels::compare(endpoint, bench.rounds, report))
    }),
    Measure::new("latency", |bench, report| {
        Box::pin(latency::measure(bench, report))
    }),
    Measure::new("program", |bench, report| {
        Box::pin(program::measure(bench, report))
    }),
    Measure::new("one session", |bench, report| {
        Box::pin(hand_overs::one_session(bench, report))
    }),
    Measure::new("heap", |bench, report| {
        Box::pin(heap::measure(bench, report))
    }),
    Measure::new("2 processes", |bench, report| {
        Box::pin(hand_overs::processes(bench, report))
    }),
    Measure::new("2 clients", |bench, report| {
        let bars = (Must::AtLeast(50.0), Must::Tell);
        Box::pin(hand_overs::race(bench, report, 2, Share::Nothing, bars))
    }),
    Measure::new("10 clients", |bench, report| {
        let bars = (Must::AtLeast(1.0), Must::AtLeast(0.6));
        Box::pin(hand_overs::race(bench, report, 10, Share::Nothing, bars))
    }),
    Measure::new("50 clients", |bench, report| {
        let bars = (Must::AtLeast(1.0), Must::AtLeast(0.6));
        Box::pin(hand_overs::race(bench, report, 50, Share::Nothing, bars))
    }),
    Measure::new("50 sessions", |bench, report| {
        let bars = (Must::AtLeast(6.0), Must::Tell);
        Box::pin(hand_overs::race(bench, report, 50, Share::Client, bars))
    }),
    Measure::new("writes, 2 contenders", |bench, report| {
        Box::pin(writes::measure(bench, report, 2, Share::Nothing))
    }),
    Measure::new("writes, 50 contenders", |bench, report| {
        Box::pin(writes::measure(bench, report, 50, Share::Client))
    }),
    Measure::new("500 clients", |bench, report| {
        Box::pin(hand_overs::of_500(bench, report))
    }),
    Measure::new("memory of etcd", |bench, report| {
        Box::pin(etcds_memory::measure(bench, report))
    }),
];
