//! Where random tests begin: half of their seeds are always the same, and half come from the commit, so that each commit
//! looks where nobody has looked before.

use std::env;

/// `cargo xtask` sets it to the commit's seed; a person sets it to repeat a run.
const VARIABLE: &str = "ETCD_LOCK_SEED";

/// Where it is not set.
const FALLBACK: u64 = 734_512_002_378;

/// The first seed of the half that comes from the commit. It prints how to have the same again.
///
/// # Panics
/// When the variable is set to something that is no number.
#[must_use]
pub fn fresh() -> u64 {
    let seed = env::var(VARIABLE).map_or(FALLBACK, |seed| {
        let wrong = |_| panic!("{VARIABLE} is {seed:?}, which is no number");
        seed.parse().unwrap_or_else(wrong)
    });
    println!("half of the seeds begin at {seed}: {VARIABLE}={seed} repeats them");
    seed
}
