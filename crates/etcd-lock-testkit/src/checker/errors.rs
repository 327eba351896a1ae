//! A wait fails for a reason that the history tells, of that wait and its entry.
//!
//! | kind | what must have happened |
//! | --- | --- |
//! | `Busy` | it did not want to wait, and meanwhile somebody else was in the queue, or another task of its session wanted the lock |
//! | `LockTimeout` | its time was up, and meanwhile somebody else was in the queue, or was so short before that it could not know of the end, or another task of its session wanted the lock |
//! | `Timeout` | its time was up, or it did not want to wait and something disturbed it |
//! | `Lost` | its entry was deleted by others, or its lease ended or could not be renewed |
//! | `LeaseNotFound` | its lease ended |
//! | `Closed` | its session was closed |
//! | `AlreadyOpen` | meanwhile an entry of another process was under its key |
//! | `Unavailable` | something disturbed it |
//! | `PermissionDenied`, `ResourceExhausted`, `Server`, `Unauthenticated` | its client was told that etcd refuses a request so |
//! | any other | nothing could be the reason |

use etcd_lock_core::ErrorKind;

use super::bounds::{attempt, notice};
use super::report::Report;
use super::state::{Lease, State, Wait};
use super::{Rule, Violation};
use crate::history::{Fact, How, Micros};

/// A process's timers are as fine as this.
const TICK: Micros = 10_000;

pub(super) fn check(state: &State, fact: &Fact, report: &mut Report) {
    let Fact::Failed { wait, kind, .. } = fact else {
        return;
    };
    let Some(of) = state.waits.get(wait) else {
        return;
    };
    report.mark(mark(*kind));
    let Err(wrong) = is_entailed(state, of, *kind) else {
        return;
    };
    let Wait { client, key, .. } = of;
    let text = format!("wait {wait} of {client:?} for {key} failed with {kind:?}, and {wrong}");
    let violation = Violation::new(Rule::Error, state.now, text);
    report.violated(violation.by(*client).of_wait(*wait));
}

const fn mark(kind: ErrorKind) -> &'static str {
    match kind {
        ErrorKind::Busy => "wait that fails as busy",
        ErrorKind::Closed => "wait that fails as closed",
        ErrorKind::LeaseNotFound => "wait that fails without its lease",
        ErrorKind::Lost => "wait that fails as lost",
        ErrorKind::LockTimeout | ErrorKind::Timeout => "wait that times out",
        ErrorKind::Unavailable => "wait that fails as unavailable",
        _ => "wait that fails otherwise",
    }
}

fn is_entailed(state: &State, wait: &Wait, kind: ErrorKind) -> Result<(), &'static str> {
    let lease = state.leases.get(&wait.lease);
    let disturbed = state.disturbed_since(wait.client.process, wait.asked);
    let entailed = |is: bool, otherwise| if is { Ok(()) } else { Err(otherwise) };
    match kind {
        ErrorKind::Busy => entailed(
            wait.how == How::Try && was_busy(state, wait),
            "nobody else wanted the lock, or it was ready to wait",
        ),
        ErrorKind::LockTimeout => match wait.how {
            How::Timeout(bound) if !is_up(state, wait, bound) => Err("its time was not up"),
            How::Timeout(_) => entailed(
                was_busy(state, wait) || may_seem_busy(state, wait),
                "nobody else wanted the lock",
            ),
            _ => Err("it had no time that could be up"),
        },
        ErrorKind::Timeout => match wait.how {
            How::Lock => Err("it was ready to wait for as long as it takes"),
            How::Try => entailed(disturbed, "nothing disturbed it"),
            How::Timeout(bound) => entailed(is_up(state, wait, bound), "its time was not up"),
        },
        ErrorKind::Lost => entailed(
            was_deleted(state, wait)
                || lease.is_none_or(|lease| {
                    let last_renewal = state.now.saturating_sub(lease.ttl);
                    lease.ended.is_some()
                        || state.disturbed_since(wait.client.process, last_renewal)
                }),
            "nobody had deleted its entry, and its lease could be renewed",
        ),
        ErrorKind::LeaseNotFound => {
            entailed(lease.is_none_or(Lease::was_missing), "its lease is there")
        }
        ErrorKind::Closed => entailed(
            lease.is_none_or(|lease| lease.closed.is_some()),
            "its session was not closed",
        ),
        ErrorKind::AlreadyOpen => entailed(
            was_taken_by_another_process(state, wait),
            "no other process had an entry under its key",
        ),
        ErrorKind::Unavailable => entailed(disturbed, "nothing disturbed it"),
        ErrorKind::PermissionDenied
        | ErrorKind::ResourceExhausted
        | ErrorKind::Server
        | ErrorKind::Unauthenticated => entailed(
            state.was_refused(wait.client, kind, wait.asked),
            "its client was not told of such a refusal",
        ),
        _ => Err("nothing can be the reason for that"),
    }
}

fn is_up(state: &State, wait: &Wait, bound: Micros) -> bool {
    state.own_time_since_at_most(wait.client, wait.asked) + TICK >= bound
}

/// Whether something that happened then can be the reason why a wait fails: it was on, or it joined another task of its
/// session, which could not know yet. That takes as long as a claim may outlive its entry.
fn may_be_told(state: &State, wait: &Wait, at: Micros) -> bool {
    let ttl = state.leases.get(&wait.lease).map_or(0, |lease| lease.ttl);
    let known = at.max(state.quiet_since(wait.client.process)) + notice(ttl);
    known >= wait.asked
}

/// Whether somebody other than its client deleted an entry of its key while it waited, or just before.
fn was_deleted(state: &State, wait: &Wait) -> bool {
    let mut deleted = state.deleted_by_others(wait);
    deleted.any(|gone| may_be_told(state, wait, gone.at))
}

/// Whether another process had an entry under its key while it waited: it shares the lease, and a history says so by the
/// number 0, which is none.
fn was_taken_by_another_process(state: &State, wait: &Wait) -> bool {
    let lock = state.lock(&wait.lock);
    let mut queue = lock.queue.iter();
    let mut gone = lock.gone.iter();
    let is = |key: &str, lease: i64| key == wait.key && lease != wait.lease;
    queue.any(|(entry, queued)| is(&entry.key, queued.lease))
        || gone.any(|(entry, gone)| is(&entry.key, gone.lease) && may_be_told(state, wait, gone.at))
}

/// Whether somebody else was in the queue while it asked, or in the way inside its own session.
fn was_busy(state: &State, wait: &Wait) -> bool {
    let lock = state.lock(&wait.lock);
    let there = |key: &str, since: Micros| key != wait.key || since < wait.asked;
    let mut entries = lock.queue.iter();
    let mut gone = lock.gone.iter();
    let of_session = |client, key: &str, ended: Option<Micros>| {
        client == wait.client && key == wait.key && ended.is_none_or(|ended| ended >= wait.asked)
    };
    let mut waits = state.waits.values();
    let mut grants = state.grants.values();
    entries.any(|(entry, queued)| there(&entry.key, queued.since))
        || gone.any(|(entry, gone)| gone.at >= wait.asked && there(&entry.key, gone.since))
        || waits.any(|other| {
            let same = other.asked == wait.asked && other.ended == wait.ended;
            !same && of_session(other.client, &other.key, other.ended)
        })
        || grants.any(|grant| {
            // A release is under way for its session until it is answered, whatever etcd has done.
            let ttl = state.leases.get(&grant.lease).map_or(0, |lease| lease.ttl);
            let in_doubt = |ended| state.disturbed_since(wait.client.process, ended);
            let under_way = grant.ended.filter(|ended| !in_doubt(*ended));
            let answered = under_way.map(|ended| ended + attempt(ttl));
            of_session(grant.client, &grant.entry.key, answered)
        })
}

/// Whether an entry of somebody else was deleted so short before that it could not know.
fn may_seem_busy(state: &State, wait: &Wait) -> bool {
    let mut gone = state.lock(&wait.lock).gone.iter();
    gone.any(|(entry, gone)| entry.key != wait.key && may_be_told(state, wait, gone.at))
}

#[cfg(test)]
mod tests {
    use etcd_lock_core::ErrorKind;

    use super::super::bounds::notice;
    use super::super::testing::{Case, SECOND};
    use super::Rule::{self, Error};
    use crate::history::{Author, How};

    /// Whether a violation is found where session 1 asks, something happens, and it fails.
    fn fails(how: How, kind: ErrorKind, happens: impl Fn(&mut Case)) -> bool {
        match fails_with(how, kind, happens)[..] {
            [] => false,
            [Error] => true,
            ref other => panic!("{other:?}"),
        }
    }

    fn fails_with(how: How, kind: ErrorKind, happens: impl Fn(&mut Case)) -> Vec<Rule> {
        let mut case = Case::new();
        case.asks_how(1, how);
        case.passes(SECOND);
        happens(&mut case);
        case.fails(1, kind);
        case.rules()
    }

    fn nothing(_: &mut Case) {}

    /// It joins another task of its session, which can't know yet.
    #[test]
    fn a_deletion_is_the_reason_for_as_long_as_it_takes_to_notice_one() {
        let most = notice(6 * SECOND);
        for (before, found) in [(most, false), (most + 1, true)] {
            let mut case = Case::new();
            case.enters_without_asking(1, 5);
            case.leaves(5, Author::Stranger);
            case.passes(before);
            case.asks(1);
            case.fails(1, ErrorKind::Lost);
            assert_eq!(case.rules() == [Error], found, "{:?}", case.rules());
        }
    }

    #[test]
    fn an_entry_of_another_process_is_a_reason_and_one_of_its_own_is_not() {
        let others = |case: &mut Case| case.enters_of_another(1, 5);
        assert!(!fails(How::Lock, ErrorKind::AlreadyOpen, others));
        let own = |case: &mut Case| case.enters_without_asking(1, 5);
        assert!(fails(How::Lock, ErrorKind::AlreadyOpen, own));
    }

    #[test]
    fn a_wait_that_fails_for_no_reason_is_found() {
        for kind in [
            ErrorKind::Busy,
            ErrorKind::Closed,
            ErrorKind::InvalidArgument,
            ErrorKind::LeaseNotFound,
            ErrorKind::LockTimeout,
            ErrorKind::Lost,
            ErrorKind::PermissionDenied,
            ErrorKind::Protocol,
            ErrorKind::Server,
            ErrorKind::Timeout,
            ErrorKind::Unauthenticated,
            ErrorKind::Unavailable,
        ] {
            assert!(fails(How::Lock, kind, nothing), "{kind:?}");
        }
    }

    #[test]
    fn it_is_lost_with_its_own_entry_only() {
        let lost = |by: Author, session| {
            fails(How::Lock, ErrorKind::Lost, move |case| {
                case.enters_without_asking(session, 5);
                case.leaves(5, by);
            })
        };
        assert!(!lost(Author::Stranger, 1));
        assert!(!lost(Author::Expiry, 1));
        assert!(lost(Author::Stranger, 2), "another's");
        let own = fails_with(How::Lock, ErrorKind::Lost, |case| {
            case.enters(1, 5);
            case.leaves(5, Case::client(1));
        });
        assert_eq!(own, [Error], "its own doing");
    }

    #[test]
    fn it_is_lost_with_its_lease() {
        let ended = |case: &mut Case| case.lease_ends(1, Author::Expiry);
        assert!(!fails(How::Lock, ErrorKind::Lost, ended));
        assert!(!fails(How::Lock, ErrorKind::LeaseNotFound, ended));
        let unsure = |case: &mut Case| case.disturbs(SECOND);
        assert!(!fails(How::Lock, ErrorKind::Lost, unsure));
        assert!(fails(How::Lock, ErrorKind::LeaseNotFound, unsure));
        let long_ago = |case: &mut Case| {
            case.disturbs(SECOND);
            case.passes(7 * SECOND + 1);
        };
        assert!(fails(How::Lock, ErrorKind::Lost, long_ago));
    }

    #[test]
    fn it_is_busy_only_where_it_would_not_wait() {
        let other = |case: &mut Case| case.enters(2, 5);
        let own = |case: &mut Case| case.enters_without_asking(1, 5);
        assert!(!fails(How::Try, ErrorKind::Busy, other));
        assert!(fails(How::Try, ErrorKind::Busy, own));
        assert!(fails(How::Lock, ErrorKind::Busy, other));
    }

    #[test]
    fn it_is_busy_while_the_release_of_its_own_session_is_in_doubt() {
        let after_release = |disturbed, after| {
            let mut case = Case::new();
            case.enters(1, 5);
            case.granted(1, 5);
            case.released(5, true);
            if disturbed {
                case.disturbs(SECOND);
            }
            case.leaves(5, Case::client(1));
            case.passes(after);
            case.asks_how(1, How::Try);
            case.fails(1, ErrorKind::Busy);
            case.rules()
        };
        assert_eq!(after_release(true, 2 * SECOND), []);
        assert_eq!(after_release(false, SECOND), []);
        assert_eq!(after_release(false, SECOND + 1), [Error]);
    }

    #[test]
    fn an_entry_that_is_gone_seems_to_be_there_for_as_long_as_it_takes_to_notice() {
        let most = notice(6 * SECOND);
        for (before, found) in [(most, false), (most + 1, true)] {
            let mut case = Case::new();
            case.enters_without_asking(2, 5);
            case.leaves(5, Author::Stranger);
            case.passes(before);
            case.asks_how(1, How::Timeout(SECOND));
            case.passes(SECOND);
            case.fails(1, ErrorKind::LockTimeout);
            assert_eq!(case.rules() == [Error], found, "{:?}", case.rules());
        }
    }

    #[test]
    fn it_was_not_free_in_time_only_where_somebody_else_was_there_in_time() {
        let others = |case: &mut Case| {
            case.enters_without_asking(2, 5);
            case.passes(2 * SECOND);
        };
        let alone = |case: &mut Case| case.passes(2 * SECOND);
        assert!(!fails(
            How::Timeout(3 * SECOND),
            ErrorKind::LockTimeout,
            others
        ));
        assert!(fails(
            How::Timeout(3 * SECOND),
            ErrorKind::LockTimeout,
            alone
        ));
        assert!(fails(
            How::Timeout(4 * SECOND),
            ErrorKind::LockTimeout,
            others
        ));
        assert!(fails(How::Try, ErrorKind::LockTimeout, others));
        assert!(fails(How::Lock, ErrorKind::LockTimeout, others));
    }

    #[test]
    fn it_times_out_when_its_time_is_up() {
        let late = |case: &mut Case| case.passes(2 * SECOND);
        assert!(!fails(How::Timeout(3 * SECOND), ErrorKind::Timeout, late));
        assert!(fails(How::Timeout(4 * SECOND), ErrorKind::Timeout, late));
        assert!(fails(How::Lock, ErrorKind::Timeout, late));
        let disturbed = |case: &mut Case| case.disturbs(SECOND);
        assert!(!fails(How::Try, ErrorKind::Timeout, disturbed));
    }

    #[test]
    fn its_time_is_up_where_its_clock_jumps_as_it_asks() {
        for (jump, found) in [(2 * SECOND, false), (SECOND, true)] {
            let mut case = Case::new();
            case.asks_how(1, How::Timeout(2 * SECOND));
            case.jumps(1, jump);
            case.fails(1, ErrorKind::Timeout);
            assert_eq!(case.rules() == [Error], found, "{jump}");
        }
    }

    #[test]
    fn it_is_closed_with_its_session_and_unavailable_when_disturbed() {
        assert!(!fails(How::Lock, ErrorKind::Closed, |case| case.closes(1)));
        assert!(fails(How::Lock, ErrorKind::Closed, |case| case.closes(2)));
        let disturbed = |case: &mut Case| case.disturbs(SECOND);
        assert!(!fails(How::Lock, ErrorKind::Unavailable, disturbed));
    }

    /// It joined a request of its session that failed for that reason.
    #[test]
    fn it_is_unavailable_where_the_disturbance_ends_as_it_asks() {
        let asked_after = |pause| {
            let mut case = Case::new();
            case.disturbs(SECOND);
            case.passes(pause);
            case.asks_how(1, How::Try);
            case.fails(1, ErrorKind::Unavailable);
            case.rules()
        };
        assert_eq!(asked_after(SECOND), []);
        assert_eq!(asked_after(SECOND + 1), [Error]);
    }

    #[test]
    fn it_is_refused_as_etcd_has_refused() {
        let refused = |case: &mut Case| case.is_refused(1, ErrorKind::ResourceExhausted);
        assert!(!fails(How::Lock, ErrorKind::ResourceExhausted, refused));
        assert!(fails(How::Lock, ErrorKind::Server, refused));
    }
}
