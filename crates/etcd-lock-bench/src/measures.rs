//! All measures, by name.

mod closing;
mod daemon;
pub(crate) mod distinct;
mod etcds_memory;
pub(crate) mod hand_overs;
mod heap;
mod heartbeats;
mod latency;
mod places;
mod processor;
mod program;
mod requests;
mod sessions;
mod uncontended;
mod writes;

use std::pin::Pin;
use std::time::Duration;

use etcd_lock_testkit::RealEtcd;

use crate::channels;
use crate::etcd::Etcd;
use crate::race::Share;
use crate::report::{Must, Report};
use crate::sides::Peers;

use self::distinct::tasks;
use self::places::Place;

/// How long a race is watched.
const WINDOW: Duration = Duration::from_secs(2);

/// How many tasks have locks of their own at once.
pub(crate) const DISTINCT: [usize; 5] = [1, 8, 64, 256, 1024];

/// The etcd that most measures share, and how often sides take turns.
pub(crate) struct Bench {
    process: RealEtcd,
    pub(crate) etcd: Etcd,
    pub(crate) rounds: usize,
    peers: Peers,
}

impl Bench {
    pub(crate) async fn start(rounds: usize, peers: Peers) -> Self {
        let mut process = RealEtcd::start().await;
        let etcd = Etcd::of(&mut process);
        Self {
            process,
            etcd,
            rounds,
            peers,
        }
    }
}

type Running<'a> = Pin<Box<dyn Future<Output = ()> + 'a>>;
type Run = dyn for<'a> Fn(&'a Bench, &'a mut Report) -> Running<'a>;

/// Something to measure: one row of the table, or a few that come from the same rounds.
pub(crate) struct Measure {
    pub(crate) name: String,
    run: Box<Run>,
}

impl Measure {
    fn new(
        name: impl Into<String>,
        run: impl for<'a> Fn(&'a Bench, &'a mut Report) -> Running<'a> + 'static,
    ) -> Self {
        Self {
            name: name.into(),
            run: Box::new(run),
        }
    }

    pub(crate) async fn run(&self, bench: &Bench, report: &mut Report) {
        (self.run)(bench, report).await;
    }
}

/// In this order: what leaves etcd with much to carry comes last.
pub(crate) fn all() -> Vec<Measure> {
    let mut all = costs();
    all.extend(DISTINCT.map(distinct));
    for place in [
        Place::Disk,
        Place::SlowDisk(5),
        Place::SlowDisk(20),
        Place::ThreeMembers,
    ] {
        all.extend([1, 8, 64, 256].map(|tasks| distinct_at(place, tasks)));
    }
    all.extend(times());
    all.extend(contended());
    all.extend(crowds());
    all
}

/// What locks and sessions cost that nobody waits for.
fn costs() -> Vec<Measure> {
    vec![
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
        Measure::new("uncontended, no work", |bench, report| {
            Box::pin(uncontended::measure(bench, report, None))
        }),
        Measure::new("uncontended, 5 ms of work", |bench, report| {
            Box::pin(uncontended::measure(bench, report, Some(uncontended::WORK)))
        }),
    ]
}

fn distinct(count: usize) -> Measure {
    let name = format!("distinct, {}", tasks(count));
    Measure::new(name, move |bench, report| {
        Box::pin(distinct::measure(bench, report, count))
    })
}

fn distinct_at(place: Place, count: usize) -> Measure {
    let name = format!("distinct {place}, {}", tasks(count));
    Measure::new(name, move |bench, report| {
        Box::pin(places::measure(bench, report, place, count))
    })
}

/// How long single calls take.
fn times() -> Vec<Measure> {
    vec![
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
    ]
}

/// Locks that many want.
fn contended() -> Vec<Measure> {
    vec![
        Measure::new("one session", |bench, report| {
            Box::pin(hand_overs::one_session(bench, report))
        }),
        Measure::new("heap", |bench, report| {
            Box::pin(heap::measure(bench, report))
        }),
        processes(2, Must::AtLeast(0.8)),
        processes(10, Must::Tell),
        processes(50, Must::Tell),
        race(2, Share::Nothing, (Must::AtLeast(50.0), Must::Tell)),
        race(10, Share::Nothing, (Must::AtLeast(1.0), Must::AtLeast(0.6))),
        race(50, Share::Nothing, (Must::AtLeast(1.0), Must::AtLeast(0.6))),
        race(50, Share::Client, (Must::AtLeast(6.0), Must::Tell)),
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
    ]
}

/// Locks and sessions by the ten thousand: etcd is several times slower afterwards.
fn crowds() -> Vec<Measure> {
    vec![
        Measure::new("heartbeats", |bench, report| {
            Box::pin(heartbeats::measure(bench, report))
        }),
        Measure::new("10000 sessions", |bench, report| {
            Box::pin(sessions::measure(bench, report))
        }),
        Measure::new("closing", |bench, report| {
            Box::pin(closing::measure(bench, report))
        }),
    ]
}

fn processes(contenders: usize, must: Must) -> Measure {
    let name = format!("{contenders} processes");
    Measure::new(name, move |bench, report| {
        Box::pin(hand_overs::processes(bench, report, contenders, must))
    })
}

fn race(contenders: usize, share: Share, bars: (Must, Must)) -> Measure {
    let name = format!("{contenders} {}", share.noun());
    Measure::new(name, move |bench, report| {
        Box::pin(hand_overs::race(bench, report, contenders, share, bars))
    })
}
