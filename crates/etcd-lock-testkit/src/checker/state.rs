//! The state of the world after each record of a history: queues, leases, clients, waits, grants and disturbances.

use std::collections::{BTreeMap, BTreeSet};

use etcd_lock_core::ErrorKind;

use crate::history::{Author, Client, Entry, How, Micros, Mode};

mod changes;
mod clocks;

use clocks::Clocks;

/// All that the rules look at.
#[derive(Clone, Debug, Default)]
pub(super) struct State {
    pub(super) now: Micros,
    pub(super) locks: BTreeMap<String, Lock>,
    pub(super) leases: BTreeMap<i64, Lease>,
    pub(super) waits: BTreeMap<u64, Wait>,
    pub(super) grants: BTreeMap<u64, Grant>,
    pub(super) died: BTreeMap<Client, Micros>,
    pub(super) healed: Option<Micros>,
    /// The kinds of refusals that clients were told of.
    refused: Vec<(Client, ErrorKind, Micros)>,
    /// When the last disturbance of everybody is over, and that of single processes.
    quiet_since: Micros,
    quiet_since_of: BTreeMap<u32, Micros>,
    clocks: Clocks,
}

/// One lock's queue on the server, and what its clients have done with it.
#[derive(Clone, Debug, Default)]
pub(super) struct Lock {
    pub(super) queue: BTreeMap<Entry, Queued>,
    pub(super) gone: BTreeMap<Entry, Gone>,
    /// The entries that were granted to anybody, with the highest number of hand-overs.
    pub(super) granted: BTreeMap<Entry, u64>,
    pub(super) first_granted: BTreeMap<Entry, Micros>,
    /// When its queue last came on: an entry came to be the head, was granted, given up or deleted.
    pub(super) moved: Micros,
}

/// An entry that exists.
#[derive(Clone, Debug)]
pub(super) struct Queued {
    pub(super) lease: i64,
    pub(super) since: Micros,
    /// The client that neither waits nor holds with it any more, and since when.
    pub(super) given_up: Option<(Client, Micros)>,
    /// It may be of a wait that had ended before it was created.
    pub(super) may_be_late: bool,
}

/// An entry that was deleted.
#[derive(Clone, Debug)]
pub(super) struct Gone {
    pub(super) at: Micros,
    pub(super) by: Author,
    pub(super) since: Micros,
    pub(super) lease: i64,
    /// Nobody had waited with it for as long as it was there, as far as can be told.
    pub(super) was_unwanted: bool,
}

#[derive(Clone, Debug)]
pub(super) struct Lease {
    pub(super) owner: Client,
    pub(super) ttl: Micros,
    /// The last time, as of the end: one that has ended comes back where a repeated request for it is executed late.
    pub(super) began: Option<Micros>,
    pub(super) ended: Option<(Micros, Author)>,
    /// Whether it is on the server.
    pub(super) exists: bool,
    pub(super) closed: Option<Micros>,
}

#[derive(Clone, Debug)]
pub(super) struct Wait {
    pub(super) client: Client,
    pub(super) lock: String,
    pub(super) key: String,
    pub(super) lease: i64,
    pub(super) how: How,
    pub(super) asked: Micros,
    pub(super) ended: Option<Micros>,
    pub(super) granted: bool,
    pub(super) failed: Option<ErrorKind>,
}

#[derive(Clone, Debug)]
pub(super) struct Grant {
    pub(super) client: Client,
    pub(super) lock: String,
    pub(super) entry: Entry,
    pub(super) handover: u64,
    pub(super) mode: Mode,
    pub(super) lease: i64,
    /// Older entries that existed still when it was granted, and that its own client had given up. There come no others.
    pub(super) behind: BTreeSet<Entry>,
    pub(super) ended: Option<Micros>,
    pub(super) lost: Option<Micros>,
}

impl Lease {
    /// Whether it did not exist at some time until now.
    pub(super) const fn was_missing(&self) -> bool {
        self.began.is_none() || self.ended.is_some()
    }
}

impl Grant {
    /// The parts of the fencing token.
    pub(super) const fn token(&self) -> (&Entry, u64) {
        (&self.entry, self.handover)
    }
}

impl State {
    /// When the last disturbance so far of a process is over, which may be later than now.
    pub(super) fn quiet_since(&self, process: u32) -> Micros {
        let own = self.quiet_since_of.get(&process).copied();
        self.quiet_since.max(own.unwrap_or(0))
    }

    /// When the last disturbance of anybody is over.
    pub(super) fn quiet_since_for_all(&self) -> Micros {
        let own = self.quiet_since_of.values().copied().max();
        self.quiet_since.max(own.unwrap_or(0))
    }

    /// Whether something disturbed a process after a time, or until then: that is when the process hears of it.
    pub(super) fn disturbed_since(&self, process: u32, time: Micros) -> bool {
        let quiet = self.quiet_since(process);
        quiet > 0 && quiet >= time
    }

    /// How much time has passed for a client since, by its own clock.
    pub(super) fn own_time_since(&self, client: Client, time: Micros) -> Micros {
        self.clocks.passed(client, time, self.now)
    }

    /// How much time may have passed for a client since, by its own clock: one that jumped then may have done so just after.
    pub(super) fn own_time_since_at_most(&self, client: Client, time: Micros) -> Micros {
        self.clocks.passed_at_most(client, time, self.now)
    }

    /// Whether a request of a client was refused so since.
    pub(super) fn was_refused(&self, client: Client, kind: ErrorKind, since: Micros) -> bool {
        has(&self.refused, client, kind, since)
    }

    pub(super) fn lock(&self, name: &str) -> &Lock {
        static NONE: std::sync::LazyLock<Lock> = std::sync::LazyLock::new(Lock::default);
        self.locks.get(name).unwrap_or(&NONE)
    }

    /// The entries of a wait's key that somebody other than its client deleted.
    pub(super) fn deleted_by_others(&self, wait: &Wait) -> impl Iterator<Item = &Gone> {
        let gone = self.lock(&wait.lock).gone.iter();
        let deleted = gone.filter(|(entry, gone)| {
            entry.key == wait.key && gone.by != Author::Client(wait.client)
        });
        deleted.map(|(_, gone)| gone)
    }

    /// Whether a task of a client waits for a key, or holds with it.
    pub(super) fn is_wanted(&self, client: Client, key: &str) -> bool {
        let waits = || {
            self.waits
                .values()
                .any(|wait| wait.ended.is_none() && wait.client == client && wait.key == key)
        };
        waits() || self.is_held(client, key)
    }

    /// A guard of an entry that is gone doesn't want the next one, also where it was not told yet.
    fn is_held(&self, client: Client, key: &str) -> bool {
        let of_key = |grant: &Grant| {
            grant.ended.is_none() && grant.client == client && grant.entry.key == key
        };
        let stands = |grant: &Grant| !self.lock(&grant.lock).gone.contains_key(&grant.entry);
        self.grants
            .values()
            .any(|grant| of_key(grant) && stands(grant))
    }

    /// Since when no task of a client wants the entry of a key that was given up then, if none does.
    pub(super) fn unwanted_since(&self, client: Client, key: &str, then: Micros) -> Option<Micros> {
        if self.is_wanted(client, key) {
            return None;
        }
        let waits = self.waits.values();
        let of_key = waits.filter(|wait| wait.client == client && wait.key == key);
        let last = of_key.filter_map(|wait| wait.ended).max();
        Some(then.max(last.unwrap_or(0)))
    }

    /// The living owner of a lease that is not known to have ended.
    pub(super) fn owner(&self, lease: i64) -> Option<Client> {
        self.leases.get(&lease).map(|lease| lease.owner)
    }
}

fn has(
    refused: &[(Client, ErrorKind, Micros)],
    client: Client,
    kind: ErrorKind,
    since: Micros,
) -> bool {
    let mut of = refused.iter();
    of.any(|(to, as_kind, at)| *to == client && *as_kind == kind && *at >= since)
}
