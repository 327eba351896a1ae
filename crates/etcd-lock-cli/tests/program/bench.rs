//! `etcd-lock bench`.

use nix::sys::signal::Signal;
use serde_json::Value;
use tokio::time::timeout;

use crate::etcd::Etcd;
use crate::program::{PATIENCE, end_of};

const NAME: &str = "etcd-lock-bench";

crate::tests_on!([served real] {
    every_kind_of_work_is_measured_and_nothing_is_left
    signal_ends_it_and_nothing_is_left
});

async fn every_kind_of_work_is_measured_and_nothing_is_left(etcd: &Etcd) {
    let args = ["bench", "--time", "50ms", "--tasks", "3", "-o", "json"];
    let end = etcd.end_of(args).await.with(0);
    let numbers: Value = serde_json::from_str(&end.stdout).unwrap();
    for kind in ["read", "write", "uncontended", "contended"] {
        let numbers = &numbers[kind];
        assert!(numbers["cycles"].as_u64() >= Some(3), "{kind}: {numbers}");
        for number in [
            "per_second",
            "p50_ms",
            "p99_ms",
            "cycle_to_read",
            "cycle_to_write",
        ] {
            assert!(numbers[number].as_f64() > Some(0.0), "{kind}: {numbers}");
        }
    }
    assert_eq!(numbers["tasks"], 3);
    etcd.nothing_is_left(NAME).await;
}

async fn signal_ends_it_and_nothing_is_left(etcd: &Etcd) {
    let program = etcd.start(["bench", "--time", "2s"]);
    let working = async { while etcd.queue(NAME).await.is_empty() {} };
    assert!(timeout(PATIENCE, working).await.is_ok(), "it never worked");
    program.signal(Signal::SIGINT);
    program.end().await.with(130);
    etcd.nothing_is_left(NAME).await;
}

#[tokio::test]
async fn table_has_a_line_for_each_kind_of_work() {
    let end = end_of(["--embedded", "bench", "--time", "20ms", "--name", "mine"]).await;
    assert_eq!(end.with(0).stdout.lines().count(), 5);
}

#[tokio::test]
async fn silent_etcd_ends_it_with_69() {
    let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint = silent.local_addr().unwrap().to_string();
    let args = [
        "bench",
        "--endpoints",
        &endpoint,
        "--command-timeout",
        "300ms",
    ];
    end_of(args).await.with(69).saying(&endpoint);
}

#[tokio::test]
async fn number_of_tasks_is_bounded() {
    for tasks in ["0", "1001", "many"] {
        end_of(["bench", "--tasks", tasks])
            .await
            .with(64)
            .saying(tasks);
    }
}
