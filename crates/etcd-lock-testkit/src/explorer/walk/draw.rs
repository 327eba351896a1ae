//! The choices that a seed draws: the clients, the faults that may happen, and each next step.

use fastrand::Rng;

use super::super::client::Phase;
use super::super::pace::Pace;
use super::super::step::{ClientStep, Step};
use super::super::world::World;
use super::super::{Bounds, Bug};
use super::faults::Group;

/// An answer or an event for a client that lags may arrive in one of so many steps.
const LAG: usize = 20;

/// The clients of a walk, and the faults that may happen.
#[derive(Clone, Debug)]
pub struct Plan {
    seed: u64,
    bounds: Bounds,
    groups: Vec<Group>,
    /// One of so many steps is a fault.
    calm: usize,
    /// One of so many steps may release a hold.
    holds: usize,
    /// One of so many steps may let time pass.
    haste: usize,
    pub(super) length: usize,
    pub(super) bug: Option<Bug>,
}

impl Plan {
    /// The plan that a seed draws.
    #[must_use]
    pub fn of(seed: u64) -> Self {
        let mut rng = Rng::with_seed(seed);
        let clients = clients(&mut rng);
        let clients: Vec<Vec<_>> = borrowed(&clients);
        let clients: Vec<&[&[u8]]> = clients.iter().map(Vec::as_slice).collect();
        let mut bounds = Bounds::new(&clients, rng.u8(0..16), u8::MAX);
        bounds.handovers = [0, 1, 2, 8][rng.usize(0..4)];
        bounds.writes = rng.bool();
        bounds.pace = Pace::Fine;
        let groups = Group::ALL.into_iter().filter(|_| rng.usize(0..10) < 6);
        Self {
            seed,
            bounds,
            groups: groups.collect(),
            calm: rng.usize(3..16),
            holds: [1, 5, 40][rng.usize(0..3)],
            haste: [3, 10][rng.usize(0..2)],
            length: rng.usize(40..220),
            bug: None,
        }
    }

    /// The same behind a driver with a deliberate bug.
    #[must_use]
    pub const fn with_bug(mut self, bug: Bug) -> Self {
        self.bug = Some(bug);
        self
    }

    /// The randomness of the steps.
    pub(super) fn rng(&self) -> Rng {
        Rng::with_seed(self.seed ^ 0x5745_504c)
    }

    pub(super) fn world(&self, is_kept: bool) -> World {
        let mut world = World::new(&self.bounds);
        world.begin_leases();
        world.begin_history(is_kept);
        world
    }

    pub(super) fn choose(&self, world: &World, rng: &mut Rng) -> Option<Step> {
        let callers = || world.clients.iter().flat_map(|client| &client.callers);
        if callers().all(|caller| caller.wants == 0 && caller.phase == Phase::Idle) {
            return None;
        }
        if world.faults > 0
            && rng.usize(0..self.calm) == 0
            && let Some(fault) = self.fault(world, rng)
        {
            return Some(fault);
        }
        let mut steps = Vec::new();
        world.steps(&mut steps);
        if rng.usize(0..self.holds) > 0 {
            let is_release = |step: &Step| matches!(step, Step::Of(_, ClientStep::Release(_)));
            steps.retain(|step| !is_release(step));
        }
        if rng.usize(0..LAG) > 0 {
            steps.retain(|step| !is_late(world, step));
        }
        choose(steps, self.haste, rng)
    }

    /// One of a group that is drawn first, so that rare ones are not drowned.
    fn fault(&self, world: &World, rng: &mut Rng) -> Option<Step> {
        let group = rng.choice(self.groups.iter().copied())?;
        let mut faults = Vec::new();
        world.faults(&mut faults);
        let faults = faults.into_iter().filter(|step| Group::of(step) == group);
        rng.choice(faults.collect::<Vec<_>>())
    }
}

/// Whether a step is an answer or an event for a client that lags.
fn is_late(world: &World, step: &Step) -> bool {
    let Step::Of(client, ClientStep::Answer(_) | ClientStep::Hear(_) | ClientStep::Tell(_)) = step
    else {
        return false;
    };
    world.clients[*client].is_troubled(world.now)
}

/// Any of the steps, and one of so many lets time pass.
pub(super) fn choose(mut steps: Vec<Step>, haste: usize, rng: &mut Rng) -> Option<Step> {
    if steps.last() == Some(&Step::Tick) && steps.len() > 1 && rng.usize(0..haste) > 0 {
        steps.pop();
    }
    rng.choice(steps)
}

/// For each client its sessions, and for each session how often its tasks want the lock.
fn clients(rng: &mut Rng) -> Vec<Vec<Vec<u8>>> {
    if rng.usize(0..20) == 0 {
        // A crowd, which enters without reading.
        let crowd = (0..rng.usize(6..9)).map(|_| vec![1]).collect();
        return vec![crowd, vec![vec![2]]];
    }
    let clients = [1, 2, 2, 2, 3, 3, 3, 4][rng.usize(0..8)];
    let mut wants = |most: u8| rng.u8(1..=most);
    let clients = (0..clients).map(|_| {
        let sessions = (0..wants(3)).map(|_| {
            let tasks = wants(3);
            (0..tasks).map(|_| wants(3)).collect()
        });
        sessions.collect()
    });
    clients.collect()
}

fn borrowed(clients: &[Vec<Vec<u8>>]) -> Vec<Vec<&[u8]>> {
    let clients = clients.iter();
    clients
        .map(|client| client.iter().map(Vec::as_slice).collect())
        .collect()
}
