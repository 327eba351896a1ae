//! Waiting for a lock, and what is told of it meanwhile.

use std::convert::Infallible;
use std::io::{self, IsTerminal};
use std::time::Duration;

use etcd_lock::kv::{RangeRequest, SortOrder, SortTarget};
use etcd_lock::{Error, ErrorKind, LockGuard, LockName, Mutex, Owner, Result};
use indicatif::{ProgressBar, ProgressDrawTarget};
use tokio::sync::watch;
use tokio::time::{Instant, sleep, timeout};

use crate::args::Wait;
use crate::connection::Connected;
use crate::exit::{Failure, say};
use crate::print::{Age, Who, bar, shell};

/// How long a wait is silent.
const SILENCE: Duration = Duration::from_millis(400);

/// How often the age of a hold is told anew.
const SECOND: Duration = Duration::from_secs(1);

/// How often the spinner turns.
const FRAME: Duration = Duration::from_millis(100);

/// How to wait for a lock.
#[derive(Debug)]
pub(crate) struct Waiting<'a> {
    pub(crate) etcd: &'a Connected,
    pub(crate) wait: &'a Wait,
    pub(crate) quiet: bool,
}

impl Waiting<'_> {
    /// Waits for the lock as long as told.
    ///
    /// # Cancel safety
    /// The queue entry is withdrawn in the background.
    pub(crate) async fn acquire(&self, mutex: &Mutex) -> Result<LockGuard, Failure> {
        let begun = Instant::now();
        let (tell, position) = watch::channel(None);
        let waiting = async {
            match self.wait.limit {
                _ if self.wait.no_wait => Some(mutex.try_lock().await),
                Some(limit) => timeout(limit, enqueued(mutex, &tell)).await.ok(),
                None => Some(enqueued(mutex, &tell).await),
            }
        };
        let notice = Notice {
            name: mutex.name(),
            etcd: self.etcd,
        };
        let result = tokio::select! {
            result = waiting => result,
            never = notice.show(position.clone()), if !self.quiet => match never {},
        };
        match result {
            Some(Ok(guard)) => {
                if !self.quiet && begun.elapsed() > SILENCE {
                    let token = guard.token().create_revision();
                    say(&format!(
                        "the lock is held after {} (token {token})",
                        Age(begun.elapsed())
                    ));
                }
                Ok(guard)
            }
            Some(Err(error)) => Err(self.failure(mutex.name(), error).await),
            None => Err(self.ran_out(mutex.name(), &position).await),
        }
    }

    async fn failure(&self, name: &LockName, error: Error) -> Failure {
        let kind = error.kind();
        let failure = Failure::from(error);
        match kind {
            ErrorKind::Busy => self.busy(name, "is held or waited for").await,
            ErrorKind::LeaseNotFound | ErrorKind::Lost => {
                failure.meaning(format!("the entry in the queue of {name} was lost"))
            }
            _ => failure,
        }
    }

    /// The wait ran out, which says nothing of the lock where etcd is silent.
    async fn ran_out(&self, name: &LockName, position: &watch::Receiver<Option<usize>>) -> Failure {
        let limit = self.wait.limit.unwrap_or_default();
        if position.borrow().is_none() {
            let text = format!("etcd did not answer within {limit:?}");
            return Failure::from(Error::new(ErrorKind::Timeout, text));
        }
        self.busy(name, &format!("was not free within {limit:?}"))
            .await
    }

    /// Names the holder. Where etcd doesn't tell, nobody knows whether there is one.
    async fn busy(&self, name: &LockName, what: &str) -> Failure {
        let holder = match Holder::read(self.etcd, name).await {
            Ok(holder) => holder,
            Err(error) => return error.into(),
        };
        let failure = Failure::new(self.wait.conflict_exit_code, format!("{name} {what}"));
        let failure = match holder {
            Some(holder) => failure.because(format!("held by {}", Who(holder.owner.as_ref()))),
            None => failure.because("it is free by now"),
        };
        let status = format!("etcd-lock status {}", shell(name));
        failure.advice(match self.wait.no_wait {
            true => format!("wait with --wait, or see {status}"),
            false => format!("wait longer, or see {status}"),
        })
    }
}

/// Waits in the queue, and tells each position.
async fn enqueued(mutex: &Mutex, tell: &watch::Sender<Option<usize>>) -> Result<LockGuard> {
    let mut waiter = mutex.enqueue().await?;
    loop {
        match waiter.changed().await? {
            0 => return waiter.granted().await,
            position => tell.send_replace(Some(position)),
        };
    }
}

/// The notice of a wait: at a terminal a line that changes, else a line for each change of the position.
#[derive(Debug)]
struct Notice<'a> {
    name: &'a LockName,
    etcd: &'a Connected,
}

impl Notice<'_> {
    async fn show(&self, mut position: watch::Receiver<Option<usize>>) -> Infallible {
        sleep(SILENCE).await;
        let line = Line::new();
        loop {
            let known = *position.borrow_and_update();
            let holder = match known {
                Some(_) => Holder::read(self.etcd, self.name).await.ok().flatten(),
                None => None,
            };
            line.begin(&self.text(known, holder.as_ref()));
            while timeout(SECOND, changed(&mut position)).await.is_err() {
                line.change(&self.text(known, holder.as_ref()));
            }
        }
    }

    fn text(&self, position: Option<usize>, holder: Option<&Holder>) -> String {
        let Some(position) = position else {
            return format!("waiting for etcd's answer, to queue for {}", self.name);
        };
        let mut text = format!("waiting for {}: ", self.name);
        if let Some(Holder { owner, age, read }) = holder {
            text += &format!("held by {}, ", Who(owner.as_ref()));
            if let Some(age) = age {
                text += &format!("queued {} ago, ", Age(*age + read.elapsed()));
            }
        }
        text + &match position {
            1 => "we are next".to_owned(),
            more => format!("{more} are before us"),
        }
    }
}

/// The oldest entry of a queue.
struct Holder {
    owner: Option<Owner>,
    /// How long it had been there when it was read.
    age: Option<Duration>,
    read: Instant,
}

impl Holder {
    /// One read, however long the queue is.
    async fn read(etcd: &Connected, name: &LockName) -> Result<Option<Self>> {
        let first = RangeRequest::prefix(name.queue_prefix())
            .sorted_by(SortTarget::CreateRevision, SortOrder::Ascending)
            .with_limit(1);
        let reply = etcd.client.transport().range(first, etcd.options()).await?;
        Ok(reply.kvs.first().map(|kv| {
            let owner = Owner::from_entry(&kv.value);
            Self {
                age: owner.as_ref().and_then(|owner| owner.since?.elapsed().ok()),
                owner,
                read: Instant::now(),
            }
        }))
    }
}

/// Waits for another position: for ever once there will be none.
async fn changed(position: &mut watch::Receiver<Option<usize>>) {
    if position.changed().await.is_err() {
        std::future::pending().await
    }
}

/// A line on standard error, which stays where it isn't a terminal.
#[derive(Debug)]
struct Line(Option<ProgressBar>);

impl Line {
    fn new() -> Self {
        if !io::stderr().is_terminal() {
            return Self(None);
        }
        let bar = bar(
            ProgressDrawTarget::stderr(),
            "{spinner} {wide_msg} {elapsed}",
        );
        bar.enable_steady_tick(FRAME);
        Self(Some(bar))
    }

    /// Says something new.
    fn begin(&self, text: &str) {
        match &self.0 {
            Some(bar) => bar.set_message(text.to_owned()),
            None => say(text),
        }
    }

    /// Says the same at a later time.
    fn change(&self, text: &str) {
        if let Some(bar) = &self.0 {
            bar.set_message(text.to_owned());
        }
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        if let Some(bar) = &self.0 {
            bar.finish_and_clear();
        }
    }
}
