//! What is measured, and how.

use std::sync::Arc;
use std::time::Duration;

use etcd_lock::core::CallOptions;
use etcd_lock::kv::{DeleteRequest, PutRequest, RangeRequest, TxnRequest};
use etcd_lock::{LeaseId, Mutex, Result, Session, Transport};
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::connection::Connected;
use crate::exit::{Failure, SOFTWARE};

/// A kind of work.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Kind {
    /// A read of one key.
    Read,
    /// Two transactions: the least that a lock can cost.
    Write,
    /// Each task has a lock of its own.
    Uncontended,
    /// All tasks want one lock.
    Contended,
}

impl Kind {
    pub(super) const ALL: [Self; 4] = [Self::Read, Self::Write, Self::Uncontended, Self::Contended];

    /// For machines.
    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Write => "write",
            Self::Uncontended => "uncontended",
            Self::Contended => "contended",
        }
    }

    /// For people.
    pub(super) const fn about(self) -> &'static str {
        match self {
            Self::Read => "read a key",
            Self::Write => "write and delete a key",
            Self::Uncontended => "lock and unlock, one lock each",
            Self::Contended => "lock and unlock, one for all",
        }
    }
}

/// The numbers of a kind of work.
#[derive(Debug)]
pub(super) struct Measured {
    pub(super) cycles: usize,
    /// From the beginning to the end of the last cycle.
    pub(super) took: Duration,
    pub(super) p50: Duration,
    pub(super) p99: Duration,
    /// Whether only one task works at a time.
    is_serial: bool,
}

impl Measured {
    pub(super) fn per_second(&self) -> f64 {
        self.cycles as f64 / self.took.as_secs_f64()
    }

    /// How long a cycle takes, without the wait for others.
    pub(super) fn cycle(&self) -> Duration {
        match self.is_serial {
            true => self.took.div_f64(self.cycles as f64),
            false => self.p50,
        }
    }
}

/// Repeats a kind of work in a task for each etcd, until the time is over. Each does it once at least.
pub(super) async fn measure(
    kind: Kind,
    prefix: &str,
    etcds: &[Connected],
    sessions: &[Session],
    time: Duration,
) -> Result<Measured, Failure> {
    let began = Instant::now();
    let mut tasks = JoinSet::new();
    for (number, (etcd, session)) in etcds.iter().zip(sessions).enumerate() {
        let name = match kind {
            Kind::Contended => format!("{prefix}/contended"),
            _ => format!("{prefix}/{number}"),
        };
        let work = Work::new(kind, name, etcd, session)?;
        tasks.spawn(work.repeat(began, time));
    }
    let mut samples = Vec::new();
    while let Some(done) = tasks.join_next().await {
        samples.extend(done.map_err(|error| Failure::new(SOFTWARE, error.to_string()))??);
    }
    let took = began.elapsed();
    samples.sort_unstable();
    Ok(Measured {
        cycles: samples.len(),
        took,
        p50: samples[samples.len() / 2],
        p99: samples[samples.len() * 99 / 100],
        is_serial: kind == Kind::Contended,
    })
}

/// What one task does.
enum Work {
    Read(Arc<dyn Transport>, CallOptions, String),
    Write(Arc<dyn Transport>, CallOptions, String, LeaseId),
    Lock(Mutex),
}

impl Work {
    fn new(kind: Kind, name: String, etcd: &Connected, session: &Session) -> Result<Self> {
        let transport = etcd.client.transport().clone();
        let options = etcd.options();
        Ok(match kind {
            Kind::Read => Self::Read(transport, options, name),
            Kind::Write => Self::Write(transport, options, name, session.lease()),
            Kind::Uncontended | Kind::Contended => Self::Lock(Mutex::new(session, name)?),
        })
    }

    /// How long each cycle took.
    async fn repeat(self, began: Instant, time: Duration) -> Result<Vec<Duration>> {
        let mut samples = Vec::new();
        loop {
            let at = Instant::now();
            self.once().await?;
            samples.push(at.elapsed());
            if began.elapsed() >= time {
                return Ok(samples);
            }
        }
    }

    async fn once(&self) -> Result<()> {
        match self {
            Self::Read(etcd, options, key) => {
                let request = RangeRequest::key(key.clone());
                etcd.range(request, *options).await.map(|_| ())
            }
            Self::Write(etcd, options, key, lease) => {
                let put = PutRequest::new(key.clone(), "").with_lease(*lease);
                let delete = DeleteRequest::key(key.clone());
                etcd.txn(TxnRequest::new().and_then(put), *options).await?;
                etcd.txn(TxnRequest::new().and_then(delete), *options)
                    .await
                    .map(|_| ())
            }
            Self::Lock(mutex) => mutex.lock().await?.unlock().await,
        }
    }
}
