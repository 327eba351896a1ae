//! How long lock cycles stop when the leader is killed, and when it is stopped, beside other clients and beside the cluster's
//! own election in the same fault.
//!
//! Each client is a process of its own with callers that take one lock from each other, in sessions of 10 s, connected to
//! the leader first. All clients run at once, so that they live through the same fault. Client and etcd share this
//! machine's cores.
#![allow(
    clippy::unwrap_used,
    reason = "a measurement that fails has nothing to report: a panic says why"
)]

mod client;
mod cycles;
mod election;
mod report;
mod rounds;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::client::Program;
use crate::report::Report;
use crate::rounds::{Fault, measure};

/// Measures failover on an etcd of its own.
#[derive(Parser)]
#[command(args_conflicts_with_subcommands = true)]
struct Args {
    /// How often the leader is killed, and how often it is stopped.
    #[arg(long, default_value_t = 10)]
    rounds: usize,
    /// Another client to measure: its name and its program. May be given several times.
    #[arg(long, value_name = "NAME=PROGRAM")]
    peer: Vec<Program>,
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Subcommand)]
enum Command {
    /// Runs this project's own lock cycles: the first client.
    #[command(hide = true)]
    Cycles {
        /// Separated by commas, the one to begin with first.
        endpoints: String,
        name: String,
        callers: usize,
    },
}

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() -> ExitCode {
    let args = Args::parse();
    if let Some(Command::Cycles {
        endpoints,
        name,
        callers,
    }) = args.command
    {
        return cycles::run(&endpoints, &name, callers).await;
    }
    let mut programs = vec![Program::ours()];
    programs.extend(args.peer);
    let mut report = Report::default();
    for fault in [Fault::Killed, Fault::Stopped] {
        let rounds = measure(fault, &programs, args.rounds.max(1)).await;
        report.add(fault, &programs, &rounds);
    }
    println!("{report}");
    if report.is_met() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}
