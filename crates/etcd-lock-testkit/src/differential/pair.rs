//! Both sides step by step, and whether they say the same.

mod locks;
mod settling;

use std::fmt::Debug;
use std::time::Duration;

use etcd_lock_memory::model::Version;
use etcd_lock_proto::etcdserverpb as pb;
use pb::watch_request::RequestUnion;
use tokio::time::{Instant, sleep};

use self::locks::Waiting;
use super::call::{Answer, Call, End, Reply, Start, Step};
use super::feeds::{FENCE, Feed, STREAMS, fence_watch};
use super::large::{Large, Metrics};
use super::mapping::{Mapped, Mapper};
use super::numbers::{FromEtcd, FromSymbols, Numbers, ToEtcd};
use super::small::Small;

/// The shortest lease lives two seconds. What takes longer than this with one tells nothing.
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
    small: Small,
    large: &'a mut Large,
    numbers: Numbers,
    locks: Vec<Waiting>,
    feeds: [(Feed, Feed); STREAMS],
    steps: u64,
}

impl<'a> Pair<'a> {
    /// Brings both to the same start.
    pub(super) async fn begin(
        version: Version,
        start: Start,
        large: &'a mut Large,
    ) -> Result<Self> {
        let etcd = large.begin(start).await;
        let small = Small::new(version, start);
        let numbers = Numbers {
            offset: etcd.revision - small.model.revision(),
            etcd,
            ..Numbers::default()
        };
        let mut pair = Self {
            small,
            large,
            numbers,
            locks: Vec::new(),
            feeds: Default::default(),
            steps: 0,
        };
        for stream in 0..STREAMS {
            pair.small.watch(stream, fence_watch());
        }
        pair.settle().await?;
        Ok(pair)
    }

    /// Carries out a sequence, and tells how many steps that were.
    pub(super) async fn run(mut self, steps: &[Step]) -> Result<u64> {
        for step in steps {
            self.step(step).await?;
        }
        let fence = pb::PutRequest {
            key: FENCE,
            ..pb::PutRequest::default()
        };
        self.call(Call::Put(fence)).await?;
        self.settle().await?;
        match self.locks.iter().find(|lock| lock.large.is_finished()) {
            Some(lock) => Err(Stop::Mismatch(format!(
                "{lock:?} was answered by etcd alone"
            ))),
            None => Ok(self.steps),
        }
    }

    async fn step(&mut self, step: &Step) -> Result {
        self.steps += 1;
        self.small.tick();
        match step {
            Step::Call(call) => self.call(call.clone()).await?,
            Step::Watch(stream, request) => self.watch(*stream, request.clone()),
            Step::Lock(request) => self.lock(request.clone()).await?,
            Step::GiveUp(index) => self.give_up(*index).await,
            Step::Brief { grant, steps, end } => Box::pin(self.brief(*grant, steps, *end)).await?,
        }
        self.settle().await
    }

    async fn call(&mut self, call: Call) -> Result {
        let call = self.with_numbers(call);
        if matches!(call, Call::Compact(_)) {
            // A watch that is still catching up may or may not be too late for what it has missed.
            let caught_up = async |metrics: &Metrics| metrics.late_watches() == 0;
            self.large
                .until("all watches have caught up", caught_up)
                .await;
        }
        let mut small = self.small.call(&call);
        let mut large = self.large.call(self.to_etcd(call.clone())).await;
        if let (
            Call::Grant(pb::LeaseGrantRequest { id: 0, .. }),
            Ok(Reply::Grant(small)),
            Ok(Reply::Grant(large)),
        ) = (&call, &small, &large)
        {
            self.numbers.picked.push((small.id, large.id));
        }
        large.renumber(&FromEtcd(&self.numbers));
        forget_time_and_order(&mut small);
        forget_time_and_order(&mut large);
        same(&call, &small, &large)
    }

    fn watch(&mut self, stream: usize, mut request: pb::WatchRequest) {
        let create = |request: &mut pb::WatchRequest, by: &dyn Mapper| {
            if let Some(RequestUnion::CreateRequest(create)) = &mut request.request_union {
                create.renumber(by);
            }
        };
        create(&mut request, &self.symbols());
        let (small, large) = &mut self.feeds[stream];
        small.asked(&request);
        large.asked(&request);
        self.small.watch(stream, request.clone());
        create(&mut request, &ToEtcd(&self.numbers));
        self.large.watch(stream, request);
    }

    async fn brief(&mut self, grant: pb::LeaseGrantRequest, steps: &[Step], end: End) -> Result {
        let since = Instant::now();
        let id = self.with_numbers(grant).id;
        let is_new = !self.small.has_lease(id);
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
        let lives = async || match self.large.call(call.clone()).await.unwrap() {
            Reply::TimeToLive(reply) => reply.ttl >= 0,
            other => unreachable!("a question for a time is not answered with {other:?}"),
        };
        while lives().await {
            sleep(Duration::from_millis(20)).await;
        }
        self.small.expire(id);
    }

    fn symbols(&self) -> FromSymbols<'_> {
        FromSymbols {
            numbers: &self.numbers,
            revision: self.small.model.revision(),
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

fn same<T: Debug + PartialEq>(asked: &dyn Debug, small: &T, large: &T) -> Result {
    if small == large {
        return Ok(());
    }
    let text = format!("asked: {asked:?}\nmodel: {small:?}\netcd:  {large:?}");
    Err(Stop::Mismatch(text))
}

/// What is left of a lease depends on the clock, and etcd lists its keys in no order.
fn forget_time_and_order(answer: &mut Answer) {
    if let Ok(Reply::TimeToLive(reply)) = answer {
        if (0..=MAX_PASSED).contains(&(reply.granted_ttl - reply.ttl)) {
            reply.ttl = reply.granted_ttl;
        }
        reply.keys.sort();
    }
}
