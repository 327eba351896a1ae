//! Options of `etcd-lock run`: shell lines, remarks, warnings, and locks that are held for a least time.

use std::time::Duration;

use etcd_lock_testkit::real_etcd::proxy::Proxy;

use crate::etcd::Etcd;
use crate::program::{Program, etcd_lock};

crate::tests_on!([served real] {
    a_lock_is_held_for_its_least_time
});

crate::tests_on!(only served {
    a_line_for_the_shell_has_its_arguments
    a_remark_is_seen_in_the_status
    a_command_without_a_remark_is_seen_by_its_name
    a_command_that_takes_longer_than_the_least_time_ends_the_hold
    a_lost_lock_is_not_held_for_its_least_time
    a_held_lock_is_skipped
});

async fn a_line_for_the_shell_has_its_arguments(etcd: &Etcd) {
    let line = "echo $0 $1 | tr a-z A-Z; exit 4";
    let args = ["run", "shell", "--shell", line, "one", "two"];
    let end = etcd.end_of(args).await.with(4);
    assert_eq!(end.stdout, "SH ONE\n");
}

async fn a_remark_is_seen_in_the_status(etcd: &Etcd) {
    let status = status_during(etcd, &["--note", "nightly \u{1b}[2J"]).await;
    assert_eq!(status["holder"]["owner"]["note"], "nightly \u{1b}[2J");
}

async fn a_command_without_a_remark_is_seen_by_its_name(etcd: &Etcd) {
    let status = status_during(etcd, &[]).await;
    assert_eq!(status["holder"]["owner"]["note"], "sh");
}

async fn a_lock_is_held_for_its_least_time(etcd: &Etcd) {
    let args = [
        "run",
        "hourly",
        "--min-hold",
        "3s",
        "--note",
        "job",
        "--",
        "echo",
        "ran",
    ];
    assert_eq!(etcd.end_of(args).await.with(0).stdout, "ran\n");
    // The session's lease is gone, and another one holds the same entry.
    let status = status(etcd, "hourly").await;
    assert_eq!(status["holder"]["owner"]["note"], "job");
    assert_eq!(etcd.leases().await.len(), 1);
    let skipped = ["run", "hourly", "--skip-if-held", "echo", "ran"];
    assert_eq!(etcd.end_of(skipped).await.with(0).stdout, "");
    // A waiter is granted the lock after that.
    let waited = ["run", "hourly", "echo", "ran"];
    assert_eq!(etcd.end_of(waited).await.with(0).stdout, "ran\n");
    etcd.nothing_is_left("hourly").await;
}

async fn a_command_that_takes_longer_than_the_least_time_ends_the_hold(etcd: &Etcd) {
    let args = ["run", "hourly", "--min-hold", "10ms", "sleep", "0.1"];
    etcd.end_of(args).await.with(0);
    etcd.nothing_is_left("hourly").await;
}

async fn a_lost_lock_is_not_held_for_its_least_time(etcd: &Etcd) {
    let options = ["--min-hold", "1m", "--on-lost", "ignore"];
    let program = etcd.hold("hourly", &options).await;
    etcd.revoke_the_lease().await;
    program.end().await.with(79);
    etcd.nothing_is_left("hourly").await;
}

async fn a_held_lock_is_skipped(etcd: &Etcd) {
    let holder = etcd.hold("hourly", &[]).await;
    let end = etcd
        .end_of(["run", "hourly", "--skip-if-held", "echo", "ran"])
        .await;
    assert_eq!(end.with(0).stdout, "");
    holder.end().await.with(0);
    let end = etcd
        .end_of(["run", "hourly", "--skip-if-held", "echo", "ran"])
        .await;
    assert_eq!(end.with(0).stdout, "ran\n");
}

#[tokio::test]
async fn a_lock_that_fades_is_warned_of_before_it_is_lost() {
    let etcd = Etcd::served().await;
    let proxy = Proxy::to(&etcd.endpoint()).await;
    let script = "trap 'echo warned' USR1; trap 'echo told; exit' TERM; echo held; while :; do sleep 0.02; done";
    let mut command = etcd_lock();
    command.args([
        "--endpoints",
        &proxy.endpoint(),
        "run",
        "fading",
        "--ttl",
        "4s",
    ]);
    command.args([
        "--warn-signal",
        "usr1",
        "--warn-before",
        "1s",
        "--",
        "sh",
        "-c",
        script,
    ]);
    let mut program = Program::start(command);
    assert_eq!(program.line().await, "held");
    // As long as it is renewed there is nothing to warn of.
    tokio::time::sleep(Duration::from_secs(4)).await;
    proxy.link().hold();
    let end = program.end_by_itself().await.with(79);
    assert_eq!(end.stdout, "warned\ntold\n");
}

/// What `etcd-lock status` says while such a command runs.
async fn status_during(etcd: &Etcd, options: &[&str]) -> serde_json::Value {
    let program = etcd.hold("noted", options).await;
    let status = status(etcd, "noted").await;
    program.end().await.with(0);
    status
}

async fn status(etcd: &Etcd, name: &str) -> serde_json::Value {
    let end = etcd.end_of(["status", name, "-o", "json"]).await.with(0);
    serde_json::from_str(&end.stdout).unwrap()
}
