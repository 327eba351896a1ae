//! The program of a simulated process: its steps, over the real sessions, mutexes and queues.

mod facts;

use std::sync::{Arc, Mutex as StdMutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use etcd_lock_core::kv::{Compare, PutRequest, RangeRequest, TxnRequest};
use etcd_lock_core::{
    CallOptions, Client, Error, ErrorKind, LockName, LockRequest, LockResponse, Result, Timeout,
    Transport, UnlockRequest,
};
use etcd_lock_group::GroupCommit;
use etcd_lock_grpc::layers::Layered;
use etcd_lock_session::{LockGuard, Mutex, Queue, Session, SessionOptions};
use tokio::sync::{Mutex as AsyncMutex, Notify};
use tokio::time::sleep;

use self::facts::BareHold;
use super::hub::Hub;
use super::notes::{Held, Note};
use super::scenario::{Acquire, End, How, Mode, Program, Step};
use super::transport::{PATIENCE, SimTransport};
use crate::history::{self, Fact, WriteEnd};
use crate::poll::at_most;

/// The `Lock` RPC can't be asked not to wait.
const AT_ONCE: CallOptions = CallOptions::new(Timeout::After(Duration::from_millis(20)));

/// How long a holder keeps its guard when it was told of the loss.
const TIDYING_UP: Duration = Duration::from_millis(50);

/// The state that a process keeps over a crash: how far its tasks have come.
#[derive(Debug, Default)]
pub(super) struct Progress {
    next: StdMutex<Vec<usize>>,
    pub(super) close: Notify,
}

impl Progress {
    /// The next step of a task, which counts as done from now on.
    fn take(&self, task: usize) -> usize {
        let mut next = self.next.lock().unwrap_or_else(PoisonError::into_inner);
        if next.len() <= task {
            next.resize(task + 1, 0);
        }
        next[task] += 1;
        next[task] - 1
    }
}

/// Runs a program, waits until it is told to close, and leaves nothing behind.
pub(super) async fn run(
    hub: Arc<Hub>,
    program: Program,
    progress: Arc<Progress>,
    identity: history::Client,
    first_id: u64,
) {
    // The layers of the gRPC transport over the simulated network: its retries, and its way to use the `Lock` RPC.
    let transport = Layered::new(SimTransport(hub.clone()));
    let below: Arc<dyn Transport> = match program.group {
        Some(slots) => Arc::new(GroupCommit::with_slots(transport.clone(), slots)),
        None => Arc::new(transport.clone()),
    };
    let queue = Queue::tuned(below, program.tuning, hub.clone());
    let client = queue.clone().into_client();
    let locks: Arc<dyn Transport> = match program.mode {
        Mode::Plain => Arc::new(transport),
        _ => Arc::new(queue.clone()),
    };
    let count = match program.mode {
        Mode::Bare => program.tasks.len(),
        _ => program.ttls.len(),
    };
    let actor = Arc::new(Actor {
        hub: hub.clone(),
        identity,
        mode: program.mode,
        ttls: program.ttls,
        client,
        queue,
        locks,
        interrupt: Notify::new(),
        sessions: (0..count).map(|_| AsyncMutex::default()).collect(),
        last_id: StdMutex::new(first_id),
    });
    let mut tasks = Vec::new();
    for (number, steps) in program.tasks.into_iter().enumerate() {
        let (actor, progress) = (actor.clone(), progress.clone());
        tasks.push(tokio::spawn(async move {
            loop {
                let next = progress.take(number);
                let Some(step) = steps.get(next) else { return };
                actor.step(number, step).await;
            }
        }));
    }
    for task in tasks {
        // One that panicked has said so already.
        let _ = task.await;
    }
    hub.note(Note::Finished);
    progress.close.notified().await;
    for session in &actor.sessions {
        if let Some(session) = session.lock().await.take() {
            actor.note_closed(&session);
            let _ = session.close().await;
        }
    }
}

struct Actor {
    hub: Arc<Hub>,
    /// The name of this life of the process in the history.
    identity: history::Client,
    mode: Mode,
    ttls: Vec<u64>,
    client: Client,
    queue: Queue,
    /// The transport by which callers with a lease alone lock: the queue, or the `Lock` RPC.
    locks: Arc<dyn Transport>,
    interrupt: Notify,
    sessions: Vec<AsyncMutex<Option<Session>>>,
    last_id: StdMutex<u64>,
}

impl Actor {
    async fn step(&self, task: usize, step: &Step) {
        match step {
            Step::Sleep(millis) => sleep(Duration::from_millis(*millis)).await,
            Step::Interrupt => self.interrupt.notify_waiters(),
            Step::CloseSession(session) => {
                let index = if self.mode == Mode::Bare {
                    task
                } else {
                    *session
                };
                let taken = self.sessions[index].lock().await.take();
                if let Some(session) = taken {
                    self.note_closed(&session);
                    let closed = session.close().await;
                    self.hub
                        .note(Note::Said(format!("session closed: {closed:?}")));
                }
            }
            Step::Acquire(acquire) => match self.mode {
                Mode::Bare => {
                    let session = self.session(task, 0).await;
                    self.bare(&session, acquire).await;
                }
                Mode::Mutex(limit) => {
                    let session = self.session(acquire.session, limit).await;
                    self.mutex(&session, acquire).await;
                }
                Mode::Plain => {
                    let session = self.open(acquire.session, 0).await;
                    self.bare(&session, acquire).await;
                    // The lease ends with the wait, and so does whatever a lost request may have left.
                    self.note_closed(&session);
                    drop(session);
                }
            },
        }
    }

    /// A session that can be used, opened anew where the last one was lost.
    async fn session(&self, index: usize, limit: u32) -> Session {
        let mut slot = self.sessions[index].lock().await;
        if let Some(session) = slot.as_ref().filter(|session| session.is_alive()) {
            return session.clone();
        }
        let session = self.open(index, limit).await;
        *slot = Some(session.clone());
        session
    }

    async fn open(&self, index: usize, limit: u32) -> Session {
        let ttl = Duration::from_secs(self.ttls[index % self.ttls.len()]);
        loop {
            let options = SessionOptions::new()
                .with_ttl(ttl)
                .with_handover_limit(limit)
                .with_timeout(Duration::from_secs(2));
            match options.open(&self.client).await {
                Ok(session) => return session,
                Err(_) => sleep(Duration::from_millis(50)).await,
            }
        }
    }

    async fn mutex(&self, session: &Session, acquire: &Acquire) {
        let Ok(mutex) = Mutex::new(session, name(acquire.lock)) else {
            return;
        };
        let wait = async {
            match acquire.how {
                How::Lock => mutex.lock().await,
                How::Timeout(millis) => mutex.lock_timeout(Duration::from_millis(millis)).await,
                How::Try => mutex.try_lock().await,
            }
        };
        let Some((wait, guard)) = self.outcome(acquire, session, wait).await else {
            return;
        };
        let guard = Arc::new(guard);
        let mode = history::Mode::Guard;
        let grant = self.note_granted(wait, guard.key(), guard.token(), mode, guard.clone());
        let hold = self.hold(acquire, |id, value| {
            let guard = guard.clone();
            async move {
                self.guarded_write(&guard, acquire.lock, grant, id, value)
                    .await
            }
        });
        if acquire.stops {
            if let Err(error) = guard.run(hold).await {
                self.note(Fact::Lost {
                    client: self.identity,
                    grant,
                    kind: error.kind(),
                    held: guard.is_held(),
                });
                // A program has something to tidy up when it is told.
                sleep(TIDYING_UP).await;
            }
        } else {
            hold.await;
        }
        self.note_released(grant, guard.is_held());
        let Some(guard) = Arc::into_inner(guard) else {
            return;
        };
        let released = match acquire.end {
            End::Drop => {
                drop(guard);
                None
            }
            End::Unlock => Some(guard.unlock().await),
            End::UnlockPolls(polls) => at_most(guard.unlock(), polls).await,
        };
        if let Some(Err(error)) = released {
            self.hub
                .note(Note::Said(format!("grant {grant} not released: {error}")));
        }
    }

    async fn bare(&self, session: &Session, acquire: &Acquire) {
        let Ok(name) = LockName::new(name(acquire.lock)) else {
            return;
        };
        let request = LockRequest::new(name, session.lease()).with_value(acquire.value.bytes());
        let wait = async {
            match acquire.how {
                How::Lock => {
                    let lock = self
                        .locks
                        .lock(request, CallOptions::new(Timeout::Infinity));
                    // Nobody else ends the wait of a lease that is lost.
                    tokio::select! {
                        biased;
                        granted = lock => granted,
                        error = session.lost() => Err(error),
                    }
                }
                How::Timeout(millis) => {
                    let bound = Timeout::After(Duration::from_millis(millis));
                    self.locks.lock(request, CallOptions::new(bound)).await
                }
                How::Try if self.mode == Mode::Plain => self.locks.lock(request, AT_ONCE).await,
                How::Try => self.queue.try_lock(request, PATIENCE).await,
            }
        };
        let Some((wait, reply)) = self.outcome(acquire, session, wait).await else {
            return;
        };
        let held = Arc::new(BareHold(session.clone()));
        let token = reply.token();
        let mode = history::Mode::Lease;
        let grant = self.note_granted(wait, &reply.key, token, mode, held.clone());
        self.hold(acquire, |id, value| {
            self.bare_write(&reply, acquire.lock, grant, id, value)
        })
        .await;
        self.note_released(grant, held.is_held());
        drop(held);
        let request =
            UnlockRequest::new(reply.key.clone()).with_create_revision(reply.create_revision);
        // The caller of a bare queue sees to it that a release is done. A session that is not alive for a moment may go on.
        let released = async {
            while self.locks.unlock(request.clone(), PATIENCE).await.is_err() {
                sleep(Duration::from_millis(20)).await;
            }
        };
        tokio::select! {
            biased;
            () = released => {}
            _ = session.lost() => {}
        }
    }

    /// Waits for a lock as told, and reports how that ends.
    async fn outcome<T>(
        &self,
        acquire: &Acquire,
        session: &Session,
        wait: impl Future<Output = Result<T>>,
    ) -> Option<(u64, T)> {
        let client = self.identity;
        let number = self.next_id();
        let of = LockName::new(name(acquire.lock)).ok()?;
        self.note(Fact::Asked {
            client,
            wait: number,
            lock: name(acquire.lock),
            key: of.key(session.lease()).to_string(),
            lease: session.lease().get(),
            how: match acquire.how {
                How::Lock => history::How::Lock,
                How::Timeout(millis) => history::How::Timeout(millis * 1_000),
                How::Try if self.mode == Mode::Plain => history::How::Timeout(20_000),
                How::Try => history::How::Try,
            },
        });
        let wait = at_most(wait, acquire.polls.unwrap_or(usize::MAX));
        let result = tokio::select! {
            biased;
            () = self.interrupt.notified() => None,
            result = wait => result,
        };
        match result {
            Some(Ok(grant)) => Some((number, grant)),
            Some(Err(error)) => {
                self.hub
                    .note(Note::Said(format!("wait {number} fails: {error:?}")));
                self.note(Fact::Failed {
                    client,
                    wait: number,
                    kind: error.kind(),
                });
                None
            }
            None => {
                self.note(Fact::GaveUp {
                    client,
                    wait: number,
                });
                None
            }
        }
    }

    /// Uses a lock: writes now and then.
    async fn hold<F: Future<Output = ()>>(
        &self,
        acquire: &Acquire,
        write: impl Fn(u64, Bytes) -> F,
    ) {
        let pause = Duration::from_millis(acquire.hold_ms / (acquire.writes + 1));
        for _ in 0..acquire.writes {
            sleep(pause).await;
            let id = self.next_id();
            write(id, Bytes::from(id.to_string())).await;
        }
        sleep(pause).await;
    }

    async fn guarded_write(
        &self,
        guard: &LockGuard,
        lock: usize,
        grant: u64,
        id: u64,
        value: Bytes,
    ) {
        self.note_write(id, grant);
        let put = PutRequest::new(resource(lock), value);
        let txn = guard.fenced_txn().and_then(put);
        let written = txn.with_timeout(Duration::from_secs(3)).commit().await;
        let end = match written {
            Ok(reply) if reply.succeeded => WriteEnd::Done,
            Ok(_) => WriteEnd::Refused,
            Err(error) => failed(&error),
        };
        self.note_write_end(id, end);
    }

    async fn bare_write(
        &self,
        reply: &LockResponse,
        lock: usize,
        grant: u64,
        id: u64,
        value: Bytes,
    ) {
        let created = reply.create_revision;
        self.note_write(id, grant);
        let key = reply.key.as_bytes().clone();
        let txn = TxnRequest::new()
            .when(Compare::create_revision(key.clone(), created))
            .and_then(PutRequest::new(resource(lock), value))
            .or_else(RangeRequest::key(key));
        let end = match self.queue.txn(txn, PATIENCE).await {
            Ok(reply) if reply.succeeded => WriteEnd::Done,
            Ok(_) => WriteEnd::Refused,
            Err(error) => failed(&error),
        };
        self.note_write_end(id, end);
    }
}

/// The lock with this number.
pub(super) fn name(lock: usize) -> String {
    format!("lock{lock}")
}

/// The key that the holder of a lock writes.
pub(super) fn resource(lock: usize) -> String {
    format!("resource-{lock}")
}

fn failed(error: &Error) -> WriteEnd {
    if error.is_outcome_unknown() {
        WriteEnd::Unknown
    } else if error.kind() == ErrorKind::Lost {
        WriteEnd::Refused
    } else {
        WriteEnd::NotDone
    }
}
