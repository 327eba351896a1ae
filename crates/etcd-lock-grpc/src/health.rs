//! The state of an endpoint, and since when it has been so.

use std::time::SystemTime;

use tokio::time::Instant;

/// How an endpoint is doing, as far as is known.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub enum EndpointState {
    /// Nothing was asked of it yet.
    Untried,
    /// It answers.
    Healthy,
    /// It was slow to connect or to answer: others are asked until a probe has been answered, and a read where it owed an
    /// answer.
    Suspect,
    /// It can't be reached, doesn't answer, or has no leader: others are asked until a probe shows that it is well again.
    Failed,
    /// It belongs to another cluster.
    Refused,
}

/// The state of one endpoint.
#[derive(Clone, Debug)]
pub(crate) struct Health {
    pub(crate) state: EndpointState,
    /// Why it isn't healthy.
    pub(crate) reason: Option<String>,
    pub(crate) since: SystemTime,
    /// When it was last found wanting.
    pub(crate) failed: Option<Instant>,
}

impl Health {
    pub(crate) fn new() -> Self {
        Self {
            state: EndpointState::Untried,
            reason: None,
            since: SystemTime::now(),
            failed: None,
        }
    }

    pub(crate) const fn is_usable(&self) -> bool {
        matches!(self.state, EndpointState::Untried | EndpointState::Healthy)
    }

    /// Moves to a state. Returns whether it is another one.
    pub(crate) fn change(&mut self, state: EndpointState, reason: Option<String>) -> bool {
        let changed = self.state != state;
        if changed {
            self.state = state;
            self.since = SystemTime::now();
        }
        if !self.is_usable() {
            self.failed = Some(Instant::now());
        }
        self.reason = reason;
        changed
    }
}
