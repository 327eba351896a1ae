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
mod etcd;
mod measures;
mod pictures;
mod plot;
mod processes;
mod race;
mod recorder;
mod report;
mod ring;
mod rounds;
mod sessions;
mod sides;
mod usage;
mod worker;

use std::alloc::System;
use std::error::Error;
use std::fs;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;
use stats_alloc::{INSTRUMENTED_SYSTEM, StatsAlloc};
use tokio::time::Instant;

use crate::measures::{Bench, Measure};
use crate::report::Report;
use crate::sides::Peers;
use crate::worker::Worker;

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

/// Measures etcd-lock on an etcd of its own.
#[derive(Parser)]
struct Args {
    /// Also write the table as a list of JSON objects.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Draw the pictures of the documentation: from the results of this run or, where a file is given, from those that an
    /// earlier run wrote with `--json`.
    #[arg(long, value_name = "FILE", num_args = 0..=1)]
    plot: Option<Option<PathBuf>>,
    /// How often the sides take turns.
    #[arg(long, default_value_t = 5)]
    rounds: usize,
    /// Measure only what has this word in its name.
    #[arg(long, value_name = "WORD")]
    only: Option<String>,
    #[command(flatten)]
    peers: Peers,
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
    match run(args).await {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Whether every bar was met.
async fn run(args: Args) -> Result<bool, Box<dyn Error>> {
    if let Some(Some(file)) = args.plot {
        pictures::draw(&fs::read_to_string(file)?)?;
        return Ok(true);
    }
    let word = args.only.unwrap_or_default();
    let mut wanted = measures::all();
    wanted.retain(|measure| measure.name.contains(&word));
    if wanted.is_empty() {
        return Err(format!("no measure has \"{word}\" in its name: see --list").into());
    }
    if args.list {
        wanted
            .iter()
            .for_each(|measure| println!("{}", measure.name));
        return Ok(true);
    }
    let report = measure(&wanted, args.rounds.max(1), args.peers).await;
    println!("{report}");
    if let Some(file) = args.json {
        fs::write(file, report.to_json())?;
    }
    if args.plot.is_some() {
        pictures::draw(&report.to_json())?;
    }
    Ok(report.is_met())
}

async fn measure(wanted: &[Measure], rounds: usize, peers: Peers) -> Report {
    let bench = Bench::start(rounds, peers).await;
    let mut report = Report::default();
    for measure in wanted {
        eprintln!("measuring: {}", measure.name);
        let begun = Instant::now();
        measure.run(&bench, &mut report).await;
        eprintln!("  took {:.0?}", begun.elapsed());
    }
    report
}
