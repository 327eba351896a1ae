//! The faults of a walk, in groups that a seed allows or not.

use etcd_lock_queue::Mode;

use super::super::step::{Step, What};

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
        let Step::Of(_, what) = fault else {
            return Self::Strangers;
        };
        match what {
            What::Revoke(_) => Self::Strangers,
            What::Fail(..) | What::Copy(_) | What::SlowBeat(_) => Self::Requests,
            What::Swallow(_) | What::Break(_) | What::Repeat(_) => Self::Watches,
            What::Lag(_) | What::Sleep(_) | What::EndSession(_) => Self::Clients,
            What::Misfire(_) => Self::Timers,
            _ => Self::Callers,
        }
    }
}

/// The kind of a step, for people and for what a run must have come through.
pub(super) const fn kind(step: &Step) -> &'static str {
    let what = match step {
        Step::Tick => return "tick",
        Step::Rob(_) => return "entry deleted",
        Step::Intrude(stranger) if stranger.lease < 0 => return "negative lease",
        Step::Intrude(_) => return "stranger enters",
        Step::Leave(_) => return "stranger leaves",
        Step::Of(_, what) => what,
    };
    match what {
        What::Acquire(_, Mode::Try) => "attempt",
        What::Cancel(_) => "cancelled",
        What::DoubtWrite(_) => "write in doubt",
        What::Fail(..) => "request fails",
        What::Copy(_) => "deletion doubled",
        What::ExecuteLate(_) => "executed late",
        What::SlowBeat(_) => "late heartbeat",
        What::EndSession(_) => "session closed",
        What::Notice(_) => "lease found ended",
        What::Revoke(_) => "lease revoked",
        What::Swallow(_) => "event lost",
        What::Break(_) => "watch lost",
        What::Lag(_) => "client lags",
        What::Sleep(_) => "client sleeps",
        What::Lose(_) => "lease not kept",
        What::Misfire(_) => "timer misfires",
        What::AskPosition(_) => "position asked",
        What::Repeat(_) => "event repeated",
        _ => "step",
    }
}
