//! Runs simulated worlds, one for each seed, on all cores it is allowed: what `cargo xtask sim` starts.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst};
use std::thread;

use clap::Parser;
use etcd_lock_testkit::history::{Record, to_lines};
use etcd_lock_testkit::sim::{Outcome, Scenario, Stats, expected, run, shrink, trace, unreached};

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
    /// Run the scenario of a known defect, and print everything that happens in it.
    #[arg(long, conflicts_with = "replay")]
    finding: Option<String>,
    /// Where the history of a replay goes, one record a line.
    #[arg(long, requires = "replay")]
    history: Option<PathBuf>,
}

fn main() -> ExitCode {
    let args = Args::parse();
    match args.replay {
        Some(seed) => replay(seed, args.history.as_deref()),
        None => match &args.finding {
            Some(finding) => show(finding),
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
        if let Some(violation) = outcome.unexplained() {
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
        if outcome.unexplained().is_some() {
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
    for (finding, rule, count) in explained(stats) {
        let _ = write!(text, " {finding} ({rule}) {count},");
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

/// Runs the scenario in which a known defect shows.
fn show(finding: &str) -> ExitCode {
    let mut cases = expected().into_iter();
    let Some(case) = cases.find(|case| case.finding.to_string() == finding) else {
        eprintln!("there is no scenario of {finding}");
        return ExitCode::FAILURE;
    };
    let outcome = trace(&case.scenario);
    for line in &outcome.trace {
        println!("{line}");
    }
    println!("{}", case.scenario);
    for violation in &outcome.violations {
        println!("{finding}: {violation}");
    }
    ExitCode::SUCCESS
}

fn write_history(path: &Path, history: &[Record]) -> std::io::Result<()> {
    std::fs::write(path, to_lines(history)?)
}

/// The violations that a known defect explains.
fn explained(stats: &Stats) -> impl Iterator<Item = (String, &'static str, u64)> {
    let explained = stats.explained.iter();
    explained.map(|((finding, rule), count)| (finding.to_string(), rule.as_str(), *count))
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
    match outcome.unexplained() {
        Some(_) => ExitCode::FAILURE,
        None => ExitCode::SUCCESS,
    }
}
