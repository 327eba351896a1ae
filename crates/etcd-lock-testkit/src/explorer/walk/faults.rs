//! The faults of a walk, in groups that a seed allows or not.

use etcd_lock_queue::Mode;

use super::super::step::{ClientStep, Step};

/// Faults of one kind.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Group {
    /// Callers give up, try only, and don't hear of their writes.
    Callers,
    /// Requests fail, or are executed late or twice.
    Requests,
    /// Watches end, lose events or repeat them.
    Watches,
    /// Strangers delete entries, revoke leases and enter.
    Strangers,
    /// Clients lag, sleep or close sessions.
    Clients,
    /// Timers fire without being asked.
    Timers,
}

impl Group {
    pub(super) const ALL: [Self; 6] = [
        Self::Callers,
        Self::Requests,
        Self::Watches,
        Self::Strangers,
        Self::Clients,
        Self::Timers,
    ];

    /// The group of a fault.
    pub(super) const fn of(fault: &Step) -> Self {
        let Step::Of(_, step) = fault else {
            return Self::Strangers;
        };
        match step {
            ClientStep::Revoke(_) => Self::Strangers,
            ClientStep::Fail(..) | ClientStep::Copy(_) | ClientStep::SlowBeat(_) => Self::Requests,
            ClientStep::Swallow(_) | ClientStep::Break(_) | ClientStep::Repeat(_) => Self::Watches,
            ClientStep::Lag(_) | ClientStep::Sleep(_) | ClientStep::EndSession(_) => Self::Clients,
            ClientStep::Misfire(_) => Self::Timers,
            _ => Self::Callers,
        }
    }
}

/// The kind of a step, for people and for what a run must have come through.
pub(super) const fn kind(step: &Step) -> &'static str {
    let step = match step {
        Step::Tick => return "tick",
        Step::Rob(_) => return "entry deleted",
        Step::Intrude(stranger) if stranger.lease < 0 => return "negative lease",
        Step::Intrude(_) => return "stranger enters",
        Step::Leave(_) => return "stranger leaves",
        Step::Of(_, step) => step,
    };
    match step {
        ClientStep::Acquire(_, Mode::Try) => "attempt",
        ClientStep::Cancel(_) => "cancelled",
        ClientStep::DoubtWrite(_) => "write in doubt",
        ClientStep::Fail(..) => "request fails",
        ClientStep::Copy(_) => "deletion doubled",
        ClientStep::ExecuteLate(_) => "executed late",
        ClientStep::SlowBeat(_) => "late heartbeat",
        ClientStep::EndSession(_) => "session closed",
        ClientStep::Notice(_) => "lease found ended",
        ClientStep::Revoke(_) => "lease revoked",
        ClientStep::Swallow(_) => "event lost",
        ClientStep::Break(_) => "watch lost",
        ClientStep::Lag(_) => "client lags",
        ClientStep::Sleep(_) => "client sleeps",
        ClientStep::Lose(_) => "lease not kept",
        ClientStep::Misfire(_) => "timer misfires",
        ClientStep::AskPosition(_) => "position asked",
        ClientStep::Repeat(_) => "event repeated",
        _ => "step",
    }
}
