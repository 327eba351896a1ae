//! The lock protocol as a model that is checked exhaustively: every order of every step, within [`Bounds`].
//!
//! The simulation runs the real code through a few of all possible histories; this runs an abstraction of it through all.
//!
//! | in the model | in `etcd-lock-session` |
//! | --- | --- |
//! | `Process::enter`, `Server::enter` | `Attempt::enter`: one transaction, guarded by the key's absence |
//! | `Process::hear` | `Attempt::entered`; an entry that is there already is taken over |
//! | `BecomeFirst`, `BeTold` | `Attempt::wait`: the news of the grant may be old when it is heard |
//! | `TakeOver` | `Line::turn` after `note_over`: the hold of another session of the same client is over, and its key is not gone |
//! | `Process::give_up`, `leave` | `Drop for Attempt`, `clean_up`; `Release` and `insist` at the end of a hold |
//! | `Process::fail`, `TidyUp` | `Entry::Unknown`, `Doubts`, `Lookout`; the key's permit lets it look only while no attempt is busy |
//! | `Repeat` | `Attempt::insist` sends again what got no answer |
//! | `Server::delete`, `Server::write` | `Inner::delete`, `FencedTxn::commit`: both compare the create revision |
//! | `Notice` | the watch of the own key, `Attempt::look`, `Session::lost` |
//!
//! A request may be lost, or executed long after its caller has gone; a reply may be lost; a lease may end at any moment,
//! which stands for pauses, partitions and crashes. Every run is finite, so what holds wherever nothing more can happen is
//! what every run comes to.
//!
//! A process of the model is a session. Left out: hand-overs between tasks of one session, the details of watches and
//! lines, and time, so also that a key is looked after for a limited time only: the model takes that to be longer than any
//! request takes.

mod model;
mod process;
mod server;
mod state;

use stateright::{Checker, HasDiscoveries, Model};

use self::model::Protocol;

/// How much may happen.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Bounds {
    /// How often each process wants the lock: as many processes as there are numbers.
    pub attempts: Vec<u8>,
    /// How many of them, from the first on, are sessions of one client: they hear at once when a hold of theirs is over.
    pub one_client: usize,
    /// How many requests may fail with an unknown outcome, or be sent again, in all.
    pub failures: u8,
    /// How many leases may end.
    pub expiries: u8,
}

impl Bounds {
    /// What `cargo xtask model` checks: three processes, and two that come back and for which more goes wrong, apart and as
    /// sessions of one client.
    #[must_use]
    pub fn full() -> [Self; 3] {
        let three = Self {
            attempts: vec![1, 1, 1],
            one_client: 2,
            failures: 2,
            expiries: 1,
        };
        let two = Self {
            attempts: vec![2, 2],
            one_client: 0,
            failures: 2,
            expiries: 2,
        };
        let together = Self {
            one_client: 2,
            ..two.clone()
        };
        [three, two, together]
    }

    /// Little enough for a test without optimisations.
    #[must_use]
    pub fn small() -> Self {
        Self {
            attempts: vec![2, 1],
            one_client: 2,
            failures: 2,
            expiries: 1,
        }
    }
}

/// A deliberate bug, which the properties must notice.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum Bug {
    /// A deletion takes whatever is under the key.
    DeleteWithoutCompare,
    /// A hold under which a write may still be executed is passed on to another session of the client.
    PassedOnInDoubt,
    /// An entry that was asked for twice is not looked after once the second request is answered.
    RepeatForgotten,
    /// After an unknown outcome the same key is used again at once, while the server still tidies up by the key's name:
    /// what a repeated `Lock` of etcd's own with the same lease does.
    RetryUnsettled,
    /// A wait that is dropped leaves its entry.
    WithdrawalForgotten,
    /// A fenced write is committed whoever holds the lock.
    WriteWithoutCompare,
}

impl Bug {
    /// All of them.
    pub const ALL: [Self; 6] = [
        Self::DeleteWithoutCompare,
        Self::PassedOnInDoubt,
        Self::RepeatForgotten,
        Self::RetryUnsettled,
        Self::WithdrawalForgotten,
        Self::WriteWithoutCompare,
    ];
}

/// What checking has found.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Report {
    /// How many different states there are.
    pub states: usize,
    /// The length of the longest path on which a state was reached first.
    pub depth: usize,
    /// Each property, and whether it is as it must be.
    pub properties: Vec<(&'static str, bool)>,
    /// The broken property and the steps that break it, as few as there can be.
    pub counterexample: Option<(&'static str, Vec<String>)>,
}

impl Report {
    /// Whether all properties are as they must be.
    #[must_use]
    pub fn is_good(&self) -> bool {
        self.properties.iter().all(|(_, good)| *good)
    }
}

/// Checks the protocol as it is.
#[must_use]
pub fn check(bounds: Bounds) -> Report {
    explore(Protocol { bounds, bug: None }, HasDiscoveries::All)
}

/// Checks the protocol with a deliberate bug, up to the first property that it breaks.
#[must_use]
pub fn check_bug(bounds: Bounds, bug: Bug) -> Report {
    let bug = Some(bug);
    explore(Protocol { bounds, bug }, HasDiscoveries::AnyFailures)
}

/// On one thread, which makes the counterexamples the shortest.
fn explore(protocol: Protocol, until: HasDiscoveries) -> Report {
    let properties = protocol.properties();
    let checker = protocol.checker().finish_when(until).spawn_bfs().join();
    let mut found = checker.discoveries();
    let verdict = properties.iter().map(|property| {
        let breaks = property.expectation.discovery_is_failure();
        (property.name, found.contains_key(property.name) != breaks)
    });
    let verdict: Vec<_> = verdict.collect();
    let mut broken = properties
        .iter()
        .filter(|property| property.expectation.discovery_is_failure())
        .map(|property| property.name);
    let counterexample = broken.find_map(|name| {
        let steps = found.remove(name)?.into_actions();
        Some((name, steps.iter().map(|step| format!("{step:?}")).collect()))
    });
    Report {
        states: checker.unique_state_count(),
        depth: checker.max_depth(),
        properties: verdict,
        counterexample,
    }
}
