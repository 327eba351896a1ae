//! The connections to one endpoint for one purpose.
//!
//! Short calls share one connection, and wait for their turn on it. Calls that wait on the server (blocking `Lock`s,
//! streams) get as many connections as they need, so that they never wait for a slot on one. A server may permit few streams
//! on a connection: etcd over TLS permitted 250 until 3.4.20 and 3.5.5.
//!
//! A connection is driven by a task of the runtime on which it was made, and used on that runtime alone: it would hang
//! while that runtime isn't running, and it ends with it.

use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use etcd_lock_core::{Error, ErrorKind, Result};
use futures_util::FutureExt;
use futures_util::future::{BoxFuture, Shared};
use tokio::runtime::{Handle, Id};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::connection::{Channel, Dialer, Link};

/// The use of a connection.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Purpose {
    /// Calls that are answered at once.
    Short,
    /// Calls that wait for a lock.
    Lock,
    /// Watches and keep-alives.
    Stream,
}

impl Purpose {
    /// How many calls may be under way on one connection. etcd takes memory for each that it answers, and doesn't give it
    /// back soon.
    const fn calls(self) -> usize {
        match self {
            Self::Short => 128,
            Self::Lock | Self::Stream => 100,
        }
    }
}

/// The connections to one endpoint for one purpose, on all runtimes.
#[derive(Debug)]
pub(crate) struct Pool {
    purpose: Purpose,
    dialer: Arc<Dialer>,
    lines: Mutex<Vec<Line>>,
}

/// A turn on a connection, taken until it is dropped.
#[derive(Debug)]
pub(crate) struct Slot {
    pub(crate) channel: Channel,
    _permit: Option<OwnedSemaphorePermit>,
}

impl Slot {
    /// A turn on what a user brings, which has to know itself how much it can take.
    pub(crate) const fn unlimited(channel: Channel) -> Self {
        Self {
            channel,
            _permit: None,
        }
    }
}

impl Pool {
    pub(crate) fn new(purpose: Purpose, dialer: Arc<Dialer>) -> Self {
        Self {
            purpose,
            dialer,
            lines: Mutex::default(),
        }
    }

    /// Whether a call could be sent at once, but for its turn.
    pub(crate) fn is_connected(&self) -> bool {
        let runtime = Handle::current().id();
        self.lines()
            .iter()
            .any(|line| line.runtime == runtime && line.link().is_some())
    }

    /// A turn on a connection, which is made where there is none.
    ///
    /// # Errors
    /// As [`Dialer::dial`].
    ///
    /// # Cancel safety
    /// Nothing is left behind but a connection, for the next caller.
    pub(crate) async fn slot(&self) -> Result<Slot> {
        loop {
            let line = self.line();
            let link = line.dialed.clone().await?;
            let permit = match self.purpose {
                Purpose::Short => line.permits.clone().acquire_owned().await.ok(),
                Purpose::Lock | Purpose::Stream => self.permit(&line, &link),
            };
            if permit.is_some() && !line.is_over() {
                return Ok(Slot {
                    channel: link.channel(self.dialer.target().origin.clone()),
                    _permit: permit,
                });
            }
        }
    }

    /// Forgets all connections: what is under way on them goes on, and what comes next makes new ones.
    pub(crate) fn forget(&self) {
        for line in self.lines().drain(..) {
            line.forgotten.store(true, Relaxed);
        }
    }

    /// A connection of this runtime that has a turn left or may have one, or a new one.
    fn line(&self) -> Line {
        let runtime = Handle::current().id();
        let mut lines = self.lines();
        lines.retain(|line| !line.is_over());
        let fits = |line: &&Line| line.runtime == runtime && self.has_room(line);
        if let Some(line) = lines.iter().find(fits) {
            return line.clone();
        }
        let dialer = self.dialer.clone();
        let dialing = tokio::spawn(async move { dialer.dial().await });
        let dialed = dialing.map(|made| made.unwrap_or_else(|_| Err(runtime_ended())));
        let line = Line {
            runtime,
            permits: Arc::new(Semaphore::new(self.purpose.calls())),
            forgotten: Arc::default(),
            dialed: dialed.boxed().shared(),
        };
        lines.push(line.clone());
        line
    }

    /// Short calls wait for their turn on the one connection that there is.
    fn has_room(&self, line: &Line) -> bool {
        self.purpose == Purpose::Short
            || line
                .link()
                .is_none_or(|link| self.taken(line) < self.most(link))
    }

    /// Taken under the lock, so that two don't take the last turn.
    fn permit(&self, line: &Line, link: &Link) -> Option<OwnedSemaphorePermit> {
        let _lines = self.lines();
        let has_room = self.taken(line) < self.most(link);
        has_room.then(|| line.permits.clone().try_acquire_owned().ok())?
    }

    fn taken(&self, line: &Line) -> usize {
        self.purpose.calls() - line.permits.available_permits()
    }

    fn most(&self, link: &Link) -> usize {
        self.purpose.calls().min(link.streams())
    }

    fn lines(&self) -> MutexGuard<'_, Vec<Line>> {
        self.lines.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A connection, made or being made.
#[derive(Clone, Debug)]
struct Line {
    runtime: Id,
    permits: Arc<Semaphore>,
    forgotten: Arc<AtomicBool>,
    /// By a task of its own: a caller that loses its patience doesn't stop it.
    dialed: Shared<BoxFuture<'static, Result<Link>>>,
}

impl Line {
    /// The connection, where it is made and open.
    fn link(&self) -> Option<&Link> {
        let made = self.dialed.peek()?.as_ref().ok()?;
        (!made.is_closed()).then_some(made)
    }

    /// Whether it could not be made, has ended, or is not to be used any more.
    fn is_over(&self) -> bool {
        let is_gone = self.dialed.peek().is_some() && self.link().is_none();
        is_gone || self.forgotten.load(Relaxed)
    }
}

fn runtime_ended() -> Error {
    Error::new(
        ErrorKind::Unavailable,
        "the runtime ended while the connection was being made",
    )
}
