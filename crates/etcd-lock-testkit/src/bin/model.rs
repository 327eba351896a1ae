//! Explores the state machine of the lock, and checks that deliberate bugs are noticed: what `cargo xtask model` starts.
//! With `--walks` it goes through random worlds instead, one for each seed.

use std::process::ExitCode;

use clap::Parser;
use etcd_lock_testkit::explorer::walk::{Outcome, Plan, Stats, replay, shrink, unreached, walk};
use etcd_lock_testkit::explorer::{Bounds, Bug, coverage, explore, explore_bug};
use etcd_lock_testkit::history::to_lines;
use tokio::time::Instant;

/// Check the state machine of the lock, exhaustively or by random walks.
#[derive(Parser)]
struct Args {
    /// Explore what takes minutes, too.
    #[arg(long)]
    long: bool,
    /// Go through so many random worlds.
    #[arg(long, value_name = "N", conflicts_with = "long")]
    walks: Option<u64>,
    /// The seed of the first one.
    #[arg(long, default_value_t = 0, requires = "walks")]
    start: u64,
    /// Go on after a violation, and print each.
    #[arg(long, requires = "walks")]
    keep_going: bool,
    /// Walk as one seed does, drop the steps that a violation does not need, and print all that happens.
    #[arg(long, value_name = "SEED", conflicts_with_all = ["walks", "long"])]
    replay: Option<u64>,
}

fn main() -> ExitCode {
    let args = Args::parse();
    let is_good = match (args.replay, args.walks) {
        (Some(seed), _) => show(seed),
        (_, Some(walks)) => walk_all(args.start, walks, args.keep_going),
        _ => explore_all(args.long),
    };
    if is_good {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

fn explore_all(is_long: bool) -> bool {
    let mut good = are_kept(Bounds::usual());
    // A broken property ends the exploring: what it would have covered, and what bugs break, says nothing then.
    if good {
        good = coverage::report();
        for bug in Bug::ALL {
            good &= is_noticed(bug);
        }
    }
    if good && is_long {
        good = are_kept(Bounds::long());
    }
    good
}

fn are_kept<const N: usize>(bounds: [(&str, Bounds); N]) -> bool {
    bounds
        .into_iter()
        .all(|(name, bounds)| is_kept(name, bounds))
}

/// Whether the machine is as it must be within these bounds.
fn is_kept(name: &str, bounds: Bounds) -> bool {
    let (faults, ticks) = (bounds.faults, bounds.ticks);
    let began = Instant::now();
    let report = explore(bounds);
    println!("{name}: {faults} fault, {ticks} ticks");
    let took = began.elapsed().as_secs_f32();
    println!(
        "{} states, depth {}, {took:.0} s",
        report.states, report.depth
    );
    for (property, good) in &report.properties {
        println!("  {} {property}", if *good { "ok    " } else { "BROKEN" });
    }
    for example in &report.counterexamples {
        println!("  the shortest way to break \"{}\":", example.property);
        for step in &example.steps {
            println!("    {step}");
        }
        println!("  its history, and what the checker says:");
        print!("{}", to_lines(&example.history).unwrap_or_default());
        for violation in &example.violations {
            println!("    {violation}");
        }
    }
    report.is_good()
}

/// Whether a deliberate bug breaks the property that it must.
fn is_noticed(bug: Bug) -> bool {
    let name = format!("{bug:?}");
    match explore_bug(bug).counterexamples.first() {
        Some(example) => {
            let (broken, steps) = (example.property, example.steps.len());
            println!("{name:<22} breaks \"{broken}\" in {steps} steps");
            broken == bug.breaks()
        }
        None => {
            println!("{name:<22} is NOT noticed");
            false
        }
    }
}

/// Walks through the worlds of many seeds, on two threads.
fn walk_all(start: u64, walks: u64, keeps_going: bool) -> bool {
    let began = Instant::now();
    let middle = start + walks / 2;
    let (mut stats, mut violations) = std::thread::scope(|scope| {
        let second = scope.spawn(|| walk_some(middle..start + walks, keeps_going));
        let (mut stats, mut violations) = walk_some(start..middle, keeps_going);
        if let Ok((its_stats, its_violations)) = second.join() {
            stats.add(&its_stats);
            violations.extend(its_violations);
        }
        (stats, violations)
    });
    let took = began.elapsed().as_secs_f64();
    if !keeps_going {
        violations.truncate(1);
    }
    for (seed, violation) in &violations {
        println!("seed {seed}: {violation}\nreplay: cargo xtask model --replay {seed}");
    }
    let count = std::mem::take(&mut stats.walks);
    println!("steps: {:?}", stats.steps);
    println!("rules: {:?}", stats.marks);
    let rate = count as f64 / took;
    let broken = violations.len();
    println!("{count} walks in {took:.1} s, {rate:.0} a second, violations {broken}");
    stats.walks = count;
    let unreached = unreached(&stats);
    if !unreached.is_empty() {
        println!("never reached: {unreached:?}");
    }
    violations.is_empty() && unreached.is_empty()
}

fn walk_some(seeds: std::ops::Range<u64>, keeps_going: bool) -> (Stats, Vec<(u64, String)>) {
    let mut stats = Stats::default();
    let mut violations = Vec::new();
    for seed in seeds {
        let outcome = walk(&Plan::of(seed));
        stats.add(&outcome.stats);
        if let Some(violation) = outcome.violations.first() {
            violations.push((seed, violation.to_string()));
            if !keeps_going {
                break;
            }
        }
    }
    (stats, violations)
}

fn show(seed: u64) -> bool {
    let plan = Plan::of(seed);
    let outcome = walk(&plan);
    let shown: Outcome = match outcome.violations.is_empty() {
        true => replay(&plan, &outcome.steps, true),
        false => shrink(&plan, &outcome),
    };
    println!("{plan:?}");
    for (step, records) in &shown.trace {
        println!("{step}");
        for line in to_lines(records).unwrap_or_default().lines() {
            println!("    {line}");
        }
    }
    for violation in &shown.violations {
        println!("seed {seed}: {violation}");
    }
    println!("{} of {} steps", shown.steps.len(), outcome.steps.len());
    shown.violations.is_empty()
}
