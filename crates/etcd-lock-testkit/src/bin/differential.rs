//! Compares the in-memory etcd's model with a real etcd: what `cargo xtask differential` starts.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;
use etcd_lock_testkit::differential::Comparison;

/// Ask the in-memory etcd's model and a real etcd the same, and compare every answer.
#[derive(Parser)]
struct Args {
    /// The etcd to compare with.
    #[arg(long)]
    etcd: PathBuf,
    /// For how long.
    #[arg(long, default_value_t = 10)]
    minutes: u64,
    /// Run this many sequences, however long that takes.
    #[arg(long, conflicts_with = "minutes")]
    sequences: Option<u64>,
    /// The seed of the first sequence; chosen by chance where it isn't given.
    #[arg(long)]
    seed: Option<u64>,
}

fn main() -> ExitCode {
    let args = Args::parse();
    let seed = args.seed.unwrap_or_else(|| fastrand::u64(..1 << 32));
    let comparison = Comparison::with(args.etcd).from_seed(seed);
    let report = match args.sequences {
        Some(sequences) => comparison.sequences(sequences),
        None => comparison.lasting(Duration::from_secs(60 * args.minutes)),
    };
    println!("{report}");
    if report.mismatch.is_none() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}
