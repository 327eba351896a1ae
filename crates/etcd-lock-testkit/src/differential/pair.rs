//! Both sides step by step, and whether they say the same.

mod locks;
mod quiesce;

use std::fmt::Debug;
use std::time::Duration;

use etcd_lock_memory::model::Version;
use etcd_lock_proto::etcdserverpb as pb;
use pb::watch_request::RequestUnion;
use tokio::time::{Instant, sleep};

use self::locks::Waiting;
use super::call::{Answer, Call, End, Reply, Start, Step};
use super::etcd::{Etcd, Metrics};
use super::mapping::{Mapped, Mapper};
use super::memory::Memory;
use super::numbers::{FromEtcd, FromSymbols, Numbers, ToEtcd};
use super::watch_log::{BARRIER, STREAMS, WatchLog, barrier_watch};

/// The shortest lease lives two seconds. Steps with one that take longer than this tell nothing.
const HASTE: Duration = Duration::from_millis(1_500);

/// How much of a lease's time may have passed on etcd's clock; on the model's none has.
const MAX_PASSED: i64 = 60;

/// Why a sequence was not carried out to its end.
#[derive(Debug)]
pub(super) enum Stop {
    /// The two differ: what was asked, and both answers.
    Mismatch(String),
    /// A lease may have ended for lack of time.
    TooSlow,
}

type Result<T = ()> = std::result::Result<T, Stop>;

/// A model and an etcd in the same state.
#[derive(Debug)]
pub(super) struct Pair<'a> {
    memory: Memory,
    etcd: &'a mut Etcd,
    numbers: Numbers,
    locks: Vec<Waiting>,
    watch_logs: [(WatchLog, WatchLog); STREAMS],
    steps: u64,
}

impl<'a> Pair<'a> {
    /// Brings both to the same start.
    pub(super) async fn begin(version: Version, start: Start, etcd: &'a mut Etcd) -> Result<Self> {
        let header = etcd.begin(start).await;
        let memory = Memory::new(version, start);
        let numbers = Numbers {
            offset: header.revision - memory.model.revision(),
            etcd: header,
            ..Numbers::default()
        };
        let mut pair = Self {
            memory,
            etcd,
            numbers,
            locks: Vec::new(),
            watch_logs: Default::default(),
            steps: 0,
        };
        for stream in 0..STREAMS {
            pair.memory.watch(stream, barrier_watch());
        }
        pair.quiesce().await?;
        Ok(pair)
    }

    /// Carries out a sequence, and tells how many steps that were.
    pub(super) async fn run(mut self, steps: &[Step]) -> Result<u64> {
        for step in steps {
            self.step(step).await?;
        }
        let barrier = pb::PutRequest {
            key: BARRIER,
            ..pb::PutRequest::default()
        };
        self.call(Call::Put(barrier)).await?;
        self.quiesce().await?;
        match self.locks.iter().find(|lock| lock.etcd.is_finished()) {
            Some(lock) => Err(Stop::Mismatch(format!(
                "{lock:?} was answered by etcd alone"
            ))),
            None => Ok(self.steps),
        }
    }

    async fn step(&mut self, step: &Step) -> Result {
        self.steps += 1;
        self.memory.tick();
        match step {
            Step::Call(call) => self.call(call.clone()).await?,
            Step::Watch(stream, request) => self.watch(*stream, request.clone()),
            Step::Lock(request) => self.lock(request.clone()).await?,
            Step::GiveUp(index) => self.give_up(*index).await,
            Step::Brief { grant, steps, end } => Box::pin(self.brief(*grant, steps, *end)).await?,
        }
        self.quiesce().await
    }

    async fn call(&mut self, call: Call) -> Result {
        let call = self.with_numbers(call);
        if matches!(call, Call::Compact(_)) {
            // A watch that is still catching up may or may not be too late for what it has missed.
            let caught_up = async |metrics: &Metrics| metrics.late_watches() == 0;
            self.etcd
                .until("all watches have caught up", caught_up)
                .await;
        }
        let mut memory = self.memory.call(&call);
        let mut etcd = self.etcd.call(self.to_etcd(call.clone())).await;
        if let (
            Call::Grant(pb::LeaseGrantRequest { id: 0, .. }),
            Ok(Reply::Grant(memory)),
            Ok(Reply::Grant(etcd)),
        ) = (&call, &memory, &etcd)
        {
            self.numbers.picked.push((memory.id, etcd.id));
        }
        etcd.renumber(&FromEtcd(&self.numbers));
        forget_time_and_order(&mut memory);
        forget_time_and_order(&mut etcd);
        same(&call, &memory, &etcd)
    }

    fn watch(&mut self, stream: usize, mut request: pb::WatchRequest) {
        let create = |request: &mut pb::WatchRequest, by: &dyn Mapper| {
            if let Some(RequestUnion::CreateRequest(create)) = &mut request.request_union {
                create.renumber(by);
            }
        };
        create(&mut request, &self.symbols());
        let (memory, etcd) = &mut self.watch_logs[stream];
        memory.asked(&request);
        etcd.asked(&request);
        self.memory.watch(stream, request.clone());
        create(&mut request, &ToEtcd(&self.numbers));
        self.etcd.watch(stream, request);
    }

    async fn brief(&mut self, grant: pb::LeaseGrantRequest, steps: &[Step], end: End) -> Result {
        let since = Instant::now();
        let id = self.with_numbers(grant).id;
        let is_new = !self.memory.has_lease(id);
        self.call(Call::Grant(grant)).await?;
        for step in steps {
            self.step(step).await?;
        }
        let revoke = Call::Revoke(pb::LeaseRevokeRequest { id: grant.id });
        match end {
            End::Expire if is_new => {}
            End::Expire | End::Revoke => self.call(revoke).await?,
        }
        if is_new && since.elapsed() > HASTE {
            return Err(Stop::TooSlow);
        }
        if matches!(end, End::Expire) && is_new {
            self.expire(id).await;
        }
        Ok(())
    }

    async fn expire(&mut self, id: i64) {
        let call = Call::TimeToLive(pb::LeaseTimeToLiveRequest { id, keys: false });
        let lives = async || match self.etcd.call(call.clone()).await.unwrap() {
            Reply::TimeToLive(reply) => reply.ttl >= 0,
            other => unreachable!("a question for a time is not answered with {other:?}"),
        };
        while lives().await {
            sleep(Duration::from_millis(20)).await;
        }
        self.memory.expire(id);
    }

    fn symbols(&self) -> FromSymbols<'_> {
        FromSymbols {
            numbers: &self.numbers,
            revision: self.memory.model.revision(),
        }
    }

    fn with_numbers<T: Mapped>(&self, mut request: T) -> T {
        request.renumber(&self.symbols());
        request
    }

    fn to_etcd<T: Mapped>(&self, mut request: T) -> T {
        request.renumber(&ToEtcd(&self.numbers));
        request
    }
}

fn same<T: Debug + PartialEq>(asked: &dyn Debug, memory: &T, etcd: &T) -> Result {
    if memory == etcd {
        return Ok(());
    }
    let text = format!("asked: {asked:?}\nmodel: {memory:?}\netcd:  {etcd:?}");
    Err(Stop::Mismatch(text))
}

/// The rest of a lease's time depends on the clock, and etcd lists its keys in no order.
fn forget_time_and_order(answer: &mut Answer) {
    if let Ok(Reply::TimeToLive(reply)) = answer {
        if (0..=MAX_PASSED).contains(&(reply.granted_ttl - reply.ttl)) {
            reply.ttl = reply.granted_ttl;
        }
        reply.keys.sort();
    }
}
