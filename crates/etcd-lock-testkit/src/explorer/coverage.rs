//! The transitions of the machine that were taken, and the outcomes that callers were told.

use std::collections::BTreeSet;
use std::sync::{Mutex, PoisonError};

use etcd_lock_queue::Stage::{Entering, Held, Idle, InDoubt, Releasing, Waiting};
use etcd_lock_queue::{Failure, Input, LockQueue, Output, Stage, Ticket, Timer};

use super::client::Client;

/// The stage of an entry before an input, the input, and the stage after.
type Transition = (Stage, &'static str, Stage);

/// The transitions that were seen since the program began.
static SEEN: Mutex<Seen> = Mutex::new(Seen {
    taken: BTreeSet::new(),
    told: BTreeSet::new(),
});

struct Seen {
    taken: BTreeSet<Transition>,
    told: BTreeSet<&'static str>,
}

/// All that callers can be told, and why exploring can't lead there.
const TELLINGS: [(&str, Option<&str>); 9] = [
    ("busy", None),
    ("deleted", None),
    ("foreign", Some("each lease belongs to one client here")),
    ("granted", None),
    ("handed over", None),
    ("lost", None),
    ("refused", None),
    ("released", None),
    ("session lost", None),
];

pub(super) fn note(before: &LockQueue, input: &Input, client: &Client) {
    let changes = client.sessions().filter_map(|session| {
        let (before, after) = (before.stage(session), client.queue.stage(session));
        (before != after).then_some((before, kind(input), after))
    });
    for change in changes {
        seen(|seen| seen.taken.insert(change));
    }
}

pub(super) fn tell(output: &Output) {
    let what = match output {
        Output::Granted { handover: 0, .. } => "granted",
        Output::Granted { .. } => "handed over",
        Output::Failed(_, Failure::Busy) => "busy",
        Output::Failed(_, Failure::Deleted) => "deleted",
        Output::Failed(_, Failure::Foreign) => "foreign",
        Output::Failed(_, Failure::Refused) => "refused",
        Output::Failed(_, Failure::SessionLost) => "session lost",
        Output::Released(_) => "released",
        Output::Lost(_) => "lost",
        _ => return,
    };
    seen(|seen| seen.told.insert(what));
}

fn seen<T>(access: impl FnOnce(&mut Seen) -> T) -> T {
    access(&mut SEEN.lock().unwrap_or_else(PoisonError::into_inner))
}

/// Prints what was seen, and what never was with the reason. Returns whether every reason is there, and true.
#[must_use]
pub fn report() -> bool {
    seen(|seen| {
        println!(
            "{} transitions of the machine were taken:",
            seen.taken.len()
        );
        for (before, input, after) in &seen.taken {
            println!("    {before:?} ─ {input} ─► {after:?}");
        }
        let tellings = TELLINGS.map(|(telling, reason)| {
            let is_seen = seen.told.contains(telling);
            is_explained(&format!("\"{telling}\""), is_seen, reason)
        });
        let transitions = ALL.map(|(transition, reason)| {
            let is_seen = seen.taken.contains(&transition);
            is_explained(&format!("{transition:?}"), is_seen, reason)
        });
        let is_listed = |taken: &&Transition| !ALL.iter().any(|(listed, _)| listed == *taken);
        let unlisted: Vec<_> = seen.taken.iter().filter(is_listed).collect();
        for transition in &unlisted {
            println!("{transition:?} was taken and is not in the list");
        }
        let mut explained = tellings.into_iter().chain(transitions);
        explained.all(|explained| explained) && unlisted.is_empty()
    })
}

fn is_explained(what: &str, is_seen: bool, reason: Option<&str>) -> bool {
    match reason {
        Some(reason) if !is_seen => println!("    never {what}: {reason}"),
        Some(_) => println!("{what} has a reason never to be seen, and was seen"),
        None if !is_seen => println!("{what} was never seen"),
        None => {}
    }
    is_seen == reason.is_none()
}

const fn kind(input: &Input) -> &'static str {
    match input {
        Input::Acquire { .. } => "acquire",
        Input::Cancel(..) => "cancel",
        Input::Release(..) => "release",
        Input::WriteSent(..) | Input::WriteAnswered(..) => "write",
        Input::Replied { request, .. } => match request {
            Ticket::Enter(_) => "entered",
            Ticket::Delete(_) => "deleted",
            Ticket::Snapshot => "snapshot",
            _ => "read",
        },
        Input::Failed(..) => "failure",
        Input::Observed { .. } => "heartbeat",
        Input::Deleted(..) => "event",
        Input::SessionEnded(_) => "session ended",
        Input::Fired(Timer::Expired(_)) => "expiry",
        Input::Fired(_) => "timer",
        _ => "watch",
    }
}

/// Two faults lead there, and one is explored.
const TWO_FAULTS: Option<&str> = Some("it takes two faults");

/// All transitions that the machine takes within the usual bounds, and others that it could take, with why it never does.
#[rustfmt::skip]
const ALL: [(Transition, Option<&str>); 58] = [
    ((Idle, "acquire", Entering), None),
    ((Idle, "heartbeat", Releasing), None),
    ((Idle, "read", Releasing), Some("no entry here is both handed over and so old that it is watched and read")),
    ((Entering, "cancel", Idle), TWO_FAULTS),
    ((Entering, "entered", Idle), None),
    ((Entering, "entered", Waiting), None),
    ((Entering, "entered", Held), None),
    ((Entering, "entered", Releasing), None),
    ((Entering, "failure", Idle), None),
    ((Entering, "failure", InDoubt), None),
    ((Entering, "session ended", Idle), None),
    ((InDoubt, "acquire", Entering), None),
    ((InDoubt, "heartbeat", Releasing), None),
    ((InDoubt, "read", Releasing), None),
    ((InDoubt, "session ended", Idle), TWO_FAULTS),
    ((InDoubt, "timer", Entering), None),
    ((Waiting, "cancel", Held), None),
    ((Waiting, "cancel", Releasing), None),
    ((Waiting, "deleted", Held), None),
    ((Waiting, "entered", Held), None),
    ((Waiting, "event", Idle), None),
    ((Waiting, "event", Entering), None),
    ((Waiting, "event", Held), None),
    ((Waiting, "failure", Releasing), None),
    ((Waiting, "heartbeat", Idle), None),
    ((Waiting, "heartbeat", Entering), None),
    ((Waiting, "heartbeat", Held), None),
    ((Waiting, "read", Idle), None),
    ((Waiting, "read", Entering), None),
    ((Waiting, "read", Held), None),
    ((Waiting, "release", Held), None),
    ((Waiting, "session ended", Idle), None),
    ((Waiting, "snapshot", Idle), None),
    ((Waiting, "snapshot", Entering), None),
    ((Waiting, "snapshot", Held), None),
    ((Held, "cancel", Releasing), None),
    ((Held, "entered", Idle), None),
    ((Held, "event", Idle), None),
    ((Held, "event", Entering), None),
    ((Held, "expiry", Releasing), None),
    ((Held, "heartbeat", Idle), None),
    ((Held, "heartbeat", Entering), None),
    ((Held, "read", Idle), None),
    ((Held, "read", Entering), None),
    ((Held, "release", Releasing), None),
    ((Held, "session ended", Idle), None),
    ((Held, "snapshot", Idle), None),
    ((Held, "snapshot", Entering), None),
    ((Releasing, "deleted", Idle), None),
    ((Releasing, "deleted", Entering), None),
    ((Releasing, "deleted", InDoubt), None),
    ((Releasing, "entered", Idle), None),
    ((Releasing, "event", Idle), Some("an own entry that is being deleted is not watched")),
    ((Releasing, "heartbeat", Idle), Some("its deletion is sent again first")),
    ((Releasing, "read", Idle), None),
    ((Releasing, "session ended", Idle), None),
    ((Releasing, "snapshot", Idle), None),
    ((Releasing, "snapshot", Entering), None),
];
