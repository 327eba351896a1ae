//! The programs whose cycles on distinct locks are compared: each runs in a process of its own and prints the same line.

use std::path::PathBuf;

use clap::Args;
use tokio::process::Command;

use crate::etcd::Etcd;
use crate::rounds::Rounds;
use crate::usage::micros;

/// The peers' programs, for the measures that compare with them.
#[derive(Args, Clone, Debug, Default)]
pub(crate) struct Peers {
    /// The program around Go's client.
    #[arg(long, value_name = "PROGRAM")]
    go: Option<PathBuf>,
    /// The program around Rust's `etcd-client`.
    #[arg(long, value_name = "PROGRAM")]
    etcd_client: Option<PathBuf>,
}

/// One of those that are compared.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Side {
    Ours,
    /// Go's `concurrency`.
    Go,
    EtcdClient,
    /// Our two transactions, by bare stubs.
    Bare,
    /// etcd's `Lock` and `Unlock`, by bare stubs.
    V3lock,
}

impl Side {
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Ours => "etcd-lock",
            Self::Go => "Go's client",
            Self::EtcdClient => "etcd-client",
            Self::Bare => "bare stubs",
            Self::V3lock => "v3lock",
        }
    }

    /// The program, and its first arguments.
    fn command(self, peers: &Peers) -> Command {
        let worker = match self {
            Self::Go => return peer(peers.go.as_ref()),
            Self::EtcdClient => return peer(peers.etcd_client.as_ref()),
            Self::Ours => "distinct",
            Self::Bare => "distinct-bare",
            Self::V3lock => "distinct-v3lock",
        };
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.arg(worker);
        command
    }
}

fn peer(program: Option<&PathBuf>) -> Command {
    Command::new(program.expect("`cargo xtask bench` builds the peers' programs and names them"))
}

/// What a program did.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Done {
    /// Cycles a second.
    pub(crate) rate: f64,
    /// How long the median cycle took, in microseconds.
    pub(crate) median: f64,
    /// How long all but one in a hundred took, in microseconds.
    pub(crate) p99: f64,
    /// Processor time of the program for one cycle, in microseconds.
    pub(crate) own_time: f64,
    /// Processor time of etcd for one cycle, in microseconds, the program's start included.
    pub(crate) etcds_time: f64,
}

/// One round: what each side did.
#[derive(Clone, Debug)]
pub(crate) struct Round(Vec<(Side, Done)>);

impl Round {
    /// Lets all sides take their turn, in this order or in the reverse one: what a side leaves behind hits another one in
    /// the next round. Ours belongs in the middle.
    pub(crate) async fn run(
        number: usize,
        sides: &[Side],
        mut run: impl AsyncFnMut(Side) -> Done,
    ) -> Self {
        let mut order = sides.to_vec();
        if !number.is_multiple_of(2) {
            order.reverse();
        }
        let mut done = Vec::with_capacity(order.len());
        for side in order {
            done.push((side, run(side).await));
        }
        Self(done)
    }

    /// What this side did.
    pub(crate) fn of(&self, side: Side) -> &Done {
        let found = self.0.iter().find(|(one, _)| *one == side);
        &found.expect("the side took part").1
    }
}

/// What ours and a peer did, round by round.
pub(crate) fn beside(rounds: &[Round], peer: Side, value: fn(&Done) -> f64) -> Rounds {
    let mut values = Rounds::default();
    for round in rounds {
        values.push((value(round.of(Side::Ours)), value(round.of(peer))));
    }
    values
}

/// Runs one side's program for so many seconds.
pub(crate) async fn cycles(
    side: Side,
    peers: &Peers,
    etcd: &Etcd,
    (tasks, seconds): (usize, u64),
) -> Done {
    let before = etcd.processor();
    let mut command = side.command(peers);
    command.args([&etcd.endpoint, &tasks.to_string(), &seconds.to_string()]);
    let output = command.output().await.unwrap();
    assert!(output.status.success(), "{command:?}: {output:?}");
    let line = String::from_utf8(output.stdout).unwrap();
    let numbers = line
        .split_whitespace()
        .map(|number| number.parse().unwrap());
    let [cycles, took, median, p99, used]: [f64; 5] =
        numbers.collect::<Vec<_>>().try_into().unwrap();
    Done {
        rate: cycles / (took / 1e6),
        median,
        p99,
        own_time: used / cycles,
        etcds_time: micros(etcd.processor() - before) / cycles,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A rate that tells one side from the other.
    async fn run(side: Side) -> Done {
        Done {
            rate: f64::from(side as u8),
            median: 0.0,
            p99: 0.0,
            own_time: 0.0,
            etcds_time: 0.0,
        }
    }

    #[tokio::test]
    async fn the_order_of_sides_changes_and_ours_stays_in_the_middle() {
        let sides = [Side::Go, Side::Ours, Side::Bare];
        for (number, expected) in [(0, sides), (1, [Side::Bare, Side::Ours, Side::Go])] {
            let round = Round::run(number, &sides, run).await;
            let order: Vec<_> = round.0.iter().map(|(side, _)| *side).collect();
            assert_eq!(order, expected);
        }
    }

    #[tokio::test]
    async fn ours_is_beside_the_peer_that_was_asked_for() {
        let sides = [Side::Go, Side::Ours, Side::Bare];
        let rounds = [Round::run(1, &sides, run).await];
        let values = beside(&rounds, Side::Bare, |done| done.rate);
        let expected = f64::from(Side::Ours as u8) / f64::from(Side::Bare as u8);
        assert_eq!(values.ratio(), expected);
    }
}
