//! A member stops: it accepts connections and never answers. Only time tells.

use std::time::Duration;

use futures_util::future::join_all;
use tokio::time::{Instant, sleep};

use crate::support::{hold_through, release_through, wait_through};
use crate::{Fault, Report, Stage, Version};

scenarios! {
    leader_stopped_during_a_wait_waiter_keeps_its_entry_and_is_granted
    leader_stopped_during_an_unlock_lock_is_released
    leader_stopped_for_30_s_session_of_10_s_lives_on
    follower_stopped_during_a_wait_waiter_keeps_its_entry_and_is_granted
    follower_stopped_for_30_s_session_of_10_s_lives_on
    first_member_of_the_list_stopped_for_30_s_new_callers_succeed_and_hold
}

const LENGTH: Duration = Duration::from_secs(30);

/// So many that some of them begin with the stopped member, where they choose by chance.
const CALLERS: usize = 8;

async fn leader_stopped_during_a_wait_waiter_keeps_its_entry_and_is_granted(version: Version) {
    let report = Report::of("leader stopped during a wait", version);
    let mut stage = Stage::start(version).await;
    let fault = Fault::Stop(stage.leader().await);
    wait_through(&mut stage, fault, report).await;
}

async fn leader_stopped_during_an_unlock_lock_is_released(version: Version) {
    let report = Report::of("leader stopped during an unlock", version);
    let mut stage = Stage::start(version).await;
    let fault = Fault::Stop(stage.leader().await);
    release_through(&mut stage, fault, report).await;
}

async fn leader_stopped_for_30_s_session_of_10_s_lives_on(version: Version) {
    let report = Report::of("leader stopped for 30 s during keep-alives", version);
    let mut stage = Stage::start(version).await;
    let fault = Fault::Stop(stage.leader().await);
    hold_through(&mut stage, fault, LENGTH, report).await;
}

async fn follower_stopped_during_a_wait_waiter_keeps_its_entry_and_is_granted(version: Version) {
    let report = Report::of("follower stopped during a wait", version);
    let mut stage = Stage::start(version).await;
    let fault = Fault::Stop(stage.follower().await);
    wait_through(&mut stage, fault, report).await;
}

async fn follower_stopped_for_30_s_session_of_10_s_lives_on(version: Version) {
    let report = Report::of("follower stopped for 30 s during keep-alives", version);
    let mut stage = Stage::start(version).await;
    let fault = Fault::Stop(stage.follower().await);
    hold_through(&mut stage, fault, LENGTH, report).await;
}

async fn first_member_of_the_list_stopped_for_30_s_new_callers_succeed_and_hold(version: Version) {
    let report = Report::of("first member of the list stopped for 30 s", version);
    let mut stage = Stage::start(version).await;
    // A follower: nothing else is wrong with the cluster.
    let fault = Fault::Stop(stage.follower().await);
    stage.begin(fault);

    let began = Instant::now();
    let callers = join_all((0..CALLERS).map(|_| stage.caller_listing(fault.member()))).await;
    let taken = callers.iter().enumerate().map(async |(number, caller)| {
        let (session, mutex) = caller.mutex(&format!("a-{number}")).await;
        (session, mutex.lock().await.unwrap(), began.elapsed())
    });
    let taken = join_all(taken).await;
    let slowest = taken.iter().map(|(_, _, after)| *after).max().unwrap();
    sleep(LENGTH.saturating_sub(began.elapsed())).await;

    for (session, guard, _) in taken {
        assert!(guard.is_held());
        guard.unlock().await.unwrap();
        session.close().await.unwrap();
    }
    stage.end(fault).await;
    for number in 0..CALLERS {
        stage.has_entries(&format!("a-{number}"), 0).await;
    }
    report.recovered("8 new callers locked and held", slowest);
}
