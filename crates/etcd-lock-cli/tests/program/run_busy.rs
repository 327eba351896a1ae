//! Somebody else has the lock.

use crate::etcd::Etcd;

crate::tests_on!(only served {
    without_waiting_a_held_lock_ends_with_75
    a_wait_ends_with_the_holders_end
    a_wait_that_runs_out_ends_with_75
    the_status_for_busy_is_the_users_choice
    a_quiet_wait_says_nothing
    nobody_has_to_listen
});

/// Scripts skip what somebody else does, and must not skip in an outage.
#[tokio::test]
async fn an_etcd_that_falls_silent_is_not_somebody_else_with_the_lock() {
    let mut etcd = Etcd::served().await;
    let _holder = etcd.hold("busy", &[]).await;
    let mut waiters = Vec::new();
    for command in [
        &["run", "busy", "--wait", "2s", "true"][..],
        &["lock", "busy", "--wait", "2s"],
    ] {
        waiters.push(etcd.start(command.iter().copied()));
    }
    etcd.queue_has("busy", 3).await;
    etcd.kill();
    for waiter in waiters {
        waiter.end().await.with(69).saying("etcd doesn't answer");
    }
}

async fn without_waiting_a_held_lock_ends_with_75(etcd: &Etcd) {
    let holder = etcd.hold("busy", &[]).await;
    for command in [
        &["run", "busy", "--no-wait", "echo", "ran"][..],
        &["lock", "busy", "--no-wait"],
    ] {
        let end = etcd.end_of(command.iter().copied()).await.with(75);
        assert_eq!(end.stdout, "");
        let says = "etcd-lock: busy is held or waited for\n  why: held by ";
        assert!(end.stderr.starts_with(says), "{end:?}");
        only_the_holder_is_left(etcd).await;
    }
    holder.end().await.with(0);
    let args = ["run", "busy", "--no-wait", "echo", "ran"];
    assert_eq!(etcd.end_of(args).await.with(0).stdout, "ran\n");
}

async fn a_wait_that_runs_out_ends_with_75(etcd: &Etcd) {
    let holder = etcd.hold("busy", &[]).await;
    for command in [
        &["run", "busy", "--wait", "300ms", "echo", "ran"][..],
        &["lock", "busy", "--wait", "300ms"],
    ] {
        let end = etcd.end_of(command.iter().copied()).await.with(75);
        assert_eq!(end.stdout, "");
        assert!(end.stderr.contains("300ms"), "{end:?}");
        only_the_holder_is_left(etcd).await;
    }
    holder.end().await.with(0);
}

async fn the_status_for_busy_is_the_users_choice(etcd: &Etcd) {
    let holder = etcd.hold("busy", &[]).await;
    for (option, code) in [("-E3", 3), ("--conflict-exit-code=0", 0)] {
        let args = ["run", "busy", "--no-wait", option, "echo", "ran"];
        assert_eq!(etcd.end_of(args).await.with(code).stdout, "");
        etcd.end_of(["lock", "busy", "--wait=100ms", option])
            .await
            .with(code);
    }
    holder.end().await.with(0);
}

async fn a_wait_ends_with_the_holders_end(etcd: &Etcd) {
    let holder = etcd.hold("busy", &[]).await;
    let waiter = etcd.start(["run", "busy", "--wait", "1h", "echo", "ran"]);
    etcd.queue_has("busy", 2).await;
    holder.end().await.with(0);
    assert_eq!(waiter.end().await.with(0).stdout, "ran\n");
    etcd.nothing_is_left("busy").await;
}

async fn a_quiet_wait_says_nothing(etcd: &Etcd) {
    let holder = etcd.hold("busy", &[]).await;
    let args = ["run", "busy", "--wait", "1s", "true"];
    etcd.end_of(args)
        .await
        .with(75)
        .saying("waiting for busy: held by ");
    let quiet = ["run", "busy", "--quiet", "--wait", "1s", "true"];
    let end = etcd.end_of(quiet).await.with(75);
    assert!(!end.stderr.contains("waiting for"), "{end:?}");
    holder.end().await.with(0);
}

async fn nobody_has_to_listen(etcd: &Etcd) {
    let holder = etcd.hold("busy", &[]).await;
    let (reader, deaf) = std::io::pipe().unwrap();
    drop(reader);
    let mut command = etcd.command(["run", "busy", "--wait", "1s", "true"]);
    let status = command.stderr(deaf).status().await.unwrap();
    assert_eq!(status.code(), Some(75));
    only_the_holder_is_left(etcd).await;
    holder.end().await.with(0);
}

async fn only_the_holder_is_left(etcd: &Etcd) {
    assert_eq!(etcd.queue("busy").await.len(), 1);
    assert_eq!(etcd.leases().await.len(), 1);
}
