//! Our own connections beside tonic's channel, which has a task with a queue before each connection: the same read, through
//! the same layers.

use etcd_lock_core::kv::RangeRequest;
use etcd_lock_core::{CallOptions, Transport};
use etcd_lock_grpc::GrpcTransport;
use futures_util::future::join_all;
use tokio::time::Instant;
use tonic::transport::Channel;

use crate::report::{Must, Report, Row};
use crate::rounds::{Rounds, in_turn, median};
use crate::usage::micros;

/// How many reads are under way at once in the second measure.
const AT_ONCE: usize = 64;

pub(crate) async fn compare(endpoint: &str, count: usize, report: &mut Report) {
    let own = GrpcTransport::builder([endpoint]).build().unwrap();
    let channel = Channel::from_shared(endpoint.to_owned()).unwrap();
    let channel = channel.tcp_nodelay(true).connect_lazy();
    let tonics = GrpcTransport::builder([endpoint]).channel(channel);
    let tonics = tonics.build().unwrap();
    for (at_once, reads) in [(1, 1_000), (AT_ONCE, 50)] {
        let mut rounds = Rounds::default();
        // The first round warms up.
        for round in 0..=count {
            let (mut ours, mut theirs) = (Vec::new(), Vec::new());
            for number in 0..reads {
                let own = async || read(&own, at_once).await;
                let (our, their) =
                    in_turn(number, own, async || read(&tonics, at_once).await).await;
                ours.push(our);
                theirs.push(their);
            }
            if round > 0 {
                rounds.push((median(ours), median(theirs)));
            }
        }
        report.add(Row {
            measure: format!("{at_once} at a time read, own connections beside tonic's channel"),
            unit: "µs",
            rounds,
            must: Must::AtMost(1.0),
        });
    }
}

/// How long so many reads take together.
async fn read(transport: &GrpcTransport, at_once: usize) -> f64 {
    let one = || transport.range(RangeRequest::key("key"), CallOptions::default());
    let begun = Instant::now();
    for answer in join_all((0..at_once).map(|_| one())).await {
        answer.unwrap();
    }
    micros(begun.elapsed())
}
