//! What a caller can say of its hold, and do with it.

use std::pin::pin;
use std::time::Duration;

use etcd_lock_core::{Error, ErrorKind, LockKey, Revision};
use etcd_lock_queue::{Input, Nonce, Stamp};

use super::caller::Caller;
use super::callers::Slot;
use crate::clock::until;

/// Whether a hold may be relied on now.
pub(crate) enum Standing {
    Held(Stamp),
    /// It was not confirmed in time.
    Expired,
    /// Its entry is gone, or its session has ended.
    Lost,
}

impl Caller {
    /// The nonce in the entry of the hold.
    pub(crate) fn nonce(&self) -> Option<Nonce> {
        self.lock.state().machine.nonce(self.session())
    }

    /// Whether the hold may be relied on at this moment.
    pub(crate) fn standing(&self) -> Standing {
        let mut state = self.lock.state();
        if !matches!(state.callers.slot(self.id), Some(Slot::Held(_)))
            || self.lease.ended().is_some()
        {
            return Standing::Lost;
        }
        match state.machine.holder(self.session()) {
            Some((holder, confirmed)) if holder == self.id => {
                let held_until = self.lease.held_until(confirmed);
                match self.lock.queue.clock.now() < held_until {
                    true => Standing::Held(held_until),
                    false => Standing::Expired,
                }
            }
            _ => Standing::Lost,
        }
    }

    /// Waits until the hold can't be relied on for longer than a margin.
    ///
    /// # Cancel safety
    /// Nothing is lost.
    pub(crate) async fn fades(&self, margin: Duration) {
        loop {
            let mut changed = pin!(self.lock.changed());
            changed.as_mut().enable();
            let Standing::Held(held_until) = self.standing() else {
                return;
            };
            let clock = &self.lock.queue.clock;
            let left = until(held_until, clock.now());
            if left <= margin {
                return;
            }
            let fades_at =
                Stamp(held_until.0 - u64::try_from(margin.as_nanos()).unwrap_or(held_until.0));
            tokio::select! {
                biased;
                () = changed => {}
                () = clock.sleep_until(fades_at) => {}
            }
        }
    }

    /// How long the hold may be relied on.
    pub(crate) fn remaining(&self) -> Duration {
        match self.standing() {
            Standing::Held(held_until) => until(held_until, self.lock.queue.clock.now()),
            _ => Duration::ZERO,
        }
    }

    /// Lets the machine find that the hold was not confirmed in time, and returns whether it does: the hold is lost then.
    pub(crate) fn expire(&self) -> bool {
        self.lock.expire(self.session())
    }

    /// A fenced write is about to be sent.
    pub(crate) fn write_sent(&self) {
        self.lock
            .feed_all([Input::WriteSent(self.session(), self.id)]);
    }

    /// A fenced write was answered, or can't be executed any more.
    pub(crate) fn write_answered(&self) {
        self.lock
            .feed_all([Input::WriteAnswered(self.session(), self.id)]);
    }

    /// Why the session, or the entry, is gone.
    pub(crate) fn why_lost(&self) -> Error {
        let ended = self.lease.ended().cloned();
        ended.unwrap_or_else(|| key_gone(&self.lock.name().key(self.session())))
    }

    /// The hold goes on without the handle, until it is released by its key or lost. Returns whether there is one still:
    /// callers that were granted the lock as one have one hold.
    pub(crate) fn detach(mut self, created: Revision) -> bool {
        let session = self.session();
        let mut state = self.lock.state();
        let holder = state.machine.holder(session).map(|(holder, _)| holder);
        let entry = state.machine.entry(session);
        if let Some(member) = state.members.get_mut(&session)
            && holder == Some(self.id)
        {
            member.bare_hold = Some(self.id);
            self.is_detached = true;
        }
        holder.is_some() && entry.is_some_and(|entry| entry.created == created)
    }
}

/// The error of a hold whose entry is not there any more.
pub(crate) fn key_gone(key: &LockKey) -> Error {
    Error::new(ErrorKind::Lost, format!("the lock's key {key} is gone"))
}
