//! How often a lock changes hands.

use super::{Bench, WINDOW};
use crate::race::Share;
use crate::report::{Must, Report, Row};
use crate::rounds::{Rounds, between, in_turn, rounds};
use crate::{contest, processes};

/// Our mutexes beside v3lock callers, and beside bare stubs that know their predecessor, with a bar for each.
pub(crate) async fn race(
    bench: &Bench,
    report: &mut Report,
    contenders: usize,
    share: Share,
    (peers_bar, baselines_bar): (Must, Must),
) {
    let etcd = &bench.etcd;
    let (mut beside_peer, mut beside_baseline) = (Rounds::default(), Rounds::default());
    for round in 0..bench.rounds {
        let (peer, ours, baseline) = between(
            round,
            async || contest::v3lock(etcd, contenders, share, WINDOW).await,
            async || contest::ours(etcd, contenders, share, WINDOW).await,
            async || contest::baseline(etcd, contenders, share, WINDOW).await,
        )
        .await;
        beside_peer.push((ours.rate, peer.rate));
        beside_baseline.push((ours.rate, baseline.rate));
    }
    for (beside, rounds, must) in [
        (V3LOCK, beside_peer, peers_bar),
        (PREDECESSOR, beside_baseline, baselines_bar),
    ] {
        report.add(Row {
            measure: name(contenders, share.noun(), beside),
            unit: "1/s",
            rounds,
            must,
        });
    }
}

/// The name of a row: what contenders do not share, and beside which others.
pub(crate) fn name(contenders: usize, separate: &str, beside: &str) -> String {
    format!("hand-overs, {contenders} contenders, separate {separate}, beside {beside}")
}

/// The peer: etcd's own RPC.
pub(crate) const V3LOCK: &str = "v3lock";

/// The baseline: the best that the protocol allows.
pub(crate) const PREDECESSOR: &str = "bare stubs that know their predecessor";

/// Contenders that share no process either.
pub(crate) async fn processes(bench: &Bench, report: &mut Report, contenders: usize, must: Must) {
    let rounds = rounds(
        bench.rounds,
        async || processes::ours(&bench.etcd, contenders, WINDOW).await,
        async || processes::baseline(&bench.etcd, contenders, WINDOW).await,
    );
    report.add(Row {
        measure: name(contenders, "processes", PREDECESSOR),
        unit: "1/s",
        rounds: rounds.await,
        must,
    });
}

/// Few rounds: it takes long to bring 500 clients into position.
pub(crate) async fn of_500(bench: &Bench, report: &mut Report) {
    let (mut rates, mut costs) = (Rounds::default(), Rounds::default());
    for round in 0..bench.rounds.min(3) {
        let (ours, peer) = in_turn(
            round,
            async || contest::ours(&bench.etcd, 500, Share::Nothing, 3 * WINDOW).await,
            async || contest::v3lock(&bench.etcd, 500, Share::Nothing, 3 * WINDOW).await,
        )
        .await;
        rates.push((ours.rate, peer.rate));
        costs.push((ours.etcds_time, peer.etcds_time));
    }
    report.add(Row {
        measure: name(500, Share::Nothing.noun(), V3LOCK),
        unit: "1/s",
        rounds: rates,
        must: Must::AtLeast(1.0),
    });
    report.add(Row {
        measure: "etcd's processor time of a hand-over, 500 separate clients, beside v3lock".into(),
        unit: "µs",
        rounds: costs,
        must: Must::AtMost(0.7),
    });
}

/// The tasks of one session hand the lock over in memory.
pub(crate) async fn one_session(bench: &Bench, report: &mut Report) {
    let rounds = rounds(
        bench.rounds,
        async || contest::one_session(&bench.etcd, 50, WINDOW / 2).await.rate,
        async || contest::tokio_mutex(&bench.etcd, 50, WINDOW / 2).await.rate,
    );
    report.add(Row {
        measure: "hand-overs, 50 tasks of one session, beside tokio's mutex".into(),
        unit: "1/s",
        rounds: rounds.await,
        must: Must::AtLeast(0.2),
    });
}
