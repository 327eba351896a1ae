//! How long a claim may outlive its entry: the two bounds that the checker knows, and no others.
//!
//! A session reads its entries once a heartbeat H, and an attempt to read takes at most A. So a claim ends within **H + A** of the claimer's own clock while
//! its reads are answered. While they aren't it ends with what the last answer vouches for, **nine tenths of the time to live**.

use super::state::{Gone, Grant, State};
use crate::history::{Author, Client, Micros, Mode};

/// A heartbeat, for a time to live.
const fn heartbeat(ttl: Micros) -> Micros {
    if ttl / 3 < 5_000_000 {
        ttl / 3
    } else {
        5_000_000
    }
}

/// An attempt to read.
pub(super) const fn attempt(ttl: Micros) -> Micros {
    let half = heartbeat(ttl) / 2;
    if half < 2_000_000 { half } else { 2_000_000 }
}

/// How long it takes to notice something by reads: one begins once a heartbeat, and is answered within an attempt.
pub(super) const fn notice(ttl: Micros) -> Micros {
    heartbeat(ttl) + attempt(ttl)
}

/// How much of a time to live may be relied on.
const fn trusted(ttl: Micros) -> Micros {
    ttl / 10 * 9
}

/// Why a claim under an entry that is gone is too old, if it is.
pub(super) fn outlived(state: &State, grant: &Grant, gone: &Gone) -> Option<String> {
    match gone.by {
        // Its own client has deleted it, so it knows.
        Author::Client(client) if client == grant.client => {
            return Some("its own client had deleted it".to_owned());
        }
        // The margin of a tenth is there so that the claim ends before the lease does.
        Author::Expiry => return Some("its lease had expired".to_owned()),
        _ => {}
    }
    let lease = state.leases.get(&gone.lease);
    // A caller that relies on its lease alone has asked nobody to look after its entry: only the fence guards what it does.
    // It is told of the end of the lease by the keep-alives, as a guard is of the end of an entry by reads.
    let since = match grant.mode {
        Mode::Guard => gone.at,
        // A lease that has come back is kept alive like any other: that it was gone meanwhile is told to nobody.
        Mode::Lease => {
            let ended = lease.filter(|lease| !lease.exists);
            ended.and_then(|lease| lease.ended)?.0.max(gone.at)
        }
    };
    let ttl = lease.map_or(0, |lease| lease.ttl);
    let passed = state.own_time_since(grant.client, since);
    if passed > trusted(ttl) {
        return Some(format!(
            "it was gone for {passed} us of its own clock, more than nine tenths of {ttl}"
        ));
    }
    let (answered, most) = answered_since(state, grant.client, since, ttl);
    (answered > most).then(|| {
        format!(
            "it was gone for {answered} undisturbed us of its own clock, and {most} are allowed"
        )
    })
}

/// How much time has passed for a client since, by its own clock and without a disturbance, and how much it needs at most to notice something.
pub(super) fn answered_since(
    state: &State,
    client: Client,
    since: Micros,
    ttl: Micros,
) -> (Micros, Micros) {
    let quiet = since.max(state.quiet_since(client.process));
    let answered = if quiet < state.now {
        state.own_time_since(client, quiet)
    } else {
        0
    };
    (answered, notice(ttl))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bounds_are_those_of_the_design() {
        let (second, minute) = (1_000_000, 60_000_000);
        assert_eq!(heartbeat(3 * second), second);
        assert_eq!(heartbeat(minute), 5 * second);
        assert_eq!(attempt(3 * second), second / 2);
        assert_eq!(attempt(minute), 2 * second);
        assert_eq!(trusted(10 * second), 9 * second);
    }
}
