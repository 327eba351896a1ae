//! Explores the state machine of the lock, and checks that deliberate bugs are noticed: what `cargo xtask model` starts.
//! With `--long` it also explores what takes minutes.

use std::process::ExitCode;

use etcd_lock_testkit::explorer::{Bounds, Bug, coverage, explore, explore_bug};
use tokio::time::Instant;

fn main() -> ExitCode {
    let is_long = std::env::args().any(|argument| argument == "--long");
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
    if good {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
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
    for (property, steps) in &report.counterexamples {
        println!("  the shortest way to break \"{property}\":");
        for step in steps {
            println!("    {step}");
        }
    }
    report.is_good()
}

/// Whether a deliberate bug breaks something.
fn is_noticed(bug: Bug) -> bool {
    let name = format!("{bug:?}");
    match explore_bug(bug).counterexamples.first() {
        Some((broken, steps)) => {
            println!("{name:<22} breaks \"{broken}\" in {} steps", steps.len());
            true
        }
        None => {
            println!("{name:<22} is NOT noticed");
            false
        }
    }
}
