//! Histories of etcds: the events of a watch of all keys, and the notes that recorded clients make of themselves.
//!
//! A watch can't tell by whom a key was deleted, so a claim may outlive any entry by the bounds of [`checker`](crate::checker). Its events come a moment late:
//! so claims and the ends of waits and holds are noted [`LAG`] later than they happen, all alike, and all else is noted at once.

mod client;
mod journal;

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use etcd_lock_core::kv::{PutRequest, TxnRequest};
use etcd_lock_core::watch::{Event, EventKind, WatchBody, WatchCreate, WatchRequest};
use etcd_lock_core::{Client, LockKey, Revision};
use etcd_lock_grpc::GrpcTransport;
use etcd_lock_memory::MemoryEtcd;
use futures_util::{StreamExt, stream};
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};

pub use self::client::{RecordedClient, RecordedGuard};
pub use self::journal::{Journal, LAG, now};
use crate::checker::{Violation, judge};
use crate::history::{Author, Entry, Fact, Micros, Record, from_lines, to_lines};
use crate::store;
use crate::test_context::PATIENCE;

/// The key that tells that the watch has told of everything before it.
const BARRIER: &str = "recorder-barrier";

/// Records what happens on an etcd and to the clients that it is told of.
#[derive(Debug)]
pub struct Recorder {
    client: Client,
    seen: Arc<Seen>,
    journal: Arc<Journal>,
    watching: JoinHandle<()>,
}

#[derive(Debug, Default)]
struct Seen(Mutex<(Vec<Record>, Revision)>);

impl Recorder {
    /// Begins with the first revision of the etcd at these endpoints.
    ///
    /// # Panics
    /// When they can't be right.
    #[must_use]
    pub fn start(endpoints: &[String]) -> Self {
        let transport = GrpcTransport::connect(endpoints).unwrap();
        Self::of(Client::new(transport), Journal::in_memory())
    }

    /// Begins with the first revision of an etcd in memory, on a clock that is paused: nothing is noted late.
    #[must_use]
    pub fn on_paused_clock(etcd: &MemoryEtcd) -> Self {
        Self::of(Client::new(etcd.clone()), Journal::on_paused_clock())
    }

    fn of(client: Client, journal: Arc<Journal>) -> Self {
        let seen = Arc::<Seen>::default();
        let watching = watch(client.clone(), seen.clone(), journal.clone());
        let watching = tokio::spawn(watching);
        Self {
            client,
            seen,
            journal,
            watching,
        }
    }

    /// A client whose waits and holds are recorded.
    #[must_use]
    pub fn client(&self, process: u32) -> RecordedClient {
        RecordedClient::new(self.journal.clone(), process)
    }

    /// From now on, for so long, requests of a process, or of everybody, may not be answered.
    pub fn disturbed(&self, process: Option<u32>, cause: &str, length: Duration) {
        let length = Micros::try_from(length.as_micros()).unwrap_or(Micros::MAX / 2);
        let until = self.journal.now() + length;
        self.journal.add(Fact::Disturbed {
            process,
            cause: cause.to_owned(),
            until,
        });
    }

    /// Waits until the watch has told of everything until now: after what may have broken its stream.
    ///
    /// # Panics
    /// When the etcd doesn't answer.
    pub async fn caught_up(&self) {
        let barrier = async {
            loop {
                let put = TxnRequest::new().and_then(PutRequest::new(BARRIER, ""));
                if let Ok(reply) = self.client.transport().txn(put, store::options()).await {
                    break reply.header.revision;
                }
                sleep(Duration::from_millis(50)).await;
            }
        };
        let caught_up = async {
            let barrier = barrier.await;
            while self.seen.with(|(_, revision)| *revision) < barrier {
                sleep(Duration::from_millis(10)).await;
            }
        };
        let reached = timeout(PATIENCE, caught_up).await;
        reached.expect("the watch of all keys never told of the barrier");
    }

    /// Ends the recording. Returns the records until now, with those of the processes that recorded themselves as lines.
    ///
    /// # Panics
    /// When the etcd doesn't answer, or a line is no record.
    pub async fn end(self, others: &[&str]) -> Vec<Record> {
        self.caught_up().await;
        sleep(LAG).await;
        self.watching.abort();
        let mut history = self.journal.records();
        history.append(&mut self.seen.with(|(records, _)| std::mem::take(records)));
        for lines in others {
            history.append(&mut from_lines(lines).unwrap());
        }
        history.sort_by_key(|record| record.at);
        history.push(Record::observed(self.journal.now(), Fact::Ended));
        history
    }

    /// Ends the recording and judges it.
    pub async fn judge(self, others: &[&str]) -> (Vec<Record>, Vec<Violation>) {
        let history = self.end(others).await;
        let violations = judge(&history);
        (history, violations)
    }

    /// Ends the recording, which must break no rule.
    ///
    /// # Panics
    /// When it does, with the history.
    pub async fn finds_nothing(self) {
        self.finds_nothing_with(&[]).await;
    }

    /// The same with what other processes have written.
    ///
    /// # Panics
    /// When a rule is broken, with the history.
    pub async fn finds_nothing_with(self, others: &[&str]) {
        let (history, violations) = self.judge(others).await;
        assert_eq!(violations, [], "{}", to_lines(&history).unwrap());
    }
}

impl Seen {
    fn with<T>(&self, access: impl FnOnce(&mut (Vec<Record>, Revision)) -> T) -> T {
        access(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn tell(&self, event: &Event, at: Micros) {
        let record = fact(event).map(|fact| Record::observed(at, fact));
        self.with(|(records, revision)| {
            records.extend(record);
            *revision = event.kv.mod_revision;
        });
    }
}

/// The fact that an event stands for, if it is about a queue.
fn fact(event: &Event) -> Option<Fact> {
    let key = event.kv.key.clone();
    let text = String::from_utf8_lossy(&key).into_owned();
    let (lock, lease) = LockKey::new(key).ok()?.parts()?;
    let lock = lock.to_string();
    match event.kind {
        EventKind::Put if event.kv.version > 1 => None,
        EventKind::Put => Some(Fact::Entered {
            lock,
            entry: Entry::new(event.kv.create_revision.get(), text),
            lease: lease.get(),
        }),
        EventKind::Delete => Some(Fact::Left {
            lock,
            entry: Entry::new(event.prev_kv.as_ref()?.create_revision.get(), text),
            revision: event.kv.mod_revision.get(),
            by: Author::Unknown,
        }),
    }
}

/// Watches all keys from the first revision on, and goes on where it was when the stream breaks.
async fn watch(client: Client, seen: Arc<Seen>, journal: Arc<Journal>) {
    let mut next = Revision::ZERO.next();
    loop {
        let mut all = WatchCreate::key(1, Bytes::from_static(&[0]))
            .from_revision(next)
            .with_prev_kv();
        all.range_end = Bytes::from_static(&[0]);
        let requests = stream::iter([WatchRequest::Create(all)]).chain(stream::pending());
        let mut replies = client.transport().watch(Box::pin(requests));
        while let Some(Ok(reply)) = replies.next().await {
            let WatchBody::Events(events) = reply.body else {
                continue;
            };
            for event in &events {
                seen.tell(event, journal.now());
                next = event.kv.mod_revision.next();
            }
        }
        sleep(Duration::from_millis(50)).await;
    }
}
