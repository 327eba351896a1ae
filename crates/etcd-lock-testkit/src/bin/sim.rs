//! Runs simulated worlds, one for each seed, on all cores it is allowed: what `cargo xtask sim` starts.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst};
use std::thread;

use clap::Parser;
use etcd_lock_testkit::history::{Record, to_lines};
use etcd_lock_testkit::sim::{Outcome, Scenario, Stats, mended, run, shrink, trace, unreached};

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
    /// Go on after a violation, and print each.
    #[arg(long)]
    keep_going: bool,
    /// Run one seed, make it smaller if it fails, and print everything that happens in it.
    #[arg(long)]
    replay: Option<u64>,
    /// Run the scenario in which this defect once showed, and print everything that happens in it.
    #[arg(long, conflicts_with = "replay")]
    mended: Option<String>,
    /// Where the history of a replay goes, one record a line.
    #[arg(long, requires = "replay")]
    history: Option<PathBuf>,
}

fn main() -> ExitCode {
    let args = Args::parse();
    match args.replay {
        Some(seed) => replay(seed, args.history.as_deref()),
        None => match &args.mended {
            Some(name) => show(name),
            None => simulate(&args),
        },
    }
}

fn simulate(args: &Args) -> ExitCode {
    let (next, failed) = (AtomicU64::new(args.start), AtomicBool::new(false));
    let stop = |failed: &AtomicBool| failed.load(SeqCst) && !args.keep_going;
    let end = args.start.saturating_add(args.seeds);
    let results: Vec<_> = thread::scope(|scope| {
        let worker = || work(&next, end, &failed, &stop);
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
    for (seed, outcome) in violations
        .iter()
        .take(if args.keep_going { usize::MAX } else { 1 })
    {
        if let Some(violation) = outcome.violation() {
            println!("seed {seed}: {violation}\nreplay: cargo xtask sim --replay {seed}");
        }
    }
    println!("{}", summary(&stats, violations.len()));
    let unreached = unreached(&stats);
    if !unreached.is_empty() {
        println!("never reached: {unreached:?}");
    }
    if violations.is_empty() && unreached.is_empty() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

/// Takes seed after seed, until the last one or the first failure of anybody.
fn work(
    next: &AtomicU64,
    end: u64,
    failed: &AtomicBool,
    stop: &impl Fn(&AtomicBool) -> bool,
) -> (Stats, Vec<(u64, Outcome)>) {
    let mut stats = Stats::default();
    let mut violations = Vec::new();
    while !stop(failed) {
        let seed = next.fetch_add(1, SeqCst);
        if seed >= end {
            break;
        }
        let outcome = run(&Scenario::of(seed));
        stats.add(&outcome.stats);
        if outcome.violation().is_some() {
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
    let marked = |mark| stats.marks.get(mark).copied().unwrap_or(0);
    let (grants, handovers) = (marked("grant"), marked("hand-over"));
    let writes = marked("fenced write");
    let _ = write!(
        text,
        " grants {grants} ({handovers} handed over), fenced writes {writes}, violations {violations}"
    );
    text
}

/// Runs the scenario in which a defect once showed.
fn show(name: &str) -> ExitCode {
    let mut cases = mended().into_iter();
    let Some(case) = cases.find(|case| case.name == name) else {
        let names: Vec<_> = mended().iter().map(|case| case.name).collect();
        eprintln!("there is no scenario {name}, only {names:?}");
        return ExitCode::FAILURE;
    };
    let outcome = trace(&case.scenario);
    for line in &outcome.trace {
        println!("{line}");
    }
    println!("{}", case.scenario);
    match outcome.violation() {
        Some(violation) => {
            println!("{name}: {violation}");
            ExitCode::FAILURE
        }
        None => ExitCode::SUCCESS,
    }
}

fn write_history(path: &Path, history: &[Record]) -> std::io::Result<()> {
    std::fs::write(path, to_lines(history)?)
}

fn replay(seed: u64, history: Option<&Path>) -> ExitCode {
    let scenario = Scenario::of(seed);
    let (scenario, outcome) = if !run(&scenario).violations.is_empty() {
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
    if let Some(path) = history
        && let Err(error) = write_history(path, &traced.history)
    {
        eprintln!("can't write {}: {error}", path.display());
        return ExitCode::FAILURE;
    }
    for violation in &outcome.violations {
        println!("seed {seed}: {violation}");
    }
    if outcome.violations.is_empty() {
        println!("seed {seed}: no violation");
    }
    match outcome.violation() {
        Some(_) => ExitCode::FAILURE,
        None => ExitCode::SUCCESS,
    }
}
