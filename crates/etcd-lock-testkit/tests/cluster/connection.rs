//! Connections that are cut between a request and its reply, and slow ones.

use std::time::Duration;

use etcd_lock_core::kv::PutRequest;
use tokio::time::{Instant, sleep, timeout};

use crate::support::{Load, PATIENCE, write_until_success};
use crate::{Report, Stage, Version};

scenarios! {
    connection_cut_before_the_reply_to_entering_the_entry_is_found_and_granted
    connection_cut_before_the_reply_to_a_release_the_release_succeeds
    connection_cut_before_the_reply_to_a_fenced_write_it_is_in_doubt_and_never_repeated
    connection_cut_before_the_reply_to_a_keep_alive_session_lives_on
    link_of_200_ms_each_way_cycles_succeed_and_the_session_lives_on
}

async fn connection_cut_before_the_reply_to_entering_the_entry_is_found_and_granted(
    version: Version,
) {
    let report = Report::of("connection cut before the reply to entering", version);
    let stage = Stage::start(version).await;
    let caller = stage.caller().await;
    let (session, mutex) = caller.mutex("a").await;
    caller.links().for_each(|link| link.hold_replies());
    let lock = tokio::spawn(async move { mutex.lock().await });
    stage.has_entries("a", 1).await;
    let entry = stage.entries("a").await[0];

    let fault = Instant::now();
    caller.cut();

    let guard = timeout(PATIENCE, lock).await.unwrap().unwrap().unwrap();
    let recovery = fault.elapsed();
    assert_eq!(guard.token().create_revision().get(), entry);
    guard.unlock().await.unwrap();
    stage.has_entries("a", 0).await;
    session.close().await.unwrap();
    report.recovered("granted by the entry that was made", recovery);
}

async fn connection_cut_before_the_reply_to_a_release_the_release_succeeds(version: Version) {
    let report = Report::of("connection cut before the reply to a release", version);
    let stage = Stage::start(version).await;
    let caller = stage.caller().await;
    let (session, mutex) = caller.mutex("a").await;
    let guard = mutex.lock().await.unwrap();
    caller.links().for_each(|link| link.hold_replies());
    let unlock = tokio::spawn(guard.unlock());
    stage.has_entries("a", 0).await;

    let fault = Instant::now();
    caller.cut();

    timeout(PATIENCE, unlock).await.unwrap().unwrap().unwrap();
    let recovery = fault.elapsed();
    session.close().await.unwrap();
    report.recovered("the release succeeded", recovery);
}

async fn connection_cut_before_the_reply_to_a_fenced_write_it_is_in_doubt_and_never_repeated(
    version: Version,
) {
    let report = Report::of("connection cut before the reply to a fenced write", version);
    let stage = Stage::start(version).await;
    let caller = stage.caller().await;
    let (session, mutex) = caller.mutex("a").await;
    let guard = mutex.lock().await.unwrap();
    caller.links().for_each(|link| link.hold_replies());
    let write = PutRequest::new("b/written", "once");
    let commit = tokio::spawn(async move {
        let committed = guard.fenced_txn().and_then(write).commit().await;
        (guard, committed)
    });
    stage.has_entries("b", 1).await;

    let fault = Instant::now();
    caller.cut();

    let (guard, committed) = timeout(PATIENCE, commit).await.unwrap().unwrap();
    let recovery = fault.elapsed();
    let error = committed.unwrap_err();
    assert!(error.is_outcome_unknown(), "{error:?}");
    guard.unlock().await.unwrap();
    session.close().await.unwrap();
    assert_eq!(stage.version_of("b/written").await, 1);
    report.recovered("in doubt, written once", recovery);
}

async fn connection_cut_before_the_reply_to_a_keep_alive_session_lives_on(version: Version) {
    let report = Report::of("connection cut before the reply to a keep-alive", version);
    let stage = Stage::start(version).await;
    let caller = stage.caller().await;
    let (session, mutex) = caller.mutex("a").await;
    let guard = mutex.lock().await.unwrap();
    // At least one keep-alive is sent meanwhile: they come every third of 10 s.
    caller.links().for_each(|link| link.hold_replies());
    sleep(Duration::from_secs(4)).await;

    let fault = Instant::now();
    caller.cut();

    let recovery = write_until_success(&guard, fault).await;
    let rest = Duration::from_secs(12).saturating_sub(fault.elapsed());
    let lost = timeout(rest, guard.lost()).await;
    assert!(lost.is_err() && guard.is_held(), "{lost:?}");
    guard.unlock().await.unwrap();
    session.close().await.unwrap();
    stage.has_entries("a", 0).await;
    report.recovered("held all the time; the next write succeeded", recovery);
}

async fn link_of_200_ms_each_way_cycles_succeed_and_the_session_lives_on(version: Version) {
    let report = Report::of("link of 200 ms each way", version);
    let stage = Stage::start(version).await;
    let mut callers = Vec::new();
    for _ in 0..2 {
        let caller = stage.caller().await;
        let slow = Duration::from_millis(200);
        caller.links().for_each(|link| link.delay(slow));
        callers.push(caller);
    }
    let load = Load::start("a", callers);
    sleep(Duration::from_secs(13)).await;
    let outcome = load.stop().await;
    assert!(outcome.failures.is_empty(), "{:?}", outcome.failures);
    assert_eq!(outcome.sessions_lost, 0);
    assert!(outcome.successes.len() > 2, "{}", outcome.successes.len());
    stage.has_entries("a", 0).await;
    let callers = format!(
        "{} cycles of 2 callers in 13 s, none failed",
        outcome.successes.len()
    );
    report.recovered(&callers, outcome.longest_gap());
}
