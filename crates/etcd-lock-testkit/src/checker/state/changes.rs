//! The change of the state that each fact makes.

use etcd_lock_core::ErrorKind;

use super::{Gone, Grant, Lease, Queued, State, Wait};
use crate::history::{Author, Client, Entry, Fact, Micros, Record};

impl State {
    /// Takes note of a record.
    pub(in crate::checker) fn apply(&mut self, record: &Record) {
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
                    lease.began = Some(now);
                    lease.exists = true;
                }
            }
            Fact::LeaseEnded { lease, by } => {
                if let Some(lease) = self.leases.get_mut(lease) {
                    lease.ended = Some((now, *by));
                    lease.exists = false;
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
                    exists: false,
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
