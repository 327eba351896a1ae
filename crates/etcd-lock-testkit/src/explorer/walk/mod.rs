//! Random walks through worlds that are too large to be explored exhaustively, each judged by the checker of histories.
//!
//! A seed draws a [`Plan`]: up to four clients with several sessions and tasks, and what may go wrong. The walk takes steps
//! of the explorer's world at random, then everything heals, and all that is left must settle: every wait ends, no entry
//! stays, every machine comes to rest. There is no runtime and no network in between, so that a core walks through
//! thousands of worlds a second.
//!
//! A tick is an attempt to read, half of a heartbeat, so that the checker's bounds apply as they are. A client is
//! disturbed while it lags or sleeps, and where a request of it fails.

mod draw;
mod ending;
mod faults;
mod shrink;
mod stats;

use std::fmt::Debug;
use std::panic::{AssertUnwindSafe, catch_unwind};

pub use self::draw::Plan;
pub use self::shrink::shrink;
pub use self::stats::{Stats, unreached};
use super::Bug;
use super::step::Step;
use super::world::World;
use crate::checker::{Rule, Violation};
use crate::history::Record;

/// A step of a walk, as [`shrink`] leaves it.
#[derive(Clone, Debug)]
pub struct Taken(Step);

/// How a walk ended.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct Outcome {
    /// The steps up to where everything heals.
    pub steps: Vec<Taken>,
    /// The violations. Known defects of the code under test explain nothing here: there is one machine.
    pub violations: Vec<Violation>,
    /// Counts of the steps and the branches that the walk came through.
    pub stats: Stats,
    /// The events, step by step, where they were asked for.
    pub trace: Vec<(String, Vec<Record>)>,
    bug: Option<Bug>,
}

/// Walks as the seed says.
#[must_use]
pub fn walk(plan: &Plan) -> Outcome {
    let mut rng = plan.rng();
    run(plan, false, |world, taken| {
        if taken >= plan.length {
            return None;
        }
        plan.choose(world, &mut rng)
    })
}

/// Takes the steps that can be taken, one after the other, and heals then.
#[must_use]
pub fn replay(plan: &Plan, steps: &[Taken], is_traced: bool) -> Outcome {
    let mut left = steps.iter();
    run(plan, is_traced, |world, _| {
        left.find(|step| world.can_take(&step.0))
            .map(|step| step.0.clone())
    })
}

/// Steps that were taken before the machine panicked are steps, too.
fn run(
    plan: &Plan,
    is_traced: bool,
    mut next: impl FnMut(&World, usize) -> Option<Step>,
) -> Outcome {
    let mut outcome = Outcome {
        bug: plan.bug,
        ..Outcome::default()
    };
    let walked = catch_unwind(AssertUnwindSafe(|| {
        let mut world = plan.world(is_traced);
        while let Some(step) = next(&world, outcome.steps.len()) {
            outcome.steps.push(Taken(step.clone()));
            outcome.take(&mut world, &step);
        }
        ending::settle(&mut world, &mut outcome);
        world.journal.into_checker()
    }));
    outcome.stats.walks = 1;
    match walked {
        Ok(checker) => {
            outcome.stats.add_marks(checker.marks());
            outcome.violations = checker.into_violations();
        }
        Err(_) => outcome
            .violations
            .push(Violation::new(Rule::Panic, 0, "the machine panicked")),
    }
    outcome
}

impl Outcome {
    fn take(&mut self, world: &mut World, step: &Step) {
        self.stats.count(step);
        let before = world.journal.history().len();
        world.take(step, self.bug);
        self.trace(world, step, before);
    }

    fn trace(&mut self, world: &World, what: &impl Debug, before: usize) {
        if let Some(records) = world.journal.kept(before) {
            self.trace.push((format!("{what:?}"), records));
        }
    }
}

impl World {
    fn can_take(&self, step: &Step) -> bool {
        let mut steps = Vec::new();
        self.steps(&mut steps);
        self.faults(&mut steps);
        steps.contains(step)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_walks_the_same_way_each_time_and_again_from_its_steps() {
        for seed in 0..20 {
            let plan = Plan::of(seed);
            let (once, again) = (walk(&plan), walk(&plan));
            let replayed = replay(&plan, &once.steps, true);
            let names = |outcome: &Outcome| format!("{:?}", outcome.steps);
            assert_eq!(names(&once), names(&again));
            assert_eq!(names(&once), names(&replayed));
            assert_eq!(once.stats, replayed.stats);
            assert!(!replayed.trace.is_empty());
        }
    }

    #[test]
    fn walks_keep_the_rules() {
        for seed in (0..300).chain(crate::seeds::fresh()..).take(600) {
            let violations = walk(&Plan::of(seed)).violations;
            assert!(violations.is_empty(), "seed {seed}: {violations:#?}");
        }
    }
}
