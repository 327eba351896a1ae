//! An etcd in memory and processes that want its locks, on a paused clock and without chance: a run is the same each time.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
use std::time::Duration;

use etcd_lock::group::GroupCommit;
use etcd_lock::memory::MemoryEtcd;
use etcd_lock::session::{System, Tuning};
use etcd_lock::{Client, Queue, Result, Session};
use etcd_lock_testkit::checker::judge;
use etcd_lock_testkit::history::{Fact, to_lines};
use etcd_lock_testkit::recorder::{RecordedClient, RecordedGuard, Recorder};
use tokio::time::sleep;

use crate::link::Link;
use crate::run::Run;

/// The name of the lock.
const LOCK: &str = "report";

/// An etcd, and a recorder of what happens on it and to its clients.
pub(crate) struct Stage {
    etcd: MemoryEtcd,
    recorder: Recorder,
    /// How long a message is under way.
    pub(crate) latency: Duration,
}

impl Stage {
    pub(crate) fn new(latency: Duration) -> Self {
        // The pauses between attempts are drawn with the thread's generator.
        fastrand::seed(0);
        let etcd = MemoryEtcd::new();
        let recorder = Recorder::on_paused_clock(&etcd);
        Self {
            etcd,
            recorder,
            latency,
        }
    }

    /// A process with a session.
    pub(crate) async fn process(&self, number: u32, ttl: Duration) -> Process {
        let link = Link::new(&self.etcd, self.latency);
        let group = GroupCommit::new(link.clone());
        let system = Arc::new(Numbers(AtomicU64::new(u64::from(number) << 32)));
        let client = Client::from(Queue::tuned(Arc::new(group), Tuning::new(), system));
        let session = Session::open(&client, ttl).await.unwrap();
        let recorded = self.recorder.client(number);
        recorded.note_session(&session);
        Process {
            recorded,
            session,
            link,
        }
    }

    /// etcd does not answer a process from now on.
    pub(crate) fn silence(&self, process: &Process) {
        let number = process.recorded.identity().process;
        self.recorder
            .disturbed(Some(number), "etcd does not answer", Duration::MAX);
        process.link.hold_up();
    }

    /// Ends the run, which must break no rule.
    pub(crate) async fn end(self) -> Run {
        let history = self.recorder.end(&[]).await;
        assert_eq!(judge(&history), [], "{}", to_lines(&history).unwrap());
        Run::new(history)
    }
}

/// A process with a session, which says what it wants and holds.
pub(crate) struct Process {
    pub(crate) recorded: RecordedClient,
    pub(crate) session: Session,
    pub(crate) link: Link,
}

impl Process {
    pub(crate) async fn lock(&self) -> RecordedGuard {
        self.recorded.lock(&self.session, LOCK).await.unwrap()
    }

    /// Waits for the lock, holds it, and releases it.
    pub(crate) async fn hold(&self, length: Duration) {
        let guard = self.lock().await;
        sleep(length).await;
        guard.unlock().await.unwrap();
    }

    /// Stands still: nothing comes from it, and nothing gets to it. The caller must not go on with its program before
    /// this ends, which is all that others can see of a process that is stopped.
    pub(crate) async fn stopped(&self, length: Duration) {
        let client = self.recorded.identity();
        self.recorded.note(Fact::Paused { client });
        self.link.hold_up();
        sleep(length).await;
        self.link.go_on();
        self.recorded.note(Fact::Resumed { client });
    }
}

/// An operating system whose random numbers are known, and which never sleeps.
#[derive(Debug)]
struct Numbers(AtomicU64);

impl System for Numbers {
    fn suspended(&self) -> Duration {
        Duration::ZERO
    }

    fn random(&self) -> Result<u64> {
        Ok(self.0.fetch_add(2, SeqCst))
    }
}
