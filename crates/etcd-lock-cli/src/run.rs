//! `etcd-lock run`: a command under a lock.

use std::os::unix::process::ExitStatusExt;
use std::process::{ExitCode, ExitStatus};
use std::time::{Duration, Instant};

use etcd_lock::kv::DeleteRequest;
use etcd_lock::{Client, Error, ErrorKind, LockGuard, Mutex, Owner, Session, SessionOptions};
use nix::sys::signal::{Signal, killpg};
use nix::unistd::getpgrp;
use tokio::time::timeout;

use crate::args::{Common, OnLost, Run, Wait};
use crate::child::{self, Child, Event};
use crate::exit::{Failure, LOST, USAGE, chain, say};
use crate::hold;
use crate::program::Program;
use crate::signals::Signals;
use crate::waiting::Waiting;

/// How long the end may take when etcd doesn't answer: the lease does the rest.
const FAREWELL: Duration = Duration::from_secs(3);

/// How a command ended under its lock.
struct End {
    status: ExitStatus,
    /// Whether a key typed at the terminal that was the command's ended it: others of the job have to know, too.
    is_interrupted: bool,
    lost: Option<Error>,
}

/// Waits for the lock, runs the command, and ends with its status.
pub(crate) async fn run(common: &Common, args: &Run) -> Result<ExitCode, Failure> {
    let mut signals = Signals::catch()?;
    let program = Program::find(args)?;
    let grace = args.grace.unwrap_or(args.ttl.as_duration() / 10);
    check(args)?;
    let etcd = common.connection.open()?;
    let note = args.note.clone();
    let note = note.unwrap_or_else(|| args.command[0].to_string_lossy().into_owned());
    let options = SessionOptions::new()
        .with_ttl(args.ttl.as_duration())
        .with_grace(grace)
        .with_timeout(etcd.timeout)
        .with_owner(Owner::current().with_note(note));
    let session = tokio::select! {
        session = options.open(&etcd.client) => session?,
        signal = signals.next() => return Err(Failure::signal(signal as i32)),
    };
    let waiting = Waiting {
        client: &etcd.client,
        timeout: etcd.timeout,
        wait: &args.wait(),
        quiet: args.quiet,
    };
    let result = locked(args, &session, &waiting, program, grace, &mut signals).await;
    // Those that came before the end were meant for the command. One more, and the answer isn't waited for.
    signals.clear();
    tokio::select! {
        () = farewell(session.close()) => {}
        _ = signals.next() => {}
    }
    let end = result?;
    if let Some(error) = end.lost {
        return Err(
            Failure::new(LOST, "the lock was lost while the command ran").because(chain(&error)),
        );
    }
    if end.is_interrupted {
        interrupt_the_job();
    }
    Ok(child::status(end.status).into())
}

fn check(args: &Run) -> Result<(), Failure> {
    let half = args.ttl.as_duration() / 2;
    if args.warn_before.is_some_and(|before| before >= half) {
        return Err(Failure::new(
            USAGE,
            "--warn-before must be less than half of the time to live",
        )
        .because("a lock that is renewed in time would be warned of as well")
        .advice("a longer --ttl"));
    }
    Ok(())
}

async fn locked(
    args: &Run,
    session: &Session,
    waiting: &Waiting<'_>,
    program: Program,
    grace: Duration,
    signals: &mut Signals,
) -> Result<End, Failure> {
    let mutex = Mutex::new(session, args.name.as_bytes().clone())?;
    let guard = tokio::select! {
        guard = waiting.acquire(&mutex) => guard?,
        signal = signals.next() => return Err(Failure::signal(signal as i32)),
    };
    let held_since = Instant::now();
    let mut child = Child::start(&program, args, session, &guard)?;
    let lost = attend(&mut child, &guard, args, grace, signals).await?;
    let has_terminal = child.has_terminal();
    let status = child.reap()?;
    let lost = match lost {
        Some(error) => Some(error),
        None => release(guard, args, held_since, waiting.client).await,
    };
    Ok(End {
        is_interrupted: has_terminal && status.signal() == Some(Signal::SIGINT as i32),
        status,
        lost,
    })
}

/// Waits for the command's end, hands signals on to it, and ends it when the lock is lost.
async fn attend(
    child: &mut Child,
    guard: &LockGuard,
    args: &Run,
    grace: Duration,
    signals: &mut Signals,
) -> Result<Option<Error>, Failure> {
    let mut lost = None;
    let mut warning = args.warn_signal.zip(args.warn_before);
    loop {
        tokio::select! {
            event = child.event() => match event? {
                Event::Ended => return Ok(lost),
                Event::Stopped => {
                    child.suspend();
                    // It must not go on without the lock.
                    if args.on_lost == OnLost::Ignore || guard.is_held() {
                        child.resume();
                    }
                }
            },
            signal = signals.next() => child.hand_on(signal),
            signal = fading(guard, warning), if warning.is_some() => {
                warning = None;
                child.signal(signal);
            }
            error = guard.lost(), if lost.is_none() => {
                lost = Some(error);
                if args.on_lost != OnLost::Ignore {
                    stop(child, args.on_lost, grace, signals).await?;
                    return Ok(lost);
                }
            }
        }
    }
}

/// Waits until it is time for the warning.
async fn fading(guard: &LockGuard, warning: Option<(Signal, Duration)>) -> Signal {
    match warning {
        Some((signal, before)) => {
            guard.fading(before).await;
            signal
        }
        None => std::future::pending().await,
    }
}

/// Ends the command, and all that it has started.
async fn stop(
    child: &mut Child,
    on_lost: OnLost,
    grace: Duration,
    signals: &mut Signals,
) -> Result<(), Failure> {
    if on_lost == OnLost::Terminate {
        child.signal(Signal::SIGTERM);
        // One that stands still would not notice.
        child.signal(Signal::SIGCONT);
        let ending = async {
            loop {
                tokio::select! {
                    end = child.end() => return end,
                    signal = signals.next() => child.hand_on(signal),
                }
            }
        };
        if let Ok(end) = timeout(grace, ending).await {
            end?;
        }
    }
    // Also where it has ended: something that it started may be left.
    child.signal(Signal::SIGKILL);
    Ok(child.end().await?)
}

/// Gives the lock back, or leaves it to a lease for the rest of its least time. Returns why the lock was lost before that,
/// where the news of it was still on its way.
async fn release(guard: LockGuard, args: &Run, since: Instant, client: &Client) -> Option<Error> {
    let rest = args
        .min_hold
        .unwrap_or_default()
        .saturating_sub(since.elapsed());
    let released = if rest.is_zero() {
        let delete = DeleteRequest::key(guard.key().as_bytes().clone());
        let fenced = guard.fenced_txn().and_then(delete);
        fenced.with_timeout(FAREWELL).commit().await.map(drop)
    } else {
        hold::leave(&guard, client, rest, FAREWELL).await
    };
    match released {
        Err(error) if error.kind() == ErrorKind::Lost || !guard.is_held() => return Some(error),
        Err(error) if !rest.is_zero() => say(&format!(
            "the lock ends with its lease, before the time of --min-hold: {}",
            chain(&error)
        )),
        Err(error) => tracing::debug!(%error, "the lease has to release the lock"),
        Ok(()) => {}
    }
    // It is released, or goes on without us: the guard has nothing left to do.
    std::mem::forget(guard);
    None
}

async fn farewell(step: impl Future<Output = Result<(), Error>>) {
    match timeout(FAREWELL, step).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => tracing::debug!(%error, "the lease has to release the lock"),
        Err(_) => tracing::debug!("no answer at the end, the lease has to release the lock"),
    }
}

/// Does what the terminal would have done if the command had not had it: interrupts the job that we are a part of, as a
/// script, and ourselves in the way that tells a shell to stop as well.
fn interrupt_the_job() {
    let _ = killpg(getpgrp(), Signal::SIGINT);
    let _ = signal_hook::low_level::emulate_default_handler(Signal::SIGINT as i32);
}

impl Run {
    /// How long to wait, where skipping is not waiting, and success.
    fn wait(&self) -> Wait {
        if self.skip_if_held {
            return Wait {
                limit: None,
                no_wait: true,
                conflict_exit_code: 0,
            };
        }
        self.wait.clone()
    }
}
