//! Where random tests begin: half of their seeds are always the same, the other half belong to the commit.

use xshell::{Shell, cmd};

/// Tells the tests the commit's seed.
const VARIABLE: &str = "ETCD_LOCK_SEED";

/// The variable that proptest takes its seed from.
const PROPTEST_VARIABLE: &str = "PROPTEST_RNG_SEED";

/// Where there is no git to ask.
const FALLBACK: u64 = 734_512_002_378;

/// The seed of the commit, which is new with every commit and the same for all who test it. A seed that is set already
/// replays an earlier run.
pub(crate) fn of_commit(sh: &Shell) -> u64 {
    if let Some(seed) = sh.var(VARIABLE).ok().and_then(|seed| seed.parse().ok()) {
        return seed;
    }
    let head = cmd!(sh, "git rev-parse HEAD").quiet().ignore_stderr();
    head.read().map_or(FALLBACK, |head| from_hash(&head))
}

/// Hands the seed of the commit to all programs that `sh` starts from now on, and says how to have the same again.
pub(crate) fn provide(sh: &Shell) {
    let seed = of_commit(sh);
    eprintln!("half of all seeds come from the commit: {VARIABLE}={seed} repeats them");
    sh.set_var(VARIABLE, seed.to_string());
    sh.set_var(PROPTEST_VARIABLE, seed.to_string());
}

/// Twelve hexadecimal digits: a number that leaves room to count on from.
fn from_hash(hash: &str) -> u64 {
    hash.get(..12)
        .and_then(|digits| u64::from_str_radix(digits, 16).ok())
        .unwrap_or(FALLBACK)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hash_becomes_its_first_digits() {
        assert_eq!(
            from_hash("00000000ff01d7c1e0ac0ee9c5b6a4b9aa5cf2a1"),
            0x0000_0000_ff01
        );
        assert_eq!(from_hash("no hash"), FALLBACK);
    }
}
