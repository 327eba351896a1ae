//! Runs simulated worlds, one for each seed, on all cores it is allowed: what `cargo xtask sim` starts.

use std::fmt::Write as _;
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst};
use std::thread;

use clap::Parser;
use etcd_lock_testkit::sim::{Outcome, Scenario, Stats, run, shrink, trace};

/// Simulate processes that lock, crash, stall and lose messages, and check what they do.
#[derive(Parser)]
struct Args {
    /// How many seeds to run.
    #[arg(long, default_value_t = 1_000)]
    seeds: u64,
    /// The first seed.
    #[arg(long, default_value_t = 0)]
    start: u64,
    /// How many to run at once.
    #[arg(long, default_value_t = 2)]
    threads: u64,
    /// Run one seed, make it smaller if it fails, and print everything that happens in it.
    #[arg(long)]
    replay: Option<u64>,
}

fn main() -> ExitCode {
    let args = Args::parse();
    match args.replay {
        Some(seed) => replay(seed),
        None => simulate(&args),
    }
}

fn simulate(args: &Args) -> ExitCode {
    let (next, failed) = (AtomicU64::new(args.start), AtomicBool::new(false));
    let end = args.start.saturating_add(args.seeds);
    let results: Vec<_> = thread::scope(|scope| {
        let worker = || work(&next, end, &failed);
        let workers: Vec<_> = (0..args.threads).map(|_| scope.spawn(worker)).collect();
        workers
            .into_iter()
            .map(thread::ScopedJoinHandle::join)
            .collect()
    });
    let mut stats = Stats::default();
    let mut violations = Vec::new();
    for result in results {
        let Ok((its_stats, its_violations)) = result else {
            eprintln!("a worker of the simulation panicked");
            return ExitCode::FAILURE;
        };
        stats.add(&its_stats);
        violations.extend(its_violations);
    }
    violations.sort_by_key(|(seed, _)| *seed);
    for (seed, outcome) in violations.iter().take(1) {
        let violation = outcome.violation.as_deref().unwrap_or_default();
        println!("seed {seed}: {violation}\nreplay: cargo xtask sim --replay {seed}");
    }
    println!("{}", summary(&stats, violations.len()));
    if violations.is_empty() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

/// Takes seed after seed, until the last one or the first failure of anybody.
fn work(next: &AtomicU64, end: u64, failed: &AtomicBool) -> (Stats, Vec<(u64, Outcome)>) {
    let mut stats = Stats::default();
    let mut violations = Vec::new();
    while !failed.load(SeqCst) {
        let seed = next.fetch_add(1, SeqCst);
        if seed >= end {
            break;
        }
        let outcome = run(&Scenario::of(seed));
        stats.add(&outcome.stats);
        if outcome.violation.is_some() {
            failed.store(true, SeqCst);
            violations.push((seed, outcome));
        }
    }
    (stats, violations)
}

fn summary(stats: &Stats, violations: usize) -> String {
    let hours = stats.simulated().as_secs() / 3_600;
    let mut text = format!("{} seeds, {hours} simulated hours, faults:", stats.seeds);
    for (kind, count) in &stats.faults {
        // Writing into a string can't fail.
        let _ = write!(text, " {kind} {count},");
    }
    let Stats {
        grants,
        handovers,
        writes,
        ..
    } = stats;
    let _ = write!(
        text,
        " grants {grants} ({handovers} handed on), fenced writes {writes}, violations {violations}"
    );
    text
}

fn replay(seed: u64) -> ExitCode {
    let scenario = Scenario::of(seed);
    let (scenario, outcome) = if run(&scenario).violation.is_some() {
        shrink(&scenario)
    } else {
        let outcome = run(&scenario);
        (scenario, outcome)
    };
    let traced = trace(&scenario);
    for line in &traced.trace {
        println!("{line}");
    }
    println!("{scenario}");
    match outcome.violation {
        Some(violation) => {
            println!("seed {seed}: {violation}");
            ExitCode::FAILURE
        }
        None => {
            println!("seed {seed}: no violation");
            ExitCode::SUCCESS
        }
    }
}
