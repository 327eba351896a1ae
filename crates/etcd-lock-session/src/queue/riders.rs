//! Entries that travel with a release.
//!
//! While this process holds a lock, nobody who enters its queue from here can be granted it before that hold ends. So an
//! entry waits for a moment, to be made by the transaction of the release: half the requests where many sessions of one
//! process take a lock from each other.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use etcd_lock_core::kv::{Compare, DeleteRequest, Op, TxnRequest, TxnResponse};
use etcd_lock_core::{Error, LockKey, LockName, Result, Revision};
use tokio::sync::oneshot;
use tokio::time::{Instant, timeout};

/// How long an entry waits for a release to travel with. Its place in the queue is later by as much.
const MOMENT: Duration = Duration::from_millis(1);

/// Who waits to travel, by the lock's name.
#[derive(Debug, Default)]
pub(super) struct Riders(Mutex<HashMap<LockName, Stop>>);

impl Riders {
    /// The lock is held by this process.
    pub(super) fn note_held(&self, key: &LockKey) {
        if let Some((name, _)) = key.parts() {
            self.stops().entry(name).or_default().holds += 1;
        }
    }

    /// One hold of it has ended.
    pub(super) fn forget_held(&self, key: &LockKey) {
        let Some((name, _)) = key.parts() else { return };
        self.change(&name, |stop| {
            stop.holds -= 1;
            stop.ended = Some(Instant::now());
        });
    }

    /// Somebody of this process enters the queue or stands there, until what this returns is dropped.
    pub(super) fn stand<'a>(&'a self, name: &'a LockName) -> Standing<'a> {
        self.stops().entry(name.clone()).or_default().standing += 1;
        Standing { riders: self, name }
    }

    /// How many of this process there are.
    pub(super) fn standing(&self, name: &LockName) -> usize {
        self.stops().get(name).map_or(0, |stop| stop.standing)
    }

    /// Waits to be taken along: the transaction's reply, or nothing where it has to be sent alone.
    ///
    /// # Cancel safety
    /// When dropped, the entry may or may not be made.
    pub(super) async fn ride(
        &self,
        name: &LockName,
        key: &Bytes,
        enter: &TxnRequest,
    ) -> Option<Result<TxnResponse>> {
        let (number, mut reply) = self.wait(name, key, enter)?;
        match timeout(MOMENT, &mut reply).await {
            Ok(reply) => reply.ok(),
            Err(_) if self.leave(name, number) => None,
            // Somebody who is on the way already can't get off.
            Err(_) => reply.await.ok(),
        }
    }

    /// The next who waits to travel with the release of this key.
    pub(super) fn next(&self, released: &LockKey) -> Option<Rider> {
        let (name, _) = released.parts()?;
        let mut stops = self.stops();
        let waiting = &mut stops.get_mut(&name)?.waiting;
        let other = |rider: &Rider| rider.key != released.as_bytes() && !rider.reply.is_closed();
        let number = *waiting.iter().find(|(_, rider)| other(rider))?.0;
        waiting.remove(&number)
    }

    fn wait(&self, name: &LockName, key: &Bytes, enter: &TxnRequest) -> Option<(u64, Reply)> {
        let mut stops = self.stops();
        let stop = stops.get_mut(name).filter(|stop| stop.is_served())?;
        let (reply, received) = oneshot::channel();
        stop.last += 1;
        let rider = Rider {
            key: key.clone(),
            enter: enter.success.clone(),
            reply,
        };
        stop.waiting.insert(stop.last, rider);
        Some((stop.last, received))
    }

    fn leave(&self, name: &LockName, number: u64) -> bool {
        let mut stops = self.stops();
        let stop = stops.get_mut(name);
        stop.is_some_and(|stop| stop.waiting.remove(&number).is_some())
    }

    /// Changes a stop, and removes it where it has no more use. Who still waits goes alone.
    fn change(&self, name: &LockName, change: impl FnOnce(&mut Stop)) {
        let mut stops = self.stops();
        let Some(stop) = stops.get_mut(name) else {
            return;
        };
        change(stop);
        if stop.holds + stop.standing == 0 {
            stops.remove(name);
        }
    }

    fn stops(&self) -> MutexGuard<'_, HashMap<LockName, Stop>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[derive(Debug, Default)]
struct Stop {
    /// How many holds of this process there are: more than one only when all but one are lost already.
    holds: usize,
    /// How many of this process enter the queue or wait there.
    standing: usize,
    /// When the last hold ended.
    ended: Option<Instant>,
    /// In the order of their numbers.
    waiting: BTreeMap<u64, Rider>,
    last: u64,
}

impl Stop {
    /// Whether a release of this process may come in a moment: it holds the lock, or has just passed it on, perhaps to
    /// another of its own who stands in the queue and has not heard of it yet.
    fn is_served(&self) -> bool {
        self.holds > 0 || self.ended.is_some_and(|at| at.elapsed() < MOMENT)
    }
}

/// Somebody of this process who takes part in a queue.
#[derive(Debug)]
pub(super) struct Standing<'a> {
    riders: &'a Riders,
    name: &'a LockName,
}

impl Drop for Standing<'_> {
    fn drop(&mut self) {
        self.riders.change(self.name, |stop| stop.standing -= 1);
    }
}

type Reply = oneshot::Receiver<Result<TxnResponse>>;

/// Somebody who wants to enter the queue.
#[derive(Debug)]
pub(super) struct Rider {
    key: Bytes,
    enter: Vec<Op>,
    reply: oneshot::Sender<Result<TxnResponse>>,
}

impl Rider {
    /// Deletes a key and makes the rider's entry, if the one is as it was granted and the other isn't there.
    pub(super) fn txn(&self, released: &LockKey, created: Revision) -> TxnRequest {
        let released = released.as_bytes();
        let txn = TxnRequest::new()
            .when(Compare::create_revision(released.clone(), created))
            .when(Compare::create_revision(self.key.clone(), Revision::ZERO))
            .and_then(DeleteRequest::key(released.clone()));
        // Done twice, the second finds the key gone and does nothing.
        let enter = self.enter.iter().cloned();
        enter.fold(txn, TxnRequest::and_then).idempotent()
    }

    /// Gives the rider its part of the reply. One that is gone will find its entry when it cleans up.
    pub(super) fn arrived(self, reply: &TxnResponse) {
        let mut own = reply.clone();
        own.responses.remove(0);
        let _ = self.reply.send(Ok(own));
    }

    /// Tells the rider that nobody knows where it is.
    pub(super) fn lost(self, error: Error) {
        let _ = self.reply.send(Err(error));
    }
}
