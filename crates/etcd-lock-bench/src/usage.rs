//! The memory and processor time that a process uses, as Linux counts them.

use std::fs;
use std::time::Duration;

use nix::time::{ClockId, clock_gettime};

/// Ticks a second in `/proc/PID/stat`: fixed for programs on all of Linux's own platforms.
const TICKS: f64 = 100.0;

/// Resident memory in bytes.
pub(crate) fn memory(pid: u32) -> f64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kib: f64 = line
        .and_then(|line| line.split_whitespace().next()?.parse().ok())
        .unwrap();
    kib * 1024.0
}

/// Processor time used so far, in user and kernel mode.
pub(crate) fn processor(pid: u32) -> Duration {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    // The name, in brackets, may have spaces in it.
    let (_, rest) = stat.rsplit_once(')').unwrap();
    let ticks: f64 = rest
        .split_whitespace()
        .skip(11)
        .take(2)
        .map(|field| field.parse::<f64>().unwrap())
        .sum();
    Duration::from_secs_f64(ticks / TICKS)
}

/// Processor time that this process has used so far, to the nanosecond.
pub(crate) fn own_processor() -> Duration {
    let clock = ClockId::CLOCK_PROCESS_CPUTIME_ID;
    clock_gettime(clock).unwrap().into()
}

pub(crate) fn micros(time: Duration) -> f64 {
    time.as_secs_f64() * 1e6
}
