//! What must be true of all that the world can come to.

use stateright::{Model, Property};

use super::process::{Call, Process};
use super::server::{Reply, Server};
use super::state::{Action, State};
use super::{Bounds, Bug};

/// All that processes, network and server can come to.
#[derive(Clone, Debug)]
pub(super) struct Protocol {
    pub(super) bounds: Bounds,
    pub(super) bug: Option<Bug>,
}

impl Model for Protocol {
    type State = State;
    type Action = Action;

    fn init_states(&self) -> Vec<State> {
        let Bounds {
            attempts,
            failures,
            expiries,
            one_client,
        } = &self.bounds;
        vec![State {
            server: Server::new(attempts.len()),
            processes: attempts.iter().map(|count| Process::new(*count)).collect(),
            failures: *failures,
            expiries: *expiries,
            one_client: *one_client,
        }]
    }

    fn actions(&self, state: &State, actions: &mut Vec<Action>) {
        for number in 0..state.processes.len() {
            state.steps(number, actions);
            state.faults(number, actions);
        }
    }

    fn next_state(&self, state: &State, action: Action) -> Option<State> {
        let mut next = state.clone();
        next.act(action, self.bug);
        Some(next)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        let mut properties = vec![
            Property::always(
                "writes commit under the current grant",
                |_, state: &State| !state.server.stale_write,
            ),
            Property::always(
                "who holds under a living lease is first",
                |_, state: &State| state.holds_are_true(),
            ),
            Property::always("no entry is left behind", |_, state: &State| {
                !state.is_quiet() || state.server.entries.iter().all(Option::is_none)
            }),
            Property::always("every wait ends", |_, state: &State| {
                !state.is_quiet() || state.processes.iter().all(Process::is_done)
            }),
            Property::sometimes("a grant", |_, state: &State| {
                state.processes.iter().any(|p| p.holds().is_some())
            }),
            Property::sometimes("a contended wait", |_, state: &State| state.is_contended()),
            Property::sometimes("a late execution", |_, state: &State| state.has_stray()),
            Property::sometimes("an expiry during a hold", |_, state: &State| {
                let mut holders = state.processes.iter().zip(&state.server.leases);
                holders.any(|(process, lives)| process.holds().is_some() && !lives)
            }),
            Property::sometimes("a write that is refused", |_, state: &State| {
                let refused = Some(Call::Answered(Reply::Written { committed: false }));
                state
                    .processes
                    .iter()
                    .any(|process| process.call == refused)
            }),
        ];
        if self.bounds.one_client > 1 {
            let passed_on = |_: &Self, state: &State| state.is_ahead_of_server();
            properties.push(Property::sometimes("a hold before the deletion", passed_on));
        }
        properties
    }
}
