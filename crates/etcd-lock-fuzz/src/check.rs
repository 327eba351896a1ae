//! A target, tried as a plain test.

use std::fs;
use std::path::Path;

use crate::mutation::mutated;

/// How many inputs made by chance are tried for each half of the seeds.
const BY_CHANCE: u64 = 500;

/// Tries all inputs of a corpus, and then inputs that are made of it by chance: half of them are the same in each run, half
/// begin at the seed `fresh`. The input that fails is printed.
///
/// # Panics
/// If the target does, or if there is no corpus.
pub fn check(corpus: &Path, fresh: u64, run: fn(&[u8])) {
    let inputs = inputs(corpus);
    for input in &inputs {
        attempt(input, run);
    }
    for seed in (0..BY_CHANCE).chain(fresh..fresh + BY_CHANCE) {
        let mut random = fastrand::Rng::with_seed(seed);
        attempt(&mutated(&inputs, &mut random), run);
    }
}

/// In the order of their names, so that a seed makes the same of them everywhere.
fn inputs(corpus: &Path) -> Vec<Vec<u8>> {
    let files = fs::read_dir(corpus);
    let files = files.unwrap_or_else(|error| panic!("{}: {error}", corpus.display()));
    let mut files: Vec<_> = files.map(|file| file.unwrap().path()).collect();
    assert!(!files.is_empty(), "{} is empty", corpus.display());
    files.sort();
    files.iter().map(|file| fs::read(file).unwrap()).collect()
}

fn attempt(input: &[u8], run: fn(&[u8])) {
    let input = Tried(input);
    run(input.0);
}

/// An input, which is printed when it fails.
struct Tried<'a>(&'a [u8]);

impl Drop for Tried<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("it is the input b\"{}\"", self.0.escape_ascii());
        }
    }
}
