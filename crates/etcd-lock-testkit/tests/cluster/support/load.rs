//! Callers that take one lock from each other all the time.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use etcd_lock_core::Error;
use etcd_lock_core::kv::PutRequest;
use etcd_lock_session as session;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout};

use super::{Caller, History, PATIENCE};

/// How long a caller waits after a failure.
const PAUSE: Duration = Duration::from_millis(20);

/// Lock cycles on one lock by several callers, each with a session of its own, until they are stopped.
pub(crate) struct Load {
    shared: Arc<Shared>,
    callers: JoinSet<()>,
    began: Instant,
}

struct Shared {
    name: String,
    history: History,
    is_over: AtomicBool,
    sessions_lost: AtomicUsize,
    /// When a whole cycle was done.
    successes: Mutex<Vec<Instant>>,
    failures: Mutex<Vec<Error>>,
}

/// How a load went.
pub(crate) struct Outcome {
    /// The whole cycles, in the order of their ends.
    pub(crate) successes: Vec<Instant>,
    pub(crate) sessions_lost: usize,
    /// Every error that a caller saw.
    pub(crate) failures: Vec<Error>,
    began: Instant,
}

impl Load {
    pub(crate) fn start(name: &str, callers: Vec<Caller>) -> Self {
        let shared = Arc::new(Shared {
            name: name.to_owned(),
            history: History::default(),
            is_over: AtomicBool::new(false),
            sessions_lost: AtomicUsize::new(0),
            successes: Mutex::default(),
            failures: Mutex::default(),
        });
        let mut tasks = JoinSet::new();
        for caller in callers {
            tasks.spawn(shared.clone().contend(caller));
        }
        Self {
            shared,
            callers: tasks,
            began: Instant::now(),
        }
    }

    /// Waits until there were so many whole cycles.
    pub(crate) async fn reach(&self, cycles: usize) {
        let reached = async {
            while self.cycles() < cycles {
                sleep(Duration::from_millis(5)).await;
            }
        };
        timeout(PATIENCE, reached)
            .await
            .expect("the load stands still");
    }

    /// How many whole cycles there were.
    pub(crate) fn cycles(&self) -> usize {
        list(&self.shared.successes).len()
    }

    /// Lets the callers finish, and checks the history of all holds.
    pub(crate) async fn stop(self) -> Outcome {
        self.shared.is_over.store(true, Relaxed);
        self.callers.join_all().await;
        self.shared.history.check();
        assert!(self.shared.history.len() >= list(&self.shared.successes).len());
        Outcome {
            successes: list(&self.shared.successes).clone(),
            sessions_lost: self.shared.sessions_lost.load(Relaxed),
            failures: list(&self.shared.failures).clone(),
            began: self.began,
        }
    }
}

impl Outcome {
    /// The longest time without a whole cycle.
    pub(crate) fn longest_gap(&self) -> Duration {
        let begins = [self.began]
            .into_iter()
            .chain(self.successes.iter().copied());
        let gaps = begins.zip(&self.successes).map(|(from, to)| *to - from);
        gaps.max().unwrap_or(Duration::MAX)
    }
}

impl Shared {
    /// Opens sessions and runs cycles, a new session after each one that is lost.
    async fn contend(self: Arc<Self>, caller: Caller) {
        while !self.is_over.load(Relaxed) {
            match caller.try_mutex(&self.name).await {
                Ok((session, mutex)) => {
                    self.cycle(&session, &mutex).await;
                    if let Err(error) = session.close().await {
                        self.failed(error).await;
                    }
                }
                Err(error) => self.failed(error).await,
            }
        }
    }

    async fn cycle(&self, session: &session::Session, mutex: &session::Mutex) {
        while !self.is_over.load(Relaxed) {
            if !session.is_alive() {
                self.sessions_lost.fetch_add(1, Relaxed);
                return;
            }
            match self.once(mutex).await {
                Ok(()) => list(&self.successes).push(Instant::now()),
                Err(error) => self.failed(error).await,
            }
        }
    }

    /// Takes the lock, writes under it, and releases it, whether or not the write went well.
    async fn once(&self, mutex: &session::Mutex) -> Result<(), Error> {
        let held = self.history.granted(mutex.lock().await?);
        let token = held.guard.token().to_string();
        let write = PutRequest::new(format!("{}-written", self.name), token);
        let written = held.guard.fenced_txn().and_then(write).commit().await;
        held.unlock().await?;
        written.map(|_| ())
    }

    async fn failed(&self, error: Error) {
        list(&self.failures).push(error);
        sleep(PAUSE).await;
    }
}

fn list<T>(list: &Mutex<Vec<T>>) -> std::sync::MutexGuard<'_, Vec<T>> {
    list.lock().unwrap_or_else(PoisonError::into_inner)
}
