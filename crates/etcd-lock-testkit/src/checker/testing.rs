//! Histories by hand, for the tests of the rules: two clients with sessions of six seconds, which want the lock `a`.
//!
//! Session 1 and 3 are of client 1, session 2 is of client 2; a session's number is its lease. Grants, waits and entries are named by session and revision.

use etcd_lock_core::ErrorKind;

use super::{Checker, Rule};
use crate::history::{Author, Client, Entry, Fact, How, Micros, Mode, Record, WriteEnd};

pub(super) const SECOND: Micros = 1_000_000;
const LOCK: &str = "a";

impl From<Client> for Author {
    fn from(client: Client) -> Self {
        Self::Client(client)
    }
}

pub(super) struct Case {
    checker: Checker,
    now: Micros,
    /// The last wait of each session, by lease.
    waits: Vec<(i64, u64)>,
    last_wait: u64,
    entries: Vec<(i64, i64)>,
    revision: i64,
    /// How fast a client's clock runs from a time on, when it showed this.
    clock: Option<(u32, Micros, Micros, u64)>,
    lives: [u32; 5],
}

impl Case {
    pub(super) fn new() -> Self {
        let mut case = Self {
            checker: Checker::new(),
            now: 100 * SECOND,
            waits: Vec::new(),
            last_wait: 0,
            entries: Vec::new(),
            revision: 1_000,
            clock: None,
            lives: [1; 5],
        };
        for lease in 1..=3 {
            let client = Self::client(lease);
            let ttl = 6 * SECOND;
            case.add(Fact::Leased { client, lease, ttl });
            case.add(Fact::LeaseBegan { lease });
        }
        case
    }

    /// The client of a session.
    pub(super) const fn client(session: i64) -> Client {
        Client::new(if session == 2 { 2 } else { 1 }, 1)
    }

    /// The number of a grant.
    pub(super) fn grant(created: i64, handover: u64) -> u64 {
        created.unsigned_abs() * 1_000 + handover
    }

    fn add(&mut self, fact: Fact) {
        let client = fact.client();
        let mut record = Record::new(self.now, fact);
        if let Some((process, from, shown, ppm)) = self.clock
            && client.is_some_and(|client| client.process == process)
        {
            record = record.with_clock(shown + (self.now - from) * ppm / 1_000_000);
        }
        self.checker.feed(&record);
    }

    pub(super) fn passes(&mut self, time: Micros) {
        self.now += time;
        self.checker.advance(self.now);
    }

    pub(super) fn runs_at(&mut self, process: u32, ppm: u64) {
        let client = Client::new(process, 1);
        self.add(Fact::Resumed { client });
        self.clock = Some((process, self.now, self.now, ppm));
    }

    /// The clock of a process jumps on by so much.
    pub(super) fn jumps(&mut self, process: u32, by: Micros) {
        self.clock = Some((process, self.now, self.now + by, 1_000_000));
    }

    pub(super) fn asks(&mut self, session: i64) {
        self.asks_how(session, How::Lock);
    }

    pub(super) fn asks_how(&mut self, session: i64, how: How) {
        self.last_wait += 1;
        self.waits.push((session, self.last_wait));
        self.add(Fact::Asked {
            client: self.client_now(session),
            wait: self.last_wait,
            lock: LOCK.to_owned(),
            key: key(session),
            lease: session,
            how,
        });
    }

    fn client_now(&self, session: i64) -> Client {
        let process = if session == 2 { 2 } else { 1 };
        Client::new(process, self.lives[usize::try_from(process).unwrap()])
    }

    /// A session asks, unless it waits already, and its entry is made.
    pub(super) fn enters(&mut self, session: i64, created: i64) {
        if !self.waits.iter().any(|(of, _)| *of == session) {
            self.asks(session);
        }
        self.enters_without_asking(session, created);
    }

    pub(super) fn enters_without_asking(&mut self, session: i64, created: i64) {
        self.entries.push((created, session));
        self.add(Fact::Entered {
            lock: LOCK.to_owned(),
            entry: Entry::new(created, key(session)),
            lease: session,
        });
    }

    /// Another process that shares the lease of a session makes its entry.
    pub(super) fn enters_of_another(&mut self, session: i64, created: i64) {
        self.add(Fact::Entered {
            lock: LOCK.to_owned(),
            entry: Entry::new(created, key(session)),
            lease: 0,
        });
    }

    /// A new session of a process that has died enters.
    pub(super) fn enters_later_life(&mut self, process: u32, session: i64, created: i64) {
        let client = Client::new(process, self.lives[usize::try_from(process).unwrap()]);
        let (lease, ttl) = (session, 6 * SECOND);
        self.add(Fact::Leased { client, lease, ttl });
        self.enters(session, created);
    }

    pub(super) fn leaves(&mut self, created: i64, by: impl Into<Author>) {
        self.revision += 1;
        self.add(Fact::Left {
            lock: LOCK.to_owned(),
            entry: self.entry(created),
            revision: self.revision,
            by: by.into(),
        });
    }

    fn entry(&self, created: i64) -> Entry {
        let of = self.entries.iter().find(|(of, _)| *of == created);
        Entry::new(created, key(of.map_or(1, |(_, session)| *session)))
    }

    pub(super) fn granted(&mut self, session: i64, created: i64) {
        self.grants(session, created, 0, Mode::Guard, true);
    }

    pub(super) fn granted_unheld(&mut self, session: i64, created: i64) {
        self.grants(session, created, 0, Mode::Guard, false);
    }

    pub(super) fn granted_in_mode(&mut self, session: i64, created: i64, mode: Mode) {
        self.grants(session, created, 0, mode, true);
    }

    pub(super) fn handed_over(&mut self, session: i64, created: i64, handover: u64) {
        self.grants(session, created, handover, Mode::Guard, true);
    }

    fn grants(&mut self, session: i64, created: i64, handover: u64, mode: Mode, held: bool) {
        let waits = |case: &Self| {
            let wait = case.waits.iter().position(|(of, _)| *of == session);
            wait.map(|index| case.waits[index].1)
        };
        if waits(self).is_none() {
            self.asks(session);
        }
        let wait = waits(self).unwrap();
        self.waits.retain(|(_, other)| *other != wait);
        self.add(Fact::Granted {
            client: self.client_now(session),
            wait,
            grant: Self::grant(created, handover),
            entry: Entry::new(created, key(session)),
            handover,
            mode,
            limit: 2,
            held,
        });
    }

    pub(super) fn claims(&mut self, created: i64) {
        self.claims_grant(Self::grant(created, 0));
    }

    pub(super) fn claims_grant(&mut self, grant: u64) {
        let (client, held) = (self.owner(grant), true);
        self.add(Fact::Claimed {
            client,
            grant,
            held,
        });
    }

    fn owner(&self, grant: u64) -> Client {
        let created = i64::try_from(grant / 1_000).unwrap();
        let of = self.entries.iter().find(|(of, _)| *of == created);
        Self::client(of.map_or(1, |(_, session)| *session))
    }

    pub(super) fn released(&mut self, created: i64, held: bool) {
        let grant = Self::grant(created, 0);
        let client = self.owner(grant);
        self.add(Fact::Released {
            client,
            grant,
            held,
        });
    }

    pub(super) fn loses(&mut self, created: i64, kind: ErrorKind, held: bool) {
        let grant = Self::grant(created, 0);
        let client = self.owner(grant);
        self.add(Fact::Lost {
            client,
            grant,
            kind,
            held,
        });
    }

    pub(super) fn gives_up(&mut self, session: i64) {
        let wait = self.take_wait(session);
        let client = self.client_now(session);
        self.add(Fact::GaveUp { client, wait });
    }

    pub(super) fn fails(&mut self, session: i64, kind: ErrorKind) {
        let wait = self.take_wait(session);
        let client = self.client_now(session);
        self.add(Fact::Failed { client, wait, kind });
    }

    fn take_wait(&mut self, session: i64) -> u64 {
        let index = self.waits.iter().position(|(of, _)| *of == session);
        self.waits.remove(index.unwrap()).1
    }

    pub(super) fn write_begins(&mut self, write: u64, created: i64) {
        let grant = Self::grant(created, 0);
        let client = self.owner(grant);
        self.add(Fact::WriteBegan {
            client,
            write,
            grant,
        });
    }

    pub(super) fn is_written(&mut self, write: u64) {
        self.add(Fact::Committed { write });
    }

    pub(super) fn write_ends(&mut self, write: u64, end: WriteEnd) {
        let client = Self::client(1);
        self.add(Fact::WriteEnded { client, write, end });
    }

    pub(super) fn disturbs(&mut self, time: Micros) {
        self.disturb(None, time);
    }

    pub(super) fn disturbs_process(&mut self, process: u32, time: Micros) {
        self.disturb(Some(process), time);
    }

    fn disturb(&mut self, process: Option<u32>, time: Micros) {
        self.add(Fact::Disturbed {
            process,
            cause: "a test".to_owned(),
            until: self.now + time,
        });
    }

    pub(super) fn is_refused(&mut self, session: i64, kind: ErrorKind) {
        let client = Self::client(session);
        self.add(Fact::Refused { client, kind });
    }

    pub(super) fn lease_begins(&mut self, lease: i64) {
        self.add(Fact::LeaseBegan { lease });
    }

    pub(super) fn lease_ends(&mut self, lease: i64, by: Author) {
        self.add(Fact::LeaseEnded { lease, by });
    }

    pub(super) fn closes(&mut self, lease: i64) {
        let client = Self::client(lease);
        self.add(Fact::Closed { client, lease });
    }

    pub(super) fn dies(&mut self, session: i64) {
        let client = self.client_now(session);
        self.add(Fact::Died { client });
        self.waits.clear();
    }

    pub(super) fn starts_again(&mut self, process: u32) {
        let life = &mut self.lives[usize::try_from(process).unwrap()];
        *life += 1;
        let client = Client::new(process, *life);
        self.add(Fact::Started { client });
    }

    pub(super) fn heals(&mut self) {
        self.add(Fact::Healed);
    }

    pub(super) fn ends(&mut self) {
        self.add(Fact::Ended);
    }

    /// The rules that were broken so far.
    pub(super) fn rules(&self) -> Vec<Rule> {
        let violations = self.checker.violations().iter();
        violations.map(|violation| violation.rule).collect()
    }

    /// How often a rule was broken so far.
    pub(super) fn count(&self, rule: Rule) -> usize {
        self.rules().into_iter().filter(|of| *of == rule).count()
    }

    pub(super) fn finds(&self, rules: &[Rule]) {
        assert_eq!(self.rules(), rules, "{:#?}", self.checker.violations());
    }
}

fn key(session: i64) -> String {
    format!("{LOCK}/{session:x}")
}
