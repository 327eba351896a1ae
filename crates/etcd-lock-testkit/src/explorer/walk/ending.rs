//! The end of a walk: nothing goes wrong any more, and everything must settle.

use fastrand::Rng;

use super::super::client::Phase;
use super::super::journal;
use super::super::step::{ClientStep, Step};
use super::super::world::World;
use super::Outcome;
use super::draw::choose;
use crate::checker::{Rule, Violation};
use crate::history::Fact;

/// How many ticks a world may need. The checker's bounds are shorter.
const PATIENCE: u64 = 140;

/// How many steps may be taken without time passing.
const ROUND: u32 = 5_000;

/// Heals a world, lets it come to rest, closes all sessions, and reports what is left.
pub(super) fn settle(world: &mut World, outcome: &mut Outcome) {
    heal(world, outcome);
    // The same for each walk, so that one of fewer steps ends as the whole one does.
    let mut rng = Rng::with_seed(0);
    let end = world.now + PATIENCE;
    while world.now < end {
        if !come_to_rest(world, outcome, &mut rng) {
            return leave(world, Rule::Livelock, "steps are taken without an end");
        }
        if world.is_settled() {
            break;
        }
        outcome.take(world, &Step::Tick);
    }
    if !world.is_settled() {
        return leave(world, Rule::Leak, "something is left when all has settled");
    }
    close(world, outcome);
    if !come_to_rest(world, outcome, &mut rng) || !world.is_idle() {
        leave(
            world,
            Rule::Leak,
            "a machine is not idle after its sessions",
        );
    }
    world.journal.write(|| Fact::Ended);
}

/// The step that is none of the world's.
#[derive(Debug)]
struct Healing;

fn heal(world: &mut World, outcome: &mut Outcome) {
    let before = world.journal.history().len();
    world.faults = 0;
    for number in 0..world.clients.len() {
        let (now, client) = (world.now, journal::name(number));
        if world.clients[number].is_troubled(now) {
            world.journal.disturbed(number, "it was in trouble");
        }
        if world.clients[number].sleeps(now) {
            world.journal.write(|| Fact::Resumed { client });
        }
        let client = world.client(number);
        client.trouble.lags_until = now;
        client.trouble.sleeps_until = now;
        for caller in &mut client.callers {
            caller.wants = 0;
        }
    }
    world.journal.write(|| Fact::Healed);
    outcome.trace(world, &Healing, before);
}

/// Takes steps until only time can pass.
fn come_to_rest(world: &mut World, outcome: &mut Outcome, rng: &mut Rng) -> bool {
    for _ in 0..ROUND {
        let mut steps = Vec::new();
        world.steps(&mut steps);
        steps.retain(|step| *step != Step::Tick);
        let Some(step) = choose(steps, 1, rng) else {
            return true;
        };
        outcome.take(world, &step);
    }
    false
}

fn leave(world: &mut World, rule: Rule, text: &str) {
    let now = world.now * world.pace.tick();
    if let Some(checker) = world.journal.checker() {
        checker.violated(Violation::new(rule, now, text));
    }
}

fn close(world: &mut World, outcome: &mut Outcome) {
    for number in 0..world.clients.len() {
        let sessions: Vec<_> = world.clients[number].sessions().collect();
        for session in sessions {
            if !world.clients[number].ended.contains(&session) {
                world.write_closed(number, session);
                world.end_session(number, session, None);
            }
            if world.server.has_lease(session) {
                outcome.take(world, &Step::Of(number, ClientStep::Expire(session)));
            }
        }
    }
}

impl World {
    /// Whether all waits have ended and nothing is left of them.
    fn is_settled(&self) -> bool {
        self.server.is_empty()
            && self.clients.iter().all(|client| {
                let mut callers = client.callers.iter();
                callers.all(|caller| caller.phase == Phase::Idle && caller.write.is_none())
                    && client.wire.is_empty()
                    && client.late.is_empty()
                    && client.watches.is_empty()
            })
    }

    fn is_idle(&self) -> bool {
        self.is_settled() && self.clients.iter().all(|client| client.queue.is_idle())
    }
}
