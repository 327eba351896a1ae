//! A member loses the others and not its clients: it answers, and knows nothing new.

use std::time::Duration;

use crate::support::{hold_through, wait_through};
use crate::{Fault, Report, Stage, Version};

scenarios! {
    leader_parted_from_its_peers_waiter_keeps_its_entry_and_is_granted
    leader_parted_from_its_peers_session_lives_on
    follower_parted_from_its_peers_waiter_keeps_its_entry_and_is_granted
    follower_parted_from_its_peers_session_lives_on
}

/// Longer than a session of 10 s lives that isn't kept alive.
const LENGTH: Duration = Duration::from_secs(12);

async fn leader_parted_from_its_peers_waiter_keeps_its_entry_and_is_granted(version: Version) {
    let mut stage = Stage::with(version.setup().with_peer_links()).await;
    let fault = Fault::Part(stage.leader().await);
    let report = Report::of("leader parted from its peers during a wait", version);
    wait_through(&mut stage, fault, report).await;
}

async fn leader_parted_from_its_peers_session_lives_on(version: Version) {
    let mut stage = Stage::with(version.setup().with_peer_links()).await;
    let fault = Fault::Part(stage.leader().await);
    let report = Report::of("leader parted from its peers during keep-alives", version);
    hold_through(&mut stage, fault, LENGTH, report).await;
}

async fn follower_parted_from_its_peers_waiter_keeps_its_entry_and_is_granted(version: Version) {
    let mut stage = Stage::with(version.setup().with_peer_links()).await;
    let fault = Fault::Part(stage.follower().await);
    let report = Report::of("follower parted from its peers during a wait", version);
    wait_through(&mut stage, fault, report).await;
}

async fn follower_parted_from_its_peers_session_lives_on(version: Version) {
    let mut stage = Stage::with(version.setup().with_peer_links()).await;
    let fault = Fault::Part(stage.follower().await);
    let report = Report::of("follower parted from its peers during keep-alives", version);
    hold_through(&mut stage, fault, LENGTH, report).await;
}
