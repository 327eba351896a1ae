//! The lock is lost while the command runs: it must not run on as if it were held.

use etcd_lock::kv::DeleteRequest;
use nix::sys::signal::Signal;

use crate::etcd::Etcd;
use crate::program::Program;

/// A command that says when it is told to end.
const POLITE: &str = "trap 'echo told; exit 0' TERM; echo held; while :; do sleep 0.02; done";

/// A command that doesn't listen, and has a child that doesn't either.
const DEAF: &str = "trap '' TERM; sleep 60 & echo held; while :; do sleep 0.02; done";

/// A command that ends when it is told, but leaves a child behind that doesn't listen.
const CARELESS: &str = "(trap '' TERM; sleep 60; :) & echo held; exec sleep 60";

crate::tests_on!([served real] {
    a_revoked_lease_ends_the_command
    a_deleted_key_ends_the_command
});

crate::tests_on!(only served {
    a_pause_longer_than_the_lease_ends_the_command
    a_command_that_doesnt_listen_is_killed
    what_the_command_left_behind_is_killed
    the_command_can_be_killed_at_once
    the_command_can_be_left_alone
    a_wait_without_its_lease_ends
    a_command_that_ended_during_such_a_pause_was_not_under_the_lock
});

async fn a_revoked_lease_ends_the_command(etcd: &Etcd) {
    let program = hold(etcd, &[], POLITE).await;
    etcd.revoke_the_lease().await;
    let end = program.end_by_itself().await.with(79);
    assert_eq!(end.stdout, "told\n");
    assert!(end.stderr.contains("the lock was lost"), "{end:?}");
    etcd.nothing_is_left("lost").await;
}

async fn a_deleted_key_ends_the_command(etcd: &Etcd) {
    let program = hold(etcd, &[], POLITE).await;
    let key = etcd.queue("lost").await.remove(0).key;
    etcd.commit(DeleteRequest::key(key)).await;
    let end = program.end_by_itself().await.with(79);
    assert_eq!(end.stdout, "told\n");
    etcd.nothing_is_left("lost").await;
}

async fn a_command_that_doesnt_listen_is_killed(etcd: &Etcd) {
    let program = hold(etcd, &["--grace", "100ms"], DEAF).await;
    etcd.revoke_the_lease().await;
    program.end_by_itself().await.with(79);
}

async fn what_the_command_left_behind_is_killed(etcd: &Etcd) {
    let program = hold(etcd, &[], CARELESS).await;
    etcd.revoke_the_lease().await;
    // It would hold the output open for a minute.
    program.end_by_itself().await.with(79);
}

async fn the_command_can_be_killed_at_once(etcd: &Etcd) {
    let program = hold(etcd, &["--on-lost", "kill"], POLITE).await;
    etcd.revoke_the_lease().await;
    assert_eq!(program.end_by_itself().await.with(79).stdout, "");
}

async fn the_command_can_be_left_alone(etcd: &Etcd) {
    let script = "echo held; cat; echo done";
    let mut program = hold(etcd, &["--on-lost", "ignore"], script).await;
    etcd.revoke_the_lease().await;
    // Somebody else may have it meanwhile.
    etcd.end_of(["run", "lost", "true"]).await.with(0);
    program.say("still here\n").await;
    let end = program.end().await.with(79);
    assert_eq!(end.stdout, "still here\ndone\n");
    assert!(end.stderr.contains("the lock was lost"), "{end:?}");
}

async fn a_wait_without_its_lease_ends(etcd: &Etcd) {
    let holder = hold(etcd, &[], "echo held; cat").await;
    let held = etcd.leases().await;
    let waiter = etcd.start(["run", "lost", "echo", "ran"]);
    etcd.queue_has("lost", 2).await;
    let leases = etcd.leases().await;
    let waiters = leases
        .into_iter()
        .find(|lease| !held.contains(lease))
        .unwrap();
    etcd_lock::lease::revoke(&etcd.client(), waiters)
        .await
        .unwrap();
    assert_eq!(waiter.end().await.with(79).stdout, "");
    holder.end().await.with(0);
    etcd.nothing_is_left("lost").await;
}

async fn a_pause_longer_than_the_lease_ends_the_command(etcd: &Etcd) {
    let program = hold(etcd, &["--ttl", "2s"], POLITE).await;
    program.signal(Signal::SIGSTOP);
    etcd.end_of(["run", "lost", "true"]).await.with(0);
    program.signal(Signal::SIGCONT);
    let end = program.end_by_itself().await.with(79);
    assert_eq!(end.stdout, "told\n");
}

async fn a_command_that_ended_during_such_a_pause_was_not_under_the_lock(etcd: &Etcd) {
    let mut program = hold(etcd, &["--ttl", "2s"], "echo held; read line; echo done").await;
    program.signal(Signal::SIGSTOP);
    etcd.end_of(["run", "lost", "true"]).await.with(0);
    program.say("go on\n").await;
    assert_eq!(program.line().await, "done");
    program.signal(Signal::SIGCONT);
    program.end_by_itself().await.with(79);
}

#[tokio::test]
async fn an_outage_shorter_than_the_lease_is_no_loss() {
    let mut etcd = Etcd::real().await;
    let mut program = hold(&etcd, &["--ttl", "60s"], "echo held; cat").await;
    etcd.restart().await;
    etcd.queue_has("lost", 1).await;
    program.say("still here\n").await;
    assert_eq!(program.end().await.with(0).stdout, "still here\n");
    etcd.nothing_is_left("lost").await;
}

#[tokio::test]
async fn an_etcd_that_is_gone_ends_the_command_in_time() {
    for mut etcd in [Etcd::served().await, Etcd::real().await] {
        let program = hold(&etcd, &["--ttl", "2s"], POLITE).await;
        etcd.kill();
        let end = program.end_by_itself().await.with(79);
        assert_eq!(end.stdout, "told\n");
    }
}

/// The other way round: the command has ended, and nobody is there to be told.
#[tokio::test]
async fn the_end_doesnt_wait_for_an_etcd_that_is_gone() {
    let mut etcd = Etcd::served().await;
    let program = hold(&etcd, &["--ttl", "60s"], "echo held; cat; exit 7").await;
    etcd.kill();
    program.end().await.with(7);
}

async fn hold(etcd: &Etcd, options: &[&str], script: &str) -> Program {
    let args = ["run", "lost"].iter().chain(options);
    let mut program = etcd.start(args.chain(&["--", "sh", "-c", script]).copied());
    assert_eq!(program.line().await, "held");
    program
}
