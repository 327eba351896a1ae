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
mod client;
mod contest;
mod cycle;
mod cycles;
mod measures;
mod processes;
mod race;
mod recorder;
mod report;
mod ring;
mod rounds;
mod usage;
mod worker;

use std::alloc::System;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;
use stats_alloc::{INSTRUMENTED_SYSTEM, StatsAlloc};
use tokio::time::Instant;

use crate::measures::{ALL, Bench, Measure};
use crate::report::Report;
use crate::worker::Worker;

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
    /// Go's client, for the measures that compare with it.
    #[arg(long, value_name = "PROGRAM")]
    go: Option<PathBuf>,
    /// Print the names of all measures, and measure nothing.
    #[arg(long)]
    list: bool,
    #[command(subcommand)]
    worker: Option<Worker>,
}

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() -> ExitCode {
    let args = Args::parse();
    if let Some(worker) = args.worker {
        worker.run().await;
        return ExitCode::SUCCESS;
    }
    let word = args.only.unwrap_or_default();
    let wanted = || ALL.iter().filter(|measure| measure.name.contains(&word));
    if wanted().next().is_none() {
        eprintln!("error: no measure has \"{word}\" in its name: see --list");
        return ExitCode::FAILURE;
    }
    if args.list {
        wanted().for_each(|measure| println!("{}", measure.name));
        return ExitCode::SUCCESS;
    }
    let report = measure(wanted(), args.rounds.max(1), args.go).await;
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

async fn measure(
    wanted: impl Iterator<Item = &Measure>,
    rounds: usize,
    go: Option<PathBuf>,
) -> Report {
    let bench = Bench::start(rounds, go).await;
    let mut report = Report::default();
    for measure in wanted {
        eprintln!("measuring: {}", measure.name);
        let begun = Instant::now();
        measure.run(&bench, &mut report).await;
        eprintln!("  took {:.0?}", begun.elapsed());
    }
    report
}
