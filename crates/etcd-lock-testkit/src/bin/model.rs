//! Checks the model of the lock protocol, and that it notices deliberate bugs: what `cargo xtask model` starts.

use std::process::ExitCode;
use std::thread;

use etcd_lock_testkit::protocol::{Bounds, Bug, Report, check, check_bug};

fn main() -> ExitCode {
    let mut good = protocol();
    for bug in Bug::ALL {
        good &= notices(bug);
    }
    if good {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

/// Whether the protocol is as it must be, within all bounds.
fn protocol() -> bool {
    thread::scope(|scope| {
        let checks = Bounds::full().map(|bounds| {
            let check = scope.spawn({
                let bounds = bounds.clone();
                || check(bounds)
            });
            (bounds, check)
        });
        let mut good = true;
        for (bounds, check) in checks {
            good &= check.join().is_ok_and(|report| is_good(&bounds, &report));
        }
        good
    })
}

fn is_good(bounds: &Bounds, report: &Report) -> bool {
    println!("{bounds:?}");
    println!("{} states, depth {}", report.states, report.depth);
    for (name, good) in &report.properties {
        println!("  {} {name}", if *good { "ok    " } else { "BROKEN" });
    }
    for step in report.counterexample.iter().flat_map(|(_, steps)| steps) {
        println!("    {step}");
    }
    report.is_good()
}

/// Whether a deliberate bug breaks something.
fn notices(bug: Bug) -> bool {
    let name = format!("{bug:?}");
    match check_bug(Bounds::small(), bug).counterexample {
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
