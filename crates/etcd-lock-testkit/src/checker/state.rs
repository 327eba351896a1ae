//! The state of the world after each record of a history: queues, leases, clients, waits, grants and disturbances.

use std::collections::{BTreeMap, BTreeSet};

use etcd_lock_core::ErrorKind;

use crate::history::{Author, Client, Entry, Fact, How, Micros, Mode, Record};

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
    pub(super) began: Option<Micros>,
    pub(super) ended: Option<(Micros, Author)>,
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
    /// Whether it is on the server.
    pub(super) const fn exists(&self) -> bool {
        self.began.is_some() && self.ended.is_none()
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

    /// Whether something disturbed a process after a time.
    pub(super) fn disturbed_since(&self, process: u32, time: Micros) -> bool {
        self.quiet_since(process) > time
    }

    /// How much time has passed for a client since, by its own clock.
    pub(super) fn own_time_since(&self, client: Client, time: Micros) -> Micros {
        self.clocks.passed(client, time, self.now)
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

    /// Takes note of a record.
    pub(super) fn apply(&mut self, record: &Record) {
        self.now = self.now.max(record.at);
        if let (Some(client), Some(clock)) = (record.fact.client(), record.clock) {
            self.clocks.note(client, record.at, clock);
        }
        self.server_fact(&record.fact);
        self.client_fact(&record.fact);
        self.wait_fact(&record.fact);
    }

    fn server_fact(&mut self, fact: &Fact) {
        let now = self.now;
        match fact {
            Fact::Entered { lock, entry, lease } => self.entered(lock, entry, *lease),
            Fact::Left {
                lock, entry, by, ..
            } => self.left(lock, entry, *by),
            Fact::LeaseBegan { lease } => {
                if let Some(lease) = self.leases.get_mut(lease) {
                    lease.began.get_or_insert(now);
                }
            }
            Fact::LeaseEnded { lease, by } => {
                if let Some(lease) = self.leases.get_mut(lease) {
                    lease.ended.get_or_insert((now, *by));
                }
            }
            Fact::Disturbed { process, until, .. } => {
                let quiet = match process {
                    Some(process) => self.quiet_since_of.entry(*process).or_default(),
                    None => &mut self.quiet_since,
                };
                *quiet = (*quiet).max(*until);
            }
            Fact::Refused { client, kind } => self.refused.push((*client, *kind, now)),
            Fact::Healed => self.healed = Some(now),
            _ => {}
        }
    }

    fn client_fact(&mut self, fact: &Fact) {
        let now = self.now;
        match fact {
            Fact::Died { client } => self.died(*client),
            Fact::Leased { client, lease, ttl } => {
                let new = Lease {
                    owner: *client,
                    ttl: *ttl,
                    began: None,
                    ended: None,
                    closed: None,
                };
                self.leases.entry(*lease).or_insert(new);
            }
            Fact::Closed { lease, .. } => {
                if let Some(lease) = self.leases.get_mut(lease) {
                    lease.closed.get_or_insert(now);
                }
            }
            _ => {}
        }
    }

    fn wait_fact(&mut self, fact: &Fact) {
        let now = self.now;
        match fact {
            Fact::Asked {
                client,
                wait,
                lock,
                key,
                lease,
                how,
            } => {
                let new = Wait {
                    client: *client,
                    lock: lock.clone(),
                    key: key.clone(),
                    lease: *lease,
                    how: *how,
                    asked: now,
                    ended: None,
                    granted: false,
                    failed: None,
                };
                self.waits.insert(*wait, new);
            }
            Fact::Granted { .. } => self.granted(fact),
            Fact::GaveUp { wait, .. } => self.ungranted(*wait, None),
            Fact::Failed { wait, kind, .. } => self.ungranted(*wait, Some(*kind)),
            Fact::Lost { grant, .. } => {
                if let Some(grant) = self.grants.get_mut(grant) {
                    grant.lost.get_or_insert(now);
                }
            }
            Fact::Released { grant, .. } => self.released(*grant),
            _ => {}
        }
    }

    fn entered(&mut self, lock: &str, entry: &Entry, lease: i64) {
        let now = self.now;
        let owner = self.owner(lease);
        let unwanted = owner.filter(|owner| !self.is_wanted(*owner, &entry.key));
        let may_be_late = owner.is_some_and(|owner| self.owes_an_entry(owner, lock, &entry.key));
        let lock = self.locks.entry(lock.to_owned()).or_default();
        let new = Queued {
            lease,
            since: now,
            given_up: unwanted.map(|owner| (owner, now)),
            may_be_late,
        };
        if lock.queue.is_empty() {
            lock.moved = now;
        }
        lock.queue.entry(entry.clone()).or_insert(new);
    }

    /// Whether a request of a wait for a key that has ended may be on its way: it had no entry, and none has come since.
    fn owes_an_entry(&self, client: Client, lock: &str, key: &str) -> bool {
        let lock = self.lock(lock);
        let there = lock
            .queue
            .iter()
            .map(|(entry, of)| (entry, of.since, Micros::MAX));
        let gone = lock.gone.iter().map(|(entry, of)| (entry, of.since, of.at));
        let all = there.chain(gone).filter(|(entry, ..)| entry.key == key);
        let all: Vec<_> = all.map(|(_, since, until)| (since, until)).collect();
        let has_come = |ended: Micros| all.iter().any(|(_, until)| *until > ended);
        let mut waits = self.waits.values();
        waits.any(|wait| {
            // A request of unknown outcome may be executed for as long as its lease lives.
            let in_doubt = self.disturbed_since(client.process, wait.asked);
            let comes_yet = |ended: Micros| in_doubt || !wait.granted && !has_come(ended);
            wait.client == client && wait.key == key && wait.ended.is_some_and(comes_yet)
        })
    }

    fn left(&mut self, lock: &str, entry: &Entry, by: Author) {
        let now = self.now;
        let lock = self.locks.entry(lock.to_owned()).or_default();
        let Some(queued) = lock.queue.remove(entry) else {
            return;
        };
        lock.moved = now;
        let gone = Gone {
            at: now,
            by,
            since: queued.since,
            lease: queued.lease,
            was_unwanted: queued.may_be_late || queued.given_up.is_some(),
        };
        lock.gone.insert(entry.clone(), gone);
    }

    fn died(&mut self, client: Client) {
        let now = self.now;
        self.died.insert(client, now);
        let waits = self.waits.values_mut();
        for wait in waits.filter(|wait| wait.client == client) {
            wait.ended.get_or_insert(now);
        }
        let grants = self.grants.values_mut();
        for grant in grants.filter(|grant| grant.client == client && grant.ended.is_none()) {
            grant.ended = Some(now);
            self.locks.entry(grant.lock.clone()).or_default().moved = now;
        }
    }

    fn granted(&mut self, fact: &Fact) {
        let Fact::Granted {
            client,
            wait,
            grant,
            entry,
            handover,
            mode,
            ..
        } = fact
        else {
            return;
        };
        let now = self.now;
        let Some(asked) = self.waits.get_mut(wait) else {
            return;
        };
        asked.ended = Some(now);
        asked.granted = true;
        let lock = self.locks.entry(asked.lock.clone()).or_default();
        lock.moved = now;
        let older = lock.queue.range(..entry.clone());
        let given_up =
            older.filter(|(_, queued)| queued.given_up.is_some_and(|(by, _)| by == *client));
        let behind = given_up.map(|(entry, _)| entry.clone()).collect();
        if let Some(queued) = lock.queue.get_mut(entry) {
            queued.given_up = None;
        }
        lock.first_granted.entry(entry.clone()).or_insert(now);
        let handovers = lock.granted.entry(entry.clone()).or_default();
        *handovers = (*handovers).max(*handover);
        let new = Grant {
            client: *client,
            lock: asked.lock.clone(),
            entry: entry.clone(),
            handover: *handover,
            mode: *mode,
            lease: asked.lease,
            behind,
            ended: None,
            lost: None,
        };
        self.grants.insert(*grant, new);
    }

    /// A wait that ends without the lock gives its entry up, unless others of its client want that as well.
    fn ungranted(&mut self, wait: u64, failed: Option<ErrorKind>) {
        let now = self.now;
        let Some(wait) = self.waits.get_mut(&wait) else {
            return;
        };
        wait.ended = Some(now);
        wait.failed = failed;
        let (client, key, lock) = (wait.client, wait.key.clone(), wait.lock.clone());
        let lease = wait.lease;
        // A wait that begins at this very instant may find that its session has given the entry up already.
        let waits = |wait: &Wait| wait.ended.is_none() && wait.client == client && wait.key == key;
        let waited_before = self
            .waits
            .values()
            .any(|wait| waits(wait) && wait.asked < now);
        if waited_before || self.is_held(client, &key) {
            return;
        }
        let queue = &mut self.locks.entry(lock).or_default().queue;
        for (entry, queued) in queue {
            if entry.key == key && queued.lease == lease {
                queued.given_up.get_or_insert((client, now));
            }
        }
    }

    fn released(&mut self, grant: u64) {
        let now = self.now;
        let Some(grant) = self.grants.get_mut(&grant) else {
            return;
        };
        grant.ended.get_or_insert(now);
        let lock = self.locks.entry(grant.lock.clone()).or_default();
        lock.moved = now;
        if let Some(queued) = lock.queue.get_mut(&grant.entry) {
            queued.given_up = Some((grant.client, now));
        }
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
