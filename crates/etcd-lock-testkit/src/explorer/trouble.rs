//! The trouble of walks alone: clients whose requests take long, that stand still or lose their leases, strangers in the queue,
//! and inputs that come late or twice.

use etcd_lock_core::{ErrorKind, LeaseId, LockKey};
use etcd_lock_queue::{EntryValue, Input, Nonce, Timer};

use super::Bug;
use super::client::{Channel, Client};
use super::journal;
use super::pace::Pace;
use super::step::{ClientStep, Step};
use super::world::World;
use crate::history::Fact;

/// How many ticks a lease lives without being kept alive.
const TTL: u64 = 6;

/// How many ticks after that the server notices, at most.
const LATE: u64 = 1;

/// How many ticks a stranger stays in the queue, at most.
const STAY: u64 = 5;

/// For how many ticks a client may be in trouble.
const TROUBLES: [u64; 3] = [1, 4, 8];

/// An entry of a stranger.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Intruder {
    /// Its lease: negative, as etcd's lock service allows, or one of a client, which another process shares.
    pub(super) lease: i64,
    /// Whether its value looks like one of ours.
    pub(super) is_forged: bool,
}

impl Intruder {
    fn key(&self) -> LockKey {
        let sign = if self.lease < 0 { "-" } else { "" };
        let digits = self.lease.unsigned_abs();
        let key = format!("{}/{sign}{digits:x}", journal::LOCK);
        LockKey::new(key).expect("it is a key")
    }

    fn value(&self) -> Vec<u8> {
        match self.is_forged {
            true => EntryValue::new(Nonce::new(77), b"stranger").encode(),
            false => b"next\0".to_vec(),
        }
    }
}

impl Client {
    /// Whether nothing that it does is on time.
    pub(super) const fn is_troubled(&self, now: u64) -> bool {
        now < self.trouble.lags_until || self.sleeps(now)
    }

    pub(super) const fn sleeps(&self, now: u64) -> bool {
        now < self.trouble.sleeps_until
    }

    fn renewed(&self, session: LeaseId) -> u64 {
        self.trouble.renewed.get(&session).copied().unwrap_or(0)
    }

    /// Whether nothing waits that a driver does at once, and no answer takes longer than an attempt.
    fn has_done_its_duty(&self, now: u64) -> bool {
        let is_told = |channel: &Channel| matches!(channel, Channel::On(left) if left.is_empty());
        let retries = |timer: &Timer| matches!(timer, Timer::Retry(_) | Timer::Reads);
        self.beats.is_empty()
            && self.watches.values().all(is_told)
            && !self.timers.iter().any(retries)
            && self.wire.values().all(|wire| wire.sent.0 == now)
    }

    /// Steps that a driver must take before time passes.
    fn owes(&self, session: LeaseId, now: u64) -> bool {
        let is_over =
            self.queue.holder(session).is_some() && !self.claims(now).any(|(of, _)| of == session);
        is_over || self.is_due(session, now) || self.is_lease_lost(session, now)
    }

    fn is_lease_lost(&self, session: LeaseId, now: u64) -> bool {
        let until = self.renewed(session) + Pace::Fine.valid();
        !self.ended.contains(&session) && until < now
    }
}

impl World {
    /// Every lease is kept alive for the first time.
    pub(super) fn begin_leases(&mut self) {
        for number in 0..self.clients.len() {
            let client = self.client(number);
            let renewed = client.sessions().map(|session| (session, 0)).collect();
            client.trouble.renewed = renewed;
        }
    }

    /// After a tick leases are kept alive, and clients go on.
    pub(super) fn pass_time(&mut self) {
        if self.pace == Pace::Coarse {
            return;
        }
        let now = self.now;
        for number in 0..self.clients.len() {
            if self.clients[number].trouble.sleeps_until == now {
                let client = journal::name(number);
                self.journal.write(|| Fact::Resumed { client });
            }
            if self.clients[number].is_troubled(now) {
                continue;
            }
            let sessions: Vec<_> = self.clients[number].sessions().collect();
            for session in sessions {
                let has_ended = self.clients[number].ended.contains(&session);
                if !has_ended && self.server.has_lease(session) {
                    self.client(number).trouble.renewed.insert(session, now);
                }
            }
        }
    }

    /// Whether nothing has to happen before the next tick.
    pub(super) fn may_tick(&self) -> bool {
        let has_left = |since: &u64| self.now < since + STAY;
        self.outside.keys.values().all(has_left)
            && self.clients.iter().all(|client| {
                let mut sessions = client.sessions();
                let has_left = |of: LeaseId| {
                    self.server.has_lease(of) && self.now >= client.renewed(of) + TTL + LATE
                };
                let is_told = |of: LeaseId| client.ended.contains(&of) || self.server.has_lease(of);
                let is_troubled = client.is_troubled(self.now);
                (is_troubled || client.has_done_its_duty(self.now))
                    && sessions.all(|of| {
                        let is_on_time = is_told(of) && !client.owes(of, self.now);
                        !has_left(of) && (is_troubled || is_on_time)
                    })
            })
    }

    /// The steps that a session can take by itself.
    pub(super) fn lease_steps(&self, client: &Client, session: LeaseId, own: &mut Vec<ClientStep>) {
        if client.is_lease_lost(session, self.now) {
            own.push(ClientStep::Lose(session));
        }
        let has_ended = client.ended.contains(&session);
        let is_over = has_ended || self.now >= client.renewed(session) + TTL;
        if self.server.has_lease(session) && is_over {
            own.push(ClientStep::Expire(session));
        }
    }

    /// Strangers leave when they like.
    pub(super) fn leaves(&self) -> impl Iterator<Item = Step> {
        self.outside.keys.keys().cloned().map(Step::Leave)
    }

    /// The other faults.
    pub(super) fn troubles(&self, steps: &mut Vec<Step>) {
        let leases = self.clients.iter().flat_map(|client| client.sessions());
        let strange = [-5, 0x77, 0x78].into_iter();
        for lease in leases.map(LeaseId::get).chain(strange) {
            let intruder = Intruder {
                lease,
                is_forged: (self.now + lease.unsigned_abs()).is_multiple_of(2),
            };
            let is_dead = LeaseId::new(lease).is_ok_and(|lease| !self.server.has_lease(lease));
            if !self.server.has(&intruder.key()) && !is_dead {
                steps.push(Step::Intrude(intruder));
            }
        }
        for (number, client) in self.clients.iter().enumerate() {
            let mut own = Vec::new();
            self.troubles_of(client, &mut own);
            steps.extend(own.into_iter().map(|step| Step::Of(number, step)));
        }
    }

    fn troubles_of(&self, client: &Client, own: &mut Vec<ClientStep>) {
        if !client.is_troubled(self.now) {
            own.extend(TROUBLES.map(ClientStep::Lag));
            own.extend(TROUBLES.map(ClientStep::Sleep));
        }
        if client.sleeps(self.now) {
            return;
        }
        own.push(ClientStep::Misfire(Timer::Reads));
        for session in client.sessions() {
            let timers = [
                Timer::Retry(session),
                Timer::Ask(session),
                Timer::Turn(session),
                Timer::Aged(session),
                Timer::Expired(session),
            ];
            own.extend(timers.map(ClientStep::Misfire));
            own.push(ClientStep::AskPosition(session));
        }
        let told = client.watches.iter().filter(|(key, channel)| {
            matches!(channel, Channel::On(_)) && self.outside.deleted.contains_key(*key)
        });
        own.extend(told.map(|(key, _)| ClientStep::Repeat(key.clone())));
    }

    pub(super) fn intrude(&mut self, intruder: &Intruder) {
        self.faults -= 1;
        let key = intruder.key();
        let lease = LeaseId::new(intruder.lease).ok();
        let is_shared = lease.is_some_and(|lease| {
            let mut clients = self.clients.iter();
            clients.any(|client| client.sessions().any(|of| of == lease))
        });
        let lease = lease.filter(|_| is_shared);
        if let Some(entry) = self.server.put(&key, intruder.value().into(), lease) {
            self.outside.keys.insert(key, self.now);
            // To the checker it belongs to none of the clients, whoever's lease it shares.
            self.journal.entered(&entry, 0);
        }
    }

    pub(super) fn take_trouble(&mut self, client: usize, step: &ClientStep, bug: Option<Bug>) {
        self.faults = self.faults.saturating_sub(1);
        let now = self.now;
        match step {
            ClientStep::Lag(ticks) => self.client(client).trouble.lags_until = now + ticks,
            ClientStep::Sleep(ticks) => {
                self.client(client).trouble.sleeps_until = now + ticks;
                let client = journal::name(client);
                self.journal.write(|| Fact::Paused { client });
            }
            ClientStep::Lose(session) => {
                self.journal.session_ends(*session, ErrorKind::Lost);
                self.end_session(client, *session, bug);
            }
            ClientStep::Misfire(timer) => self.feed(client, Input::Fired(*timer), bug),
            ClientStep::AskPosition(session) => {
                self.feed(client, Input::AskPosition(*session), bug)
            }
            ClientStep::Repeat(key) => {
                if let Some(revision) = self.outside.deleted.get(key) {
                    let input = Input::Deleted(key.clone(), *revision);
                    self.feed(client, input, bug);
                }
            }
            _ => {}
        }
    }
}
