//! Clients whose waits and holds are recorded.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};

use etcd_lock_core::{Error, LockName, Result};
use etcd_lock_session::{LockGuard, Mutex, Session};

use super::journal::Journal;
use crate::history::{self, Entry, Fact, How, Micros, Mode};

/// One life of a process that says what it wants and claims.
#[derive(Clone, Debug)]
pub struct RecordedClient {
    journal: Arc<Journal>,
    identity: history::Client,
    last: Arc<AtomicU64>,
}

impl RecordedClient {
    /// The first life of a process.
    #[must_use]
    pub fn new(journal: Arc<Journal>, process: u32) -> Self {
        let identity = history::Client::new(process, 1);
        let last = Arc::new(AtomicU64::new(u64::from(process) * 1_000_000));
        journal.add(Fact::Started { client: identity });
        Self {
            journal,
            identity,
            last,
        }
    }

    /// Its name in the history.
    #[must_use]
    pub const fn identity(&self) -> history::Client {
        self.identity
    }

    /// Notes what has just happened to it.
    pub fn note(&self, fact: Fact) {
        self.journal.add(fact);
    }

    /// Notes that a session is this client's.
    pub fn note_session(&self, session: &Session) {
        let (client, lease) = (self.identity, session.lease().get());
        let ttl = session.ttl().as_duration().as_micros();
        let ttl = Micros::try_from(ttl).unwrap_or(Micros::MAX);
        self.journal.add(Fact::Leased { client, lease, ttl });
        self.journal.add(Fact::LeaseBegan { lease });
    }

    /// Waits for a lock with a session that was [noted](Self::note_session).
    ///
    /// # Errors
    /// As [`Mutex::lock`].
    ///
    /// # Cancel safety
    /// As [`Mutex::lock`], and the history says nothing of the end of the wait.
    pub async fn lock(&self, session: &Session, name: &str) -> Result<RecordedGuard> {
        let client = self.identity;
        let wait = self.next_id();
        let of = LockName::new(name.to_owned())?;
        self.journal.add(Fact::Asked {
            client,
            wait,
            lock: name.to_owned(),
            key: of.key(session.lease()).to_string(),
            lease: session.lease().get(),
            how: How::Lock,
        });
        match Mutex::new(session, name.to_owned())?.lock().await {
            Ok(guard) => Ok(self.granted(wait, guard)),
            Err(error) => {
                let kind = error.kind();
                self.journal.add(Fact::Failed { client, wait, kind });
                Err(error)
            }
        }
    }

    fn granted(&self, wait: u64, guard: LockGuard) -> RecordedGuard {
        let grant = self.next_id();
        let token = guard.token();
        self.journal.add(Fact::Granted {
            client: self.identity,
            wait,
            grant,
            entry: Entry::new(token.create_revision().get(), guard.key().to_string()),
            handover: token.handover(),
            mode: Mode::Guard,
            limit: 512,
            held: guard.is_held(),
        });
        RecordedGuard {
            guard,
            grant,
            client: self.identity,
            journal: self.journal.clone(),
        }
    }

    fn next_id(&self) -> u64 {
        self.last.fetch_add(1, SeqCst) + 1
    }
}

/// A guard whose answers are recorded.
#[derive(Debug)]
pub struct RecordedGuard {
    guard: LockGuard,
    grant: u64,
    client: history::Client,
    journal: Arc<Journal>,
}

impl RecordedGuard {
    /// The guard, to write under it.
    pub const fn guard(&self) -> &LockGuard {
        &self.guard
    }

    /// The number of its grant in the history.
    #[must_use]
    pub const fn grant(&self) -> u64 {
        self.grant
    }

    /// As [`LockGuard::is_held`].
    #[must_use]
    pub fn is_held(&self) -> bool {
        let (client, grant) = (self.client, self.grant);
        let held = self.guard.is_held();
        let fact = Fact::Claimed {
            client,
            grant,
            held,
        };
        self.journal.add(fact);
        held
    }

    /// Says that it holds the lock, whatever the guard says: a control of the checker.
    pub fn claims_all_the_same(&self) {
        let (client, grant) = (self.client, self.grant);
        let held = true;
        self.journal.add(Fact::Claimed {
            client,
            grant,
            held,
        });
    }

    /// As [`LockGuard::lost`].
    ///
    /// # Cancel safety
    /// As there.
    pub async fn lost(&self) -> Error {
        let error = self.guard.lost().await;
        self.journal.add(Fact::Lost {
            client: self.client,
            grant: self.grant,
            kind: error.kind(),
            held: self.guard.is_held(),
        });
        error
    }

    /// As [`LockGuard::unlock`].
    ///
    /// # Errors
    /// As there.
    ///
    /// # Cancel safety
    /// As there; the hold counts as released.
    pub async fn unlock(self) -> Result<()> {
        self.journal.add(Fact::Released {
            client: self.client,
            grant: self.grant,
            held: self.guard.is_held(),
        });
        self.guard.unlock().await
    }
}
