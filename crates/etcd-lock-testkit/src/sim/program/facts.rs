//! The facts that a simulated process tells of itself, for the history.

use std::sync::{Arc, PoisonError};

use etcd_lock_core::{FencingToken, LockKey};
use etcd_lock_session::{LockGuard, Session};

use super::super::notes::{Held, Note};
use super::super::scenario::Mode;
use super::Actor;
use crate::history::{self, Entry, Fact, WriteEnd};

impl Actor {
    pub(super) fn note(&self, fact: Fact) {
        self.hub.note(Note::Fact(fact));
    }

    pub(super) fn note_granted<H: Held + 'static>(
        &self,
        wait: u64,
        key: &LockKey,
        token: FencingToken,
        mode: history::Mode,
        held: Arc<H>,
    ) -> u64 {
        let grant = self.next_id();
        let fact = Fact::Granted {
            client: self.identity,
            wait,
            grant,
            entry: Entry::new(token.create_revision().get(), key.to_string()),
            handover: token.handover(),
            mode,
            limit: session_limit(self.mode),
            held: held.is_held(),
        };
        let held: Arc<dyn Held> = held;
        let held = Arc::downgrade(&held);
        self.hub.note(Note::Granted { fact, grant, held });
        grant
    }

    pub(super) fn note_released(&self, grant: u64, held: bool) {
        let client = self.identity;
        self.note(Fact::Released {
            client,
            grant,
            held,
        });
    }

    pub(super) fn note_write(&self, write: u64, grant: u64) {
        let client = self.identity;
        self.note(Fact::WriteBegan {
            client,
            write,
            grant,
        });
    }

    pub(super) fn note_write_end(&self, write: u64, end: WriteEnd) {
        let client = self.identity;
        self.note(Fact::WriteEnded { client, write, end });
    }

    pub(super) fn note_closed(&self, session: &Session) {
        let (client, lease) = (self.identity, session.lease().get());
        self.note(Fact::Closed { client, lease });
    }

    pub(super) fn next_id(&self) -> u64 {
        let mut last = self.last_id.lock().unwrap_or_else(PoisonError::into_inner);
        *last += 1;
        *last
    }
}

/// A hold that only the lease tells about.
#[derive(Debug)]
pub(super) struct BareHold(pub(super) Session);

impl Held for BareHold {
    fn is_held(&self) -> bool {
        self.0.is_alive()
    }
}

impl Held for LockGuard {
    fn is_held(&self) -> bool {
        Self::is_held(self)
    }
}

const fn session_limit(mode: Mode) -> u64 {
    match mode {
        Mode::Mutex(limit) => limit as u64,
        _ => 0,
    }
}
