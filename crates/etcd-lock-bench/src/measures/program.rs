//! A command under a lock at a shell: a whole process, from its start to its end.

use std::process::Stdio;

use tokio::process::Command;
use tokio::time::Instant;

use super::Bench;
use crate::client::fresh_name;
use crate::report::{Must, Report, Row};
use crate::rounds::{in_turn, median, rounds, warm_up};
use crate::usage::micros;

/// How often a side runs in a round.
const RUNS: usize = 20;

/// Beside `etcdctl lock`, which does the same.
pub(crate) async fn measure(bench: &Bench, report: &mut Report) {
    let endpoint = bench.etcd.endpoint.as_str();
    // Built beside this program.
    let program = std::env::current_exe().unwrap();
    let program = program.with_file_name("etcd-lock");
    let ours = async || {
        let mut command = Command::new(&program);
        command.args(["--endpoints", endpoint, "run", &fresh_name(), "true"]);
        time(command).await
    };
    let reference = async || {
        let mut command = Command::new("etcdctl");
        command.env("ETCDCTL_API", "3");
        command.args(["--endpoints", endpoint, "lock", &fresh_name(), "true"]);
        time(command).await
    };
    warm_up(async || in_turn(0, ours, reference).await).await;
    report.add(Row {
        measure: "a command under a lock at a shell, beside etcdctl lock".into(),
        unit: "µs",
        rounds: rounds(bench.rounds, ours, reference).await,
        must: Must::AtMost(0.4),
    });
}

/// The median of some runs, each of which must end well.
async fn time(mut command: Command) -> f64 {
    command.stdin(Stdio::null()).stdout(Stdio::null());
    let mut times = Vec::with_capacity(RUNS);
    for _ in 0..RUNS {
        let begun = Instant::now();
        let status = command.status().await.unwrap();
        times.push(micros(begun.elapsed()));
        assert!(status.success(), "{command:?}: {status}");
    }
    median(times)
}
