//! Contenders that are processes of their own.

use std::env;
use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::Duration;

use tokio::time::{Instant, sleep, timeout};

use crate::client::fresh_name;
use crate::etcd::Etcd;
use crate::race::{Share, WARM_UP};
use crate::ring;
use crate::worker::{COUNT, GO, READY};

/// Hand-overs a second between our mutexes.
pub(crate) async fn ours(etcd: &Etcd, contenders: usize, window: Duration) -> f64 {
    let name = fresh_name();
    let start = || Process::start(&["ours", &etcd.endpoint, &name]);
    race((0..contenders).map(|_| start()).collect(), window).await
}

/// Hand-overs a second between bare stubs that know their predecessor.
pub(crate) async fn baseline(etcd: &Etcd, contenders: usize, window: Duration) -> f64 {
    let (name, endpoint) = (fresh_name(), &etcd.endpoint);
    let leases = ring::connect(endpoint, contenders, Share::Client).await;
    let start = |index: usize| {
        let predecessor = &leases[ring::predecessor(index, contenders)];
        let (lease, predecessor) = (leases[index].lease(), predecessor.lease());
        let awaited = u64::from(index > 0);
        let numbers = [
            lease.to_string(),
            predecessor.to_string(),
            awaited.to_string(),
        ];
        let [lease, predecessor, awaited] = &numbers;
        Process::start(&["baseline", endpoint, &name, lease, predecessor, awaited])
    };
    let rate = race((0..contenders).map(start).collect(), window).await;
    for lease in leases {
        lease.close().await;
    }
    rate
}

/// Grants a second of all processes together, once each was granted the lock.
async fn race(mut processes: Vec<Process>, window: Duration) -> f64 {
    processes.iter_mut().for_each(Process::wait_until_ready);
    processes.iter_mut().for_each(Process::go);
    let warm = async {
        while processes.iter_mut().any(|process| process.count() == 0) {
            sleep(Duration::from_millis(5)).await;
        }
    };
    timeout(WARM_UP, warm)
        .await
        .expect("not all processes were granted the lock");
    let mut count = || processes.iter_mut().map(Process::count).sum::<u64>();
    let (begun, before) = (Instant::now(), count());
    sleep(window).await;
    let rate = (count() - before) as f64 / begun.elapsed().as_secs_f64();
    for process in processes {
        process.stop();
    }
    rate
}

/// A worker. It ends when its input does, also when this process panics.
pub(crate) struct Process {
    child: Child,
    orders: ChildStdin,
    answers: BufReader<ChildStdout>,
}

impl Process {
    pub(crate) fn start(arguments: &[&str]) -> Self {
        let mut child = Command::new(env::current_exe().unwrap())
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let (orders, answers) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
        Self {
            child,
            orders,
            answers: BufReader::new(answers),
        }
    }

    pub(crate) fn wait_until_ready(&mut self) {
        assert_eq!(self.line(), READY);
    }

    /// Tells it to begin.
    pub(crate) fn go(&mut self) {
        self.say(GO);
    }

    /// The number that it counts.
    pub(crate) fn count(&mut self) -> u64 {
        self.say(COUNT);
        self.line().parse().unwrap()
    }

    fn say(&mut self, order: &str) {
        writeln!(self.orders, "{order}").unwrap();
    }

    /// Blocks until the worker answers: it does so at once, and this process has nothing else to do.
    fn line(&mut self) -> String {
        let mut line = String::new();
        self.answers.read_line(&mut line).unwrap();
        line.trim_end().to_owned()
    }

    pub(crate) fn stop(mut self) {
        drop(self.orders);
        assert!(self.child.wait().unwrap().success());
    }
}
