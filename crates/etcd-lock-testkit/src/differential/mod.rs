//! Whether the in-memory etcd's model answers as a real etcd does: sequences of steps, made up by chance, are carried out on
//! both, and every answer is compared.
//!
//! A sequence begins with both empty and all that was before compacted, so one etcd process serves for all of them.
//! Numbers that differ are replaced (`numbers`). Steps are taken one after the other, and after each one etcd is waited
//! for until it has told all that the model tells. A sequence that ends differently is made smaller by proptest.

mod call;
mod etcd;
mod mapping;
mod memory;
mod numbers;
mod pair;
mod strategy;
mod watch_log;

use std::cell::{Cell, RefCell};
use std::fmt;
use std::path::PathBuf;
use std::thread;
use std::time::Duration;

use etcd_lock_memory::model::Version;
use proptest::test_runner::{Config, RngSeed, TestCaseError, TestError, TestRunner};
use tokio::runtime::{Builder, Runtime};
use tokio::time::Instant;

use self::call::{Start, Step};
use self::etcd::Etcd;
use self::pair::{Pair, Stop};
use crate::RealEtcd;

/// How long a failing sequence may be made smaller, in milliseconds.
const SHRINKING: u32 = 20_000;

const STACK: usize = 64 << 20;

/// A comparison of two etcds, and its length.
#[derive(Clone, Debug)]
#[must_use]
pub struct Comparison {
    etcd: PathBuf,
    seed: u64,
    model: Option<Version>,
}

impl Comparison {
    /// The model with this etcd; it is to be like the version that the etcd says it is.
    pub fn with(etcd: impl Into<PathBuf>) -> Self {
        Self {
            etcd: etcd.into(),
            seed: 0,
            model: None,
        }
    }

    /// The seed of the first sequence; each further one has the next. 0 by default.
    pub const fn from_seed(mut self, seed: u64) -> Self {
        self.seed = seed;
        self
    }

    /// Has the model be like a version of its own choice.
    pub const fn with_model(mut self, version: Version) -> Self {
        self.model = Some(version);
        self
    }

    /// Runs a number of sequences, or until the first that differs.
    ///
    /// # Panics
    /// When etcd doesn't start.
    #[must_use]
    pub fn sequences(&self, count: u64) -> Report {
        self.run(|report| report.sequences < count)
    }

    /// Runs sequences for some time, or until the first that differs.
    ///
    /// # Panics
    /// When etcd doesn't start.
    #[must_use]
    pub fn lasting(&self, time: Duration) -> Report {
        let since = Instant::now();
        self.run(|_| since.elapsed() < time)
    }

    /// On a thread of its own: strategies inside strategies take more stack than a test's thread has.
    fn run(&self, goes_on: impl Fn(&Report) -> bool + Send) -> Report {
        thread::scope(|scope| {
            let worker = thread::Builder::new().stack_size(STACK);
            let worker = worker.spawn_scoped(scope, || self.run_here(goes_on));
            worker.unwrap().join().unwrap()
        })
    }

    fn run_here(&self, goes_on: impl Fn(&Report) -> bool) -> Report {
        let runtime = Builder::new_current_thread().enable_all().build().unwrap();
        let etcd = runtime.block_on(RealEtcd::of_program(&self.etcd));
        let etcd = runtime.block_on(Etcd::connect(etcd));
        let (name, version) = runtime.block_on(etcd.version());
        let version = self.model.unwrap_or(version);
        let etcd = RefCell::new(etcd);
        let mut report = Report {
            etcd: name,
            seed: self.seed,
            sequences: 0,
            steps: 0,
            rejected: 0,
            mismatch: None,
        };
        while report.mismatch.is_none() && goes_on(&report) {
            let seed = self.seed.wrapping_add(report.sequences);
            let (carried_out, rejected) = sequence(seed, version, &runtime, &etcd);
            match carried_out {
                Ok(steps) => report.steps += steps,
                Err(mismatch) => report.mismatch = Some(mismatch),
            }
            report.sequences += 1;
            report.rejected += rejected;
        }
        report
    }
}

/// The result of a comparison.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Report {
    /// The version that the etcd says it is.
    pub etcd: String,
    /// The seed of the first sequence.
    pub seed: u64,
    /// How many sequences were carried out.
    pub sequences: u64,
    /// How many steps they had together, but for one that differed.
    pub steps: u64,
    /// How many further sequences tell nothing, since a short lease may have ended in them for lack of time: another was
    /// made up in the place of each.
    pub rejected: u64,
    /// The first sequence that differed, made as small as it gets.
    pub mismatch: Option<Mismatch>,
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            etcd,
            seed,
            sequences,
            steps,
            rejected,
            mismatch,
        } = self;
        if let Some(mismatch) = mismatch {
            writeln!(f, "{mismatch}")?;
        }
        let mismatches = u8::from(mismatch.is_some());
        write!(
            f,
            "etcd {etcd}: seed {seed}, {sequences} sequences ({rejected} more were too slow), {steps} operations, \
             {mismatches} mismatches"
        )
    }
}

/// A sequence whose answers differ.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Mismatch {
    /// The seed that reproduces it.
    pub seed: u64,
    /// Its steps.
    pub steps: String,
    /// The last call, and both answers.
    pub difference: String,
}

impl fmt::Display for Mismatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            seed,
            steps,
            difference,
        } = self;
        write!(f, "seed {seed}:\n{steps}\n{difference}")
    }
}

/// Carries out the sequence of one seed, and tells how many steps it had, and how many sequences were rejected for it.
fn sequence(
    seed: u64,
    version: Version,
    runtime: &Runtime,
    etcd: &RefCell<Etcd>,
) -> (Result<u64, Mismatch>, u64) {
    let (count, rejected, differs) = (Cell::new(0), Cell::new(0), Cell::new(false));
    let config = Config {
        cases: 1,
        failure_persistence: None,
        max_shrink_iters: 10_000,
        max_shrink_time: SHRINKING,
        rng_seed: RngSeed::Fixed(seed),
        ..Config::default()
    };
    let outcome = TestRunner::new(config).run(&strategy::sequence(), |(start, steps)| {
        let etcd = &mut *etcd.borrow_mut();
        match runtime.block_on(carry_out(version, start, etcd, &steps)) {
            Ok(steps) => {
                count.set(steps);
                Ok(())
            }
            Err(Stop::Mismatch(difference)) => {
                differs.set(true);
                Err(TestCaseError::fail(difference))
            }
            Err(Stop::TooSlow) => {
                // A sequence that is tried to make another smaller doesn't count as one of its own.
                rejected.update(|count| count + u64::from(!differs.get()));
                Err(TestCaseError::reject("the machine is too slow"))
            }
        }
    });
    let mismatch = |difference: String, start: Option<Start>, steps: &[Step]| Mismatch {
        seed,
        steps: start
            .iter()
            .map(|start| format!("  {start:?}\n"))
            .chain(steps.iter().map(|step| format!("  {step:?}\n")))
            .map(|step| shortened(&step))
            .collect(),
        difference: shortened(&difference),
    };
    let carried_out = match outcome {
        Ok(()) => Ok(count.get()),
        Err(TestError::Fail(reason, (start, steps))) => {
            Err(mismatch(reason.to_string(), Some(start), &steps))
        }
        Err(TestError::Abort(reason)) => Err(mismatch(reason.to_string(), None, &[])),
    };
    (carried_out, rejected.get())
}

async fn carry_out(
    version: Version,
    start: Start,
    etcd: &mut Etcd,
    steps: &[Step],
) -> Result<u64, Stop> {
    Pair::begin(version, start, etcd).await?.run(steps).await
}

/// Nobody reads a mebibyte of the same character.
fn shortened(text: &str) -> String {
    const LONG: usize = 100;
    let chars: Vec<_> = text.chars().collect();
    let runs = chars.chunk_by(|a, b| a == b).map(|run| match run.len() {
        0..=LONG => run.iter().collect(),
        length => format!("{}…({length} times)", run[0]),
    });
    runs.collect()
}
