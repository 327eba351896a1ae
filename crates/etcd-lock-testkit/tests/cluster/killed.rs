//! A member is killed under each of the calls that a lock makes. Without a leader etcd answers nothing until another one is
//! elected.

use std::time::Duration;

use crate::support::{hold_through, release_through, wait_through};
use crate::{Fault, Report, Stage, Version};

scenarios! {
    leader_killed_during_a_wait_waiter_keeps_its_entry_and_is_granted
    leader_killed_during_an_unlock_lock_is_released
    leader_killed_during_keep_alives_session_lives_on
    follower_killed_during_a_wait_waiter_keeps_its_entry_and_is_granted
    follower_killed_during_keep_alives_session_lives_on
}

/// Longer than a session of 10 s lives that isn't kept alive.
const LENGTH: Duration = Duration::from_secs(12);

async fn leader_killed_during_a_wait_waiter_keeps_its_entry_and_is_granted(version: Version) {
    let mut stage = Stage::start(version).await;
    let fault = Fault::Kill(stage.leader().await);
    let report = Report::of("leader killed during a wait", version);
    wait_through(&mut stage, fault, report).await;
}

async fn leader_killed_during_an_unlock_lock_is_released(version: Version) {
    let mut stage = Stage::start(version).await;
    let fault = Fault::Kill(stage.leader().await);
    let report = Report::of("leader killed during an unlock", version);
    release_through(&mut stage, fault, report).await;
}

async fn leader_killed_during_keep_alives_session_lives_on(version: Version) {
    let mut stage = Stage::start(version).await;
    let fault = Fault::Kill(stage.leader().await);
    let report = Report::of("leader killed during keep-alives", version);
    hold_through(&mut stage, fault, LENGTH, report).await;
}

async fn follower_killed_during_a_wait_waiter_keeps_its_entry_and_is_granted(version: Version) {
    let mut stage = Stage::start(version).await;
    let fault = Fault::Kill(stage.follower().await);
    let report = Report::of("follower killed during a wait", version);
    wait_through(&mut stage, fault, report).await;
}

async fn follower_killed_during_keep_alives_session_lives_on(version: Version) {
    let mut stage = Stage::start(version).await;
    let fault = Fault::Kill(stage.follower().await);
    let report = Report::of("follower killed during keep-alives", version);
    hold_through(&mut stage, fault, LENGTH, report).await;
}
