//! Hand-overs while somebody else keeps etcd busy.

use super::{Bench, WINDOW};
use crate::bare::Bare;
use crate::contest;
use crate::race::Share;
use crate::report::{Must, Report, Row};
use crate::rounds::rounds;

pub(crate) async fn measure(bench: &Bench, report: &mut Report, contenders: usize, share: Share) {
    let without = async || {
        let outcome = contest::ours(&bench.etcd, contenders, share, WINDOW).await;
        outcome.rate
    };
    let with = async || {
        let bare = Bare::connect(&bench.etcd.endpoint).await;
        let writer = tokio::spawn(bare.write_at(1000));
        let rate = without().await;
        writer.abort();
        rate
    };
    report.add(Row {
        measure: format!(
            "hand-overs, {contenders} contenders, while another writes 1,000 keys/s, beside without"
        ),
        unit: "1/s",
        rounds: rounds(bench.rounds, with, without).await,
        must: Must::AtLeast(0.7),
    });
}
