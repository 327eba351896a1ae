//! The properties of every world that can be reached.

use stateright::{Model, Property};

use super::client::Phase;
use super::judge::Wrong;
use super::step::Step;
use super::world::World;
use super::{Bounds, Bug};

pub(super) const HEAD: &str = "head: a granted entry is the head";
pub(super) const SEEN: &str = "seen: a granted entry was seen of late";

/// All worlds within bounds.
#[derive(Clone, Debug)]
pub(super) struct Explored {
    pub(super) bounds: Bounds,
    pub(super) bug: Option<Bug>,
}

impl Model for Explored {
    type State = World;
    type Action = Step;

    fn init_states(&self) -> Vec<World> {
        vec![World::new(&self.bounds)]
    }

    fn actions(&self, world: &World, steps: &mut Vec<Step>) {
        world.steps(steps);
        world.faults(steps);
    }

    fn next_state(&self, world: &World, step: Step) -> Option<World> {
        let mut next = world.clone();
        next.take(&step, self.bug);
        Some(next)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        vec![
            Property::always(HEAD, |_, world: &World| {
                world.wrong != Some(Wrong::NotTheHead)
            }),
            Property::always(SEEN, |_, world: &World| world.wrong != Some(Wrong::NoEntry)),
            Property::always(
                "tokens: each grant has a greater token",
                |_, world: &World| world.wrong != Some(Wrong::Token),
            ),
            Property::always(
                "fencing: writes commit under the latest grant",
                |_, world: &World| world.wrong != Some(Wrong::StaleWrite),
            ),
            Property::always(
                "losses: what callers are told is true",
                |_, world: &World| world.wrong != Some(Wrong::FalseLoss),
            ),
            Property::always(
                "deaf: a heartbeat ends a hold without entry",
                |_, world: &World| world.wrong != Some(Wrong::DeafHold),
            ),
            Property::always(
                "exclusion: claims exclude each other",
                |_, world: &World| world.claims_are_exclusive(),
            ),
            Property::always("cleanup: no orphan at rest", |_, world: &World| {
                !world.is_done() || !world.is_at_rest() || world.server.entries().is_empty()
            }),
            Property::always("progress: every wait ends", |_, world: &World| {
                world.is_done() || !world.is_at_rest()
            }),
        ]
    }
}

impl World {
    /// No two callers believe to hold the lock, but for the time within which the one whose entry a stranger deleted must
    /// find that out. A caller whose entry is live is right.
    fn claims_are_exclusive(&self) -> bool {
        let mut true_claims = 0;
        for (number, client) in self.clients.iter().enumerate() {
            for (session, _) in client.claims(self.now) {
                let Some(entry) = client.queue.entry(session) else {
                    return false;
                };
                let robbed = self.robbed.get(&entry);
                if self.server.is_live(&entry) {
                    true_claims += 1;
                    if !self.is_head(number, &entry) {
                        return false;
                    }
                } else if robbed.is_none_or(|at| self.now - at > self.pace.valid()) {
                    return false;
                }
            }
        }
        true_claims <= 1
    }

    /// Whether all callers have had the lock as often as they wanted it, or were told that they don't get it.
    fn is_done(&self) -> bool {
        let mut callers = self.clients.iter().flat_map(|client| &client.callers);
        callers.all(|caller| caller.wants == 0 && caller.phase == Phase::Idle)
    }
}
