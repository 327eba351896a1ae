//! Measures etcd-lock against its peers, and against the baseline that etcd itself sets, in one run on one etcd.
//!
//! Sides take turns in rounds, and which comes first changes, so that what else the machine does hits them alike. Each round
//! has a ratio; their median is compared with the bar, and printed with the least and the greatest. Only ratios mean
//! something on another machine. A missed bar is exit status 1.
#![allow(
    clippy::unwrap_used,
    reason = "a measurement that fails has nothing to report: a panic says why"
)]

mod bare;
mod channels;
mod contest;
mod measures;
mod report;
mod ring;
mod rounds;
mod usage;

use std::alloc::System;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;
use stats_alloc::{INSTRUMENTED_SYSTEM, StatsAlloc};

use crate::measures::{ALL, Bench};
use crate::report::Report;

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

/// Measures etcd-lock on an etcd of its own.
#[derive(Parser)]
struct Args {
    /// Also write the table as a list of JSON objects.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// How often the sides take turns.
    #[arg(long, default_value_t = 5)]
    rounds: usize,
    /// Measure only what has this word in its name.
    #[arg(long, value_name = "WORD")]
    only: Option<String>,
}

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() -> ExitCode {
    let args = Args::parse();
    let mut bench = Bench::start(args.rounds.max(1)).await;
    let mut report = Report::default();
    for measure in ALL {
        let wanted = args.only.as_deref();
        if wanted.is_none_or(|word| measure.name.contains(word)) {
            eprintln!("measuring: {}", measure.name);
            measure.run(&mut bench, &mut report).await;
        }
    }
    println!("{report}");
    if let Some(file) = args.json
        && let Err(error) = std::fs::write(&file, report.to_json())
    {
        eprintln!("error: can't write {}: {error}", file.display());
        return ExitCode::FAILURE;
    }
    match report.is_met() {
        true => ExitCode::SUCCESS,
        false => ExitCode::FAILURE,
    }
}
