//! The state machine of the lock, explored exhaustively: every order of every step, within [`Bounds`].
//!
//! Nothing is abstracted of the machine: a world has real [`LockQueue`](etcd_lock_queue::LockQueue)s, and a small server
//! executes the transactions that their requests are. The driver, the network and time are abstracted.
//!
//! | in the explorer | stands for |
//! | --- | --- |
//! | `Execute`, `Answer` | a request is executed, and its answer arrives, each at any later moment |
//! | `Fail` | a request or its answer is lost, or it is refused; one that is stranded may be executed much later |
//! | `Copy` | a deletion is executed twice. A request to enter is doubled by stranding the first copy: a driver must not repeat it silently |
//! | `Open`, `Tell`, `Swallow`, `Break` | the watches of a client are created; an event arrives, late; it is lost; the watch is lost or cancelled |
//! | `Tick` | more time than a heartbeat and its answer take: an entry may be granted until the tick after its confirmation, and a hold relied on until the one after that |
//! | `Beat`, `SlowBeat`, `Hear` | a heartbeat, answered at once or one tick later |
//! | `Rob`, `Revoke` | a stranger deletes an entry, or revokes a lease |
//! | `EndSession`, `Expire`, `Notice` | a client loses its session, and the lease ends later; or it learns of a lease that has ended |
//!
//! A heartbeat happens when time has passed since an entry was confirmed, or when nothing else can happen and it would have
//! a consequence. Revisions are not renamed: they count the writes to one queue, and their number follows from what
//! the callers have done. Of clients and tasks that want the same, the first one begins first.
//!
//! [`walk`] goes at random through larger worlds than can be explored, and has its history judged by the checker.
//!
//! `Bug`s are those of drivers. Bugs of the machine are patches in `mutants/`.

mod client;
pub mod coverage;
mod journal;
mod judge;
mod model;
mod narrate;
mod network;
mod pace;
mod server;
mod step;
mod trouble;
pub mod walk;
mod world;

use std::sync::LazyLock;

use etcd_lock_core::{LeaseId, LockName};
use stateright::{Checker, HasDiscoveries, Model};

use self::model::Explored;
use self::pace::Pace;
use self::step::Step;
use self::world::World;
use crate::checker::{Violation, judge};
use crate::history::Record;

/// How much may happen.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Bounds {
    /// The clients: of each the sessions, by lease, and of each session the tasks, by how often they want the lock.
    pub clients: Vec<Vec<(LeaseId, Vec<u8>)>>,
    /// How often in a row tasks may hand the lock over.
    pub handovers: u32,
    /// How many things may go wrong: callers give up, requests and events are lost, strangers interfere.
    pub faults: u8,
    /// How often as much time as a heartbeat takes may pass.
    pub ticks: u8,
    /// Whether holders write.
    pub writes: bool,
    pace: Pace,
}

impl Bounds {
    /// The bounds that `cargo xtask model` explores.
    #[must_use]
    pub fn usual() -> [(&'static str, Self); 7] {
        [
            (
                "two sessions of one client",
                Self::new(&[&[&[1], &[1]]], 1, 0),
            ),
            (
                "two sessions of one client, and another client",
                Self::new(&[&[&[1], &[1]], &[&[1]]], 0, 0),
            ),
            (
                "two tasks of one session that write, and time that passes",
                Self::new(&[&[&[1, 1]]], 1, 2).with_writes(),
            ),
            (
                "two clients that write",
                Self::new(&[&[&[1]], &[&[1]]], 1, 0).with_writes(),
            ),
            (
                "two tasks of one session, and another client",
                Self::new(&[&[&[1, 1]], &[&[1]]], 1, 0),
            ),
            (
                "two clients, two holds each",
                Self::new(&[&[&[2]], &[&[2]]], 1, 0),
            ),
            (
                "two clients, and time that passes",
                Self::new(&[&[&[1]], &[&[1]]], 1, 1),
            ),
        ]
    }

    /// Bounds that take minutes: the program `model` explores them when it is started with `--long`.
    #[must_use]
    pub fn long() -> [(&'static str, Self); 1] {
        [(
            "two sessions of one client, and another client",
            Self::new(&[&[&[1], &[1]], &[&[1]]], 1, 0),
        )]
    }

    /// Clients with sessions with tasks.
    #[must_use]
    pub fn new(clients: &[&[&[u8]]], faults: u8, ticks: u8) -> Self {
        let mut leases = (1..).map(|number| LeaseId::new(number).expect("it is greater than zero"));
        let mut sessions = |sessions: &[&[u8]]| {
            let sessions = sessions.iter().zip(&mut leases);
            sessions
                .map(|(tasks, lease)| (lease, tasks.to_vec()))
                .collect()
        };
        Self {
            clients: clients.iter().map(|client| sessions(client)).collect(),
            handovers: 8,
            faults,
            ticks,
            writes: false,
            pace: Pace::Coarse,
        }
    }

    /// Lets each holder write once.
    #[must_use]
    pub fn with_writes(mut self) -> Self {
        self.writes = true;
        self
    }
}

/// A deliberate bug of a driver, which the properties must notice.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum Bug {
    /// A confirmation counts from when its answer arrived.
    ConfirmedFromReceipt,
    /// An entry that was not seen for longer than a heartbeat is granted.
    GrantWithoutOwnEntry,
    /// A hold is handed over that is not confirmed any more.
    HandOverUnconfirmed,
    /// A snapshot counts for entries that were created after it.
    SnapshotOlderThanEntry,
    /// An entry whose watch reports no deletion is taken to exist.
    WatchAsEvidence,
}

impl Bug {
    /// Bounds within which it is noticed.
    #[must_use]
    pub fn bounds(self) -> Bounds {
        match self {
            Self::ConfirmedFromReceipt | Self::GrantWithoutOwnEntry | Self::WatchAsEvidence => {
                Bounds::new(&[&[&[1]], &[&[1]]], 1, 2)
            }
            Self::HandOverUnconfirmed => Bounds::new(&[&[&[1, 1]]], 1, 2),
            Self::SnapshotOlderThanEntry => Bounds::new(&[&[&[1], &[1]], &[&[1]]], 1, 0),
        }
    }

    /// The property that it breaks first.
    #[must_use]
    pub const fn breaks(self) -> &'static str {
        match self {
            Self::SnapshotOlderThanEntry => model::HEAD,
            Self::ConfirmedFromReceipt
            | Self::GrantWithoutOwnEntry
            | Self::HandOverUnconfirmed
            | Self::WatchAsEvidence => model::SEEN,
        }
    }

    /// All of them.
    pub const ALL: [Self; 5] = [
        Self::ConfirmedFromReceipt,
        Self::GrantWithoutOwnEntry,
        Self::HandOverUnconfirmed,
        Self::SnapshotOlderThanEntry,
        Self::WatchAsEvidence,
    ];
}

/// The result of exploring.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Report {
    /// How many different worlds there are.
    pub states: usize,
    /// The length of the longest path on which a world was reached first.
    pub depth: usize,
    /// Each property, and whether it is as it must be.
    pub properties: Vec<(&'static str, bool)>,
    /// The broken properties.
    pub counterexamples: Vec<Counterexample>,
}

/// How a property is broken, in as few steps as there can be.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Counterexample {
    /// The property.
    pub property: &'static str,
    /// The steps.
    pub steps: Vec<String>,
    /// The events of these steps.
    pub history: Vec<Record>,
    /// The violations that the checker finds in it. It judges a history as it stands: a wait that never ends is told by the property alone.
    pub violations: Vec<Violation>,
}

impl Report {
    /// Whether all properties are as they must be.
    #[must_use]
    pub fn is_good(&self) -> bool {
        self.properties.iter().all(|(_, good)| *good)
    }
}

/// Explores the machine as it is.
#[must_use]
pub fn explore(bounds: Bounds) -> Report {
    run(Explored { bounds, bug: None }, HasDiscoveries::All)
}

/// Explores the machine behind a driver with a deliberate bug, up to the first property that it breaks.
#[must_use]
pub fn explore_bug(bug: Bug) -> Report {
    let (bounds, bug) = (bug.bounds(), Some(bug));
    run(Explored { bounds, bug }, HasDiscoveries::AnyFailures)
}

/// On one thread, which makes the counterexamples the shortest.
fn run(explored: Explored, until: HasDiscoveries) -> Report {
    let properties = explored.properties();
    let checker = explored
        .clone()
        .checker()
        .finish_when(until)
        .spawn_bfs()
        .join();
    let mut found = checker.discoveries();
    let verdicts = properties.iter().map(|property| {
        let breaks = property.expectation.discovery_is_failure();
        (property.name, found.contains_key(property.name) != breaks)
    });
    let verdicts: Vec<_> = verdicts.collect();
    let broken = properties
        .iter()
        .filter(|property| property.expectation.discovery_is_failure());
    let counterexamples = broken.filter_map(|property| {
        let steps = found.remove(property.name)?.into_actions();
        Some(explored.counterexample(property.name, &steps))
    });
    let counterexamples = counterexamples.collect();
    Report {
        states: checker.unique_state_count(),
        depth: checker.max_depth(),
        properties: verdicts,
        counterexamples,
    }
}

impl Explored {
    /// Takes the steps that break a property once more, and writes the history of it.
    fn counterexample(&self, property: &'static str, steps: &[Step]) -> Counterexample {
        let mut world = World::new(&self.bounds);
        world.begin_history(true);
        for step in steps {
            world.take(step, self.bug);
        }
        let history = world.journal.history().to_vec();
        Counterexample {
            property,
            steps: steps.iter().map(|step| format!("{step:?}")).collect(),
            violations: judge(&history),
            history,
        }
    }
}

/// Takes steps by their names, as a counterexample has them, and returns what each led to, to be read by a person.
#[must_use]
pub fn replay(bounds: Bounds, bug: Option<Bug>, steps: &[&str]) -> Vec<String> {
    let explored = Explored { bounds, bug };
    let mut world = World::new(&explored.bounds);
    let mut seen = Vec::new();
    for name in steps {
        let next = explored.next_steps(&world).into_iter();
        let mut next = next.filter(|(step, _)| format!("{step:?}") == *name);
        let Some((_, after)) = next.next() else {
            seen.push(format!("{name} can't be taken"));
            break;
        };
        world = after;
        seen.push(format!("{name}: {world:#?}"));
    }
    seen
}

fn lock_name() -> LockName {
    static NAME: LazyLock<LockName> = LazyLock::new(|| LockName::new("a").expect("it is a name"));
    NAME.clone()
}
