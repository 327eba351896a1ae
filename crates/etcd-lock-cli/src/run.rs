//! `etcd-lock run`: a command under a lock.

use std::process::{ExitCode, ExitStatus};
use std::time::Duration;

use etcd_lock::{Error, ErrorKind, LockGuard, Mutex, Owner, Session, SessionOptions, Timeout};
use nix::sys::signal::Signal;
use tokio::time::timeout;

use crate::args::{Common, OnLost, Run, Wait};
use crate::child::{self, Child};
use crate::exit::{Failure, LOST, say};
use crate::signals::Signals;

/// How long the end may take when etcd doesn't answer: the lease does the rest.
const FAREWELL: Duration = Duration::from_secs(3);

/// When somebody who waits is told what for.
const SILENCE: Duration = Duration::from_millis(400);

/// Waits for the lock, runs the command, and ends with its status.
pub(crate) async fn run(common: &Common, args: &Run) -> Result<ExitCode, Failure> {
    let mut signals = Signals::catch()?;
    let program = child::find(&args.command[0])?;
    let ttl = args.ttl.as_duration();
    let grace = args.grace.unwrap_or(ttl / 10);
    let etcd = common.connection.open()?;
    let options = SessionOptions::new()
        .with_ttl(ttl)
        .with_grace(grace)
        .with_timeout(etcd.timeout)
        .with_owner(Owner::current());
    let session = tokio::select! {
        session = options.open(&etcd.client) => session?,
        signal = signals.next() => return Err(Failure::signal(signal as i32)),
    };
    let result = locked(args, &session, program, grace, &mut signals).await;
    farewell(session.close()).await;
    result.map(ExitCode::from)
}

async fn locked(
    args: &Run,
    session: &Session,
    program: std::path::PathBuf,
    grace: Duration,
    signals: &mut Signals,
) -> Result<u8, Failure> {
    let mutex = Mutex::new(session, args.name.as_bytes().clone())?;
    let guard = tokio::select! {
        guard = acquire(&mutex, &args.wait, args.quiet) => guard?,
        signal = signals.next() => return Err(Failure::signal(signal as i32)),
    };
    let mut child = Child::start(program, args, session, &guard)?;
    let (end, lost) = attend(&mut child, &guard, args.on_lost, grace, signals).await?;
    let lost = match lost {
        Some(error) => Some(error),
        None => lost_unnoticed(&guard).await,
    };
    if let Some(error) = lost {
        return Err(Failure::new(LOST, format!("the lock was lost: {error}")));
    }
    farewell(guard.unlock()).await;
    Ok(child::status(end))
}

/// Waits for the lock as long as told.
async fn acquire(mutex: &Mutex, wait: &Wait, quiet: bool) -> Result<LockGuard, Failure> {
    let lock = async {
        if wait.no_wait {
            return mutex.try_lock().await;
        }
        let limit = wait.limit.map_or(Timeout::Infinity, Timeout::After);
        mutex.lock_timeout(limit).await
    };
    let mut lock = std::pin::pin!(lock);
    let result = match timeout(SILENCE, &mut lock).await {
        Ok(result) => result,
        Err(_) => {
            if !quiet {
                say(&format!("waiting for {:?}", mutex.name().to_string()));
            }
            lock.await
        }
    };
    result.map_err(|error| Failure::waiting(mutex.name(), &error, wait.conflict_exit_code))
}

/// Waits for the command's end, hands signals on to it, and ends it when the lock is lost.
async fn attend(
    child: &mut Child,
    guard: &LockGuard,
    on_lost: OnLost,
    grace: Duration,
    signals: &mut Signals,
) -> Result<(ExitStatus, Option<Error>), Failure> {
    let mut lost = None;
    loop {
        tokio::select! {
            end = child.end() => return Ok((end?, lost)),
            signal = signals.next() => child.hand_on(signal),
            error = guard.lost(), if lost.is_none() => {
                lost = Some(error);
                if on_lost != OnLost::Ignore {
                    return Ok((stop(child, on_lost, grace).await?, lost));
                }
            }
        }
    }
}

/// Why the lock was lost before the command ended, where the news of it is still on its way.
async fn lost_unnoticed(guard: &LockGuard) -> Option<Error> {
    let looked = guard.fenced_txn().with_timeout(FAREWELL).commit().await;
    looked
        .err()
        .filter(|error| error.kind() == ErrorKind::Lost || !guard.is_held())
}

async fn stop(child: &mut Child, on_lost: OnLost, grace: Duration) -> Result<ExitStatus, Failure> {
    let mut end = None;
    if on_lost == OnLost::Terminate {
        child.signal(Signal::SIGTERM);
        end = timeout(grace, child.end()).await.ok();
    }
    // Also where it has ended: what it started may be left.
    child.signal(Signal::SIGKILL);
    match end {
        Some(end) => end,
        None => child.end().await,
    }
}

async fn farewell(step: impl Future<Output = Result<(), Error>>) {
    match timeout(FAREWELL, step).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => tracing::debug!(%error, "the lease has to release the lock"),
        Err(_) => tracing::debug!("no answer at the end, the lease has to release the lock"),
    }
}
