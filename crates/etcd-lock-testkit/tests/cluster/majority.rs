//! Two of three members die, and come back.

use std::time::Duration;

use etcd_lock_core::ErrorKind;
use tokio::time::{Instant, sleep, timeout};

use crate::support::PATIENCE;
use crate::{Caller, History, Report, Stage, Version};

scenarios! {
    majority_lost_for_3_s_sessions_live_on_and_the_waiter_is_granted
    majority_lost_for_longer_than_the_session_all_are_told_and_the_lock_is_free_again
}

/// A session of 10 s is lost here before it can be on etcd.
const TTL: Duration = Duration::from_secs(10);

async fn majority_lost_for_3_s_sessions_live_on_and_the_waiter_is_granted(version: Version) {
    let report = Report::of("majority lost for 3 s during a wait and an unlock", version);
    let mut stage = Stage::start(version).await;
    let (holder, waiter) = (stage.caller().await, stage.caller().await);
    let (holding, first) = holder.mutex("a").await;
    let (waiting, second) = waiter.mutex("a").await;
    let history = History::default();
    let held = history.granted(first.lock().await.unwrap());
    let wait = tokio::spawn(async move { second.lock().await });
    stage.has_entries("a", 2).await;

    lose_majority(&mut stage);
    let unlock = tokio::spawn(held.unlock());
    sleep(Duration::from_secs(3)).await;
    let back = Instant::now();
    bring_back(&mut stage);

    let granted = timeout(PATIENCE, wait).await.unwrap().unwrap().unwrap();
    let recovery = back.elapsed();
    unlock.await.unwrap().unwrap();
    let granted = history.granted(granted);
    granted.unlock().await.unwrap();
    assert!(holding.is_alive() && waiting.is_alive());
    history.check();
    stage.has_entries("a", 0).await;
    report.recovered("released and granted, counted from its return", recovery);
}

async fn majority_lost_for_longer_than_the_session_all_are_told_and_the_lock_is_free_again(
    version: Version,
) {
    let report = Report::of("majority lost for longer than the session", version);
    let mut stage = Stage::start(version).await;
    let (holder, waiter) = (stage.caller().await, stage.caller().await);
    let (_holding, first) = holder.mutex("a").await;
    let (_waiting, second) = waiter.mutex("a").await;
    let history = History::default();
    let held = history.granted(first.lock().await.unwrap());
    let wait = tokio::spawn(async move { second.lock().await });
    stage.has_entries("a", 2).await;

    lose_majority(&mut stage);
    let lost = Instant::now();
    let why = timeout(TTL, held.guard.lost()).await.unwrap();
    assert_eq!(why.kind(), ErrorKind::Lost, "{why:?}");
    held.lost();
    let why = timeout(TTL, wait).await.unwrap().unwrap().unwrap_err();
    assert_eq!(why.kind(), ErrorKind::Lost, "{why:?}");
    assert!(lost.elapsed() < TTL);
    let refused = stage.caller().await.try_mutex("a").await.unwrap_err();
    assert!(
        refused.is_unavailable() || refused.is_timeout(),
        "{refused:?}"
    );

    bring_back(&mut stage);
    let back = Instant::now();
    let next = stage.caller().await;
    let (_session, mutex) = open_when_possible(&next).await;
    let granted = timeout(PATIENCE, mutex.lock()).await.unwrap().unwrap();
    let recovery = back.elapsed();
    history.granted(granted).unlock().await.unwrap();
    history.check();
    stage.has_entries("a", 0).await;
    let callers = "holder and waiter told in time; a new caller locked, counted from its return";
    report.recovered(callers, recovery);
}

fn lose_majority(stage: &mut Stage) {
    for member in &mut stage.etcd.members()[..2] {
        member.kill();
    }
}

fn bring_back(stage: &mut Stage) {
    for member in &mut stage.etcd.members()[..2] {
        member.launch();
    }
}

/// A session takes a leader, whose election takes a while.
async fn open_when_possible(
    caller: &Caller,
) -> (etcd_lock_session::Session, etcd_lock_session::Mutex) {
    let opened = async {
        loop {
            match caller.try_mutex("a").await {
                Ok(opened) => return opened,
                Err(error) => assert!(error.is_unavailable() || error.is_timeout(), "{error:?}"),
            }
        }
    };
    timeout(PATIENCE, opened).await.unwrap()
}
