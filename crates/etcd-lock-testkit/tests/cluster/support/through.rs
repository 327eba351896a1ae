//! A wait, a release and a hold through the fault of the member that the caller is connected to.

use std::time::Duration;

use etcd_lock_core::ErrorKind;
use etcd_lock_core::kv::PutRequest;
use etcd_lock_session::LockGuard;
use tokio::time::{Instant, sleep, timeout};

use super::{Fault, History, PATIENCE, Report, Stage};

/// How long a holder waits between two writes.
const PAUSE: Duration = Duration::from_millis(50);

/// How long a lock is held after its member came back: that member still executes requests from before the fault.
const AFTERWARDS: Duration = Duration::from_secs(2);

/// One caller waits for the lock "a" on the member that fails. The holder, on another one, releases the lock at once.
pub(crate) async fn wait_through(stage: &mut Stage, fault: Fault, report: Report) {
    let member = fault.member();
    let waiter = stage.caller_on(member).await;
    let holder = stage.caller_on((member + 1) % 3).await;
    let (holding, first) = holder.mutex("a").await;
    let (waiting, second) = waiter.mutex("a").await;
    let history = History::default();
    let held = history.granted(first.lock().await.unwrap());
    let wait = tokio::spawn(async move { second.lock().await });
    stage.has_entries("a", 2).await;
    let entry = stage.entries("a").await[1];

    stage.begin(fault);
    let began = Instant::now();
    held.unlock().await.unwrap();

    let granted = timeout(PATIENCE, wait).await.unwrap().unwrap().unwrap();
    let recovery = began.elapsed();
    assert_eq!(granted.token().create_revision().get(), entry);
    let granted = history.granted(granted);
    stage.end(fault).await;
    sleep(AFTERWARDS).await;
    assert!(granted.guard.is_held());
    granted.unlock().await.unwrap();
    history.check();
    stage.has_entries("a", 0).await;
    assert!(holding.is_alive() && waiting.is_alive());
    report.recovered("released, and granted in turn", recovery);
}

/// The lock "a" is released on the member that fails.
pub(crate) async fn release_through(stage: &mut Stage, fault: Fault, report: Report) {
    let holder = stage.caller_on(fault.member()).await;
    let (session, mutex) = holder.mutex("a").await;
    let guard = mutex.lock().await.unwrap();

    let began = Instant::now();
    let (released, ()) = tokio::join!(guard.unlock(), async { stage.begin(fault) });
    let recovery = began.elapsed();

    released.unwrap();
    stage.has_entries("a", 0).await;
    assert!(session.is_alive());
    stage.end(fault).await;
    report.recovered("the release succeeded", recovery);
}

/// The lock "a" is held in a session of 10 s on the member that fails, for so long, and is written under as soon as possible.
pub(crate) async fn hold_through(
    stage: &mut Stage,
    fault: Fault,
    length: Duration,
    report: Report,
) {
    let holder = stage.caller_on(fault.member()).await;
    let (session, mutex) = holder.mutex("a").await;
    let guard = mutex.lock().await.unwrap();
    // A leader that goes on after it stood still revokes the leases that have ended by its own clock, before it learns of its
    // successor, and 3.4.23 and 3.5.1 execute that: no client can keep such a lease.
    let revokes = matches!(fault, Fault::Stop(member) if member == stage.leader().await);

    stage.begin(fault);
    let began = Instant::now();
    let until_healed = async {
        let recovery = write_until_success(&guard, began).await;
        sleep(length.saturating_sub(began.elapsed())).await;
        if !revokes {
            stage.end(fault).await;
            sleep(AFTERWARDS).await;
        }
        recovery
    };
    let recovery = tokio::select! {
        why = guard.lost() => panic!("lost {:?} after the fault: {why:?}", began.elapsed()),
        recovery = until_healed => recovery,
    };

    assert!(guard.is_held());
    guard.unlock().await.unwrap();
    session.close().await.unwrap();
    if revokes {
        stage.end(fault).await;
    }
    stage.has_entries("a", 0).await;
    report.recovered("held all the time; the next write succeeded", recovery);
}

/// Writes under a lock until a write is known to have succeeded, and returns how long that was after an instant.
pub(crate) async fn write_until_success(guard: &LockGuard, since: Instant) -> Duration {
    loop {
        let write = PutRequest::new("a-written", guard.token().to_string());
        match guard.fenced_txn().and_then(write).commit().await {
            Ok(reply) => {
                assert!(reply.succeeded);
                return since.elapsed();
            }
            Err(error) => {
                let is_lost = error.is_session_lost() || error.kind() == ErrorKind::Lost;
                assert!(!is_lost, "{error:?}");
                sleep(PAUSE).await;
            }
        }
    }
}
