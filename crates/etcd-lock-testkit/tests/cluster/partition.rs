//! A member loses the others, or they lose it, and it keeps its clients: it answers, and can't do anything.

use std::time::Duration;

use crate::support::{hold_through, wait_through};
use crate::{Fault, Report, Stage, Version};

scenarios! {
    leader_parted_from_its_peers_waiter_keeps_its_entry_and_is_granted
    leader_parted_from_its_peers_session_lives_on
    follower_parted_from_its_peers_waiter_keeps_its_entry_and_is_granted
    follower_parted_from_its_peers_session_lives_on
    follower_not_heard_by_its_peers_waiter_keeps_its_entry_and_is_granted
    follower_not_heard_by_its_peers_session_lives_on
}

/// Longer than a session of 10 s lives that isn't kept alive.
const LENGTH: Duration = Duration::from_secs(12);

async fn leader_parted_from_its_peers_waiter_keeps_its_entry_and_is_granted(version: Version) {
    let mut stage = stage(version).await;
    let fault = Fault::Part(stage.leader().await);
    let report = Report::of("leader parted from its peers during a wait", version);
    wait_through(&mut stage, fault, report).await;
}

async fn leader_parted_from_its_peers_session_lives_on(version: Version) {
    let mut stage = stage(version).await;
    let fault = Fault::Part(stage.leader().await);
    let report = Report::of("leader parted from its peers during keep-alives", version);
    hold_through(&mut stage, fault, LENGTH, report).await;
}

async fn follower_parted_from_its_peers_waiter_keeps_its_entry_and_is_granted(version: Version) {
    let mut stage = stage(version).await;
    let fault = Fault::Part(stage.follower().await);
    let report = Report::of("follower parted from its peers during a wait", version);
    wait_through(&mut stage, fault, report).await;
}

async fn follower_parted_from_its_peers_session_lives_on(version: Version) {
    let mut stage = stage(version).await;
    let fault = Fault::Part(stage.follower().await);
    let report = Report::of("follower parted from its peers during keep-alives", version);
    hold_through(&mut stage, fault, LENGTH, report).await;
}

async fn follower_not_heard_by_its_peers_waiter_keeps_its_entry_and_is_granted(version: Version) {
    let mut stage = stage(version).await;
    let fault = Fault::Mute(stage.follower().await);
    let report = Report::of("follower not heard by its peers during a wait", version);
    wait_through(&mut stage, fault, report).await;
}

async fn follower_not_heard_by_its_peers_session_lives_on(version: Version) {
    let mut stage = stage(version).await;
    let fault = Fault::Mute(stage.follower().await);
    let report = Report::of(
        "follower not heard by its peers during keep-alives",
        version,
    );
    hold_through(&mut stage, fault, LENGTH, report).await;
}

/// Members that can be parted. Without `--pre-vote`, which 3.5 has by default, a parted member asks for votes again and again.
/// When it is back its term is the highest, so the leader steps down, and nobody can be elected while it goes on asking: 3.4.23
/// was without a leader for seven seconds, too long for a session of ten.
async fn stage(version: Version) -> Stage {
    Stage::with(version.setup().with_peer_links().flags(&["--pre-vote"])).await
}
