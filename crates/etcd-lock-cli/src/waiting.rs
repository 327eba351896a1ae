//! Waiting for a lock, and what is told of it meanwhile.

use std::convert::Infallible;
use std::io::{self, IsTerminal};
use std::time::Duration;

use etcd_lock::core::CallOptions;
use etcd_lock::kv::{RangeRequest, SortOrder, SortTarget};
use etcd_lock::{Client, Error, ErrorKind, LockGuard, LockName, Mutex, Owner, Result, new, queue};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use tokio::sync::watch;
use tokio::time::{Instant, sleep, timeout};

use crate::args::Wait;
use crate::exit::{Failure, say};
use crate::print::{Age, Who, shell};

/// When somebody who waits is told what for.
const SILENCE: Duration = Duration::from_millis(400);

/// How often the age of a hold is told anew.
const SECOND: Duration = Duration::from_secs(1);

/// How often the spinner turns.
const FRAME: Duration = Duration::from_millis(100);

/// How to wait, and for whom.
#[derive(Debug)]
pub(crate) struct Waiting<'a> {
    pub(crate) client: &'a Client,
    /// How long etcd may take to answer.
    pub(crate) timeout: Duration,
    pub(crate) wait: &'a Wait,
    pub(crate) quiet: bool,
}

impl Waiting<'_> {
    /// Waits for the lock as long as told.
    ///
    /// # Cancel safety
    /// The place in the queue is given up in the background.
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
            client: self.client,
            timeout: self.timeout,
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
                failure.meaning(format!("the place in the queue of {name} was lost"))
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
        let ctx = new(self.client).with_timeout(self.timeout);
        let view = match queue(ctx, name.as_bytes().clone()).await {
            Ok(view) => view,
            Err(error) => return error.into(),
        };
        let failure = Failure::new(self.wait.conflict_exit_code, format!("{name} {what}"));
        let failure = match view.entries.first() {
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
    let mut place = mutex.enqueue().await?;
    loop {
        match place.changed().await? {
            0 => return place.granted().await,
            position => tell.send_replace(Some(position)),
        };
    }
}

/// What is told to somebody who waits: at a terminal in a line that changes, else in a line for each change of the position.
#[derive(Debug)]
struct Notice<'a> {
    name: &'a LockName,
    client: &'a Client,
    timeout: Duration,
}

/// The oldest entry of a queue.
struct Holder {
    owner: Option<Owner>,
    /// How long it had been there when it was read.
    age: Option<Duration>,
    read: Instant,
}

impl Notice<'_> {
    async fn show(&self, mut position: watch::Receiver<Option<usize>>) -> Infallible {
        sleep(SILENCE).await;
        let line = Line::new();
        loop {
            let known = *position.borrow_and_update();
            let holder = match known {
                Some(_) => self.holder().await,
                None => None,
            };
            line.begin(&self.text(known, holder.as_ref()));
            while timeout(SECOND, changed(&mut position)).await.is_err() {
                line.change(&self.text(known, holder.as_ref()));
            }
        }
    }

    async fn holder(&self) -> Option<Holder> {
        let first = RangeRequest::prefix(self.name.queue_prefix())
            .sorted_by(SortTarget::CreateRevision, SortOrder::Ascending)
            .with_limit(1);
        let options = CallOptions::new(self.timeout.into());
        let reply = self.client.transport().range(first, options).await.ok()?;
        let owner = Owner::from_entry(&reply.kvs.first()?.value);
        Some(Holder {
            age: owner.as_ref().and_then(|owner| owner.since?.elapsed().ok()),
            owner,
            read: Instant::now(),
        })
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
        let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr());
        // The template is known to be one.
        if let Ok(style) = ProgressStyle::with_template("{spinner} {wide_msg} {elapsed}") {
            bar.set_style(style);
        }
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
