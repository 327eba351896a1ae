//! etcd's own program and ours stand in one queue.

use tokio::process::Command;

use crate::etcd::Etcd;
use crate::program::Program;

crate::tests_on!([served real] {
    etcdctl_waits_for_us
    we_wait_for_etcdctl
});

crate::tests_on!(only served {
    etcdctl_runs_a_command_under_a_lock
});

async fn etcdctl_runs_a_command_under_a_lock(etcd: &Etcd) {
    let end = Program::start(etcd.etcdctl(["lock", "demo", "echo", "hi"]))
        .end()
        .await;
    assert_eq!(end.with(0).stdout, "hi\n");
}

async fn etcdctl_waits_for_us(etcd: &Etcd) {
    let mut holder = etcd.start([
        "run",
        "demo",
        "--",
        "sh",
        "-c",
        "echo $ETCD_LOCK_KEY; cat; echo end",
    ]);
    let key = holder.line().await;
    let lease = key.strip_prefix("demo/").unwrap();
    assert!(i64::from_str_radix(lease, 16).is_ok(), "{key}");

    let dir = tempfile::tempdir().unwrap();
    let ran = dir.path().join("ran");
    let waiter = Program::start(etcd.etcdctl(["lock", "demo", "touch", ran.to_str().unwrap()]));
    etcd.queue_has("demo", 2).await;
    assert!(!ran.exists());

    assert_eq!(holder.end().await.with(0).stdout, "end\n");
    waiter.end().await.with(0);
    assert!(ran.exists());
}

async fn we_wait_for_etcdctl(etcd: &Etcd) {
    let mut holder = Program::start(etcdctl_holder(etcd));
    assert!(holder.line().await.starts_with("demo/"));
    etcd.end_of(["run", "demo", "--no-wait", "true"])
        .await
        .with(75);
    let waiter = etcd.start(["run", "demo", "echo", "ran"]);
    etcd.queue_has("demo", 2).await;

    holder.signal(nix::sys::signal::Signal::SIGINT);
    holder.end().await;

    assert_eq!(waiter.end().await.with(0).stdout, "ran\n");
}

/// Without a command it prints its key and holds the lock until a signal comes.
fn etcdctl_holder(etcd: &Etcd) -> Command {
    etcd.etcdctl(["lock", "demo"])
}
