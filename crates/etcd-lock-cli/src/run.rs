//! `etcd-lock run`: a command under a lock.

use std::os::unix::process::ExitStatusExt;
use std::process::{ExitCode, ExitStatus};
use std::time::Duration;

use etcd_lock::kv::DeleteRequest;
use etcd_lock::{Client, Error, ErrorKind, LockGuard, Mutex, Owner, Session, SessionOptions};
use nix::sys::signal::{Signal, killpg};
use nix::unistd::getpgrp;
use tokio::time::Instant;

use crate::args::{Common, Run, Wait};
use crate::attend::attend;
use crate::child::{self, Child};
use crate::connection::Connected;
use crate::exit::{Failure, LOST, USAGE, chain, say};
use crate::farewell::{FAREWELL, farewell};
use crate::hold;
use crate::program::Program;
use crate::signals::Signals;
use crate::waiting::Waiting;

/// A command that has ended.
struct Ended {
    status: ExitStatus,
    /// Whether an interrupt ended it that was typed at the terminal, which was its alone: others of the job have to know, too.
    is_interrupted: bool,
}

/// The lock of a command that has ended.
struct Hold {
    guard: LockGuard,
    since: Instant,
    /// Why it was lost, where that is known already.
    lost: Option<Error>,
}

/// Waits for the lock, runs the command, and ends with its status.
pub(crate) async fn run(common: &Common, args: &Run) -> Result<ExitCode, Failure> {
    let mut signals = Signals::catch()?;
    let program = Program::find(args)?;
    check(args)?;
    let etcd = common.connection.open()?;
    let session = tokio::select! {
        session = session(args, &etcd).open(&etcd.client) => session?,
        signal = signals.next() => return Err(Failure::signal(signal as i32)),
    };
    let result = locked(args, &etcd, &session, &program, &mut signals).await;
    // Those that came until now were meant for the command.
    signals.clear();
    let (ended, hold) = match result {
        Ok((ended, hold)) => (Ok(ended), Some(hold)),
        Err(failure) => (Err(failure), None),
    };
    let ending = async {
        // Dropped after the end of the session, which leaves nothing for it to do.
        let (lost, _guard) = match hold {
            Some(hold) => release(hold, args, &etcd.client).await,
            None => (None, None),
        };
        farewell(session.close()).await;
        lost
    };
    let lost = tokio::select! {
        lost = ending => lost,
        // The user is in a hurry: the lease does the rest.
        _ = signals.next() => None,
    };
    let ended = ended?;
    if let Some(error) = lost {
        let failure = Failure::new(LOST, "the lock was lost while the command ran");
        return Err(failure.because(chain(&error)));
    }
    if ended.is_interrupted {
        interrupt_the_job();
    }
    Ok(child::status(ended.status).into())
}

fn check(args: &Run) -> Result<(), Failure> {
    let half = args.ttl.as_duration() / 2;
    if args.warn_before.is_some_and(|before| before >= half) {
        let text = "--warn-before must be less than half of the time to live";
        return Err(Failure::new(USAGE, text)
            .because("a lock that is renewed in time would be warned of as well")
            .advice("a longer --ttl"));
    }
    Ok(())
}

fn session(args: &Run, etcd: &Connected) -> SessionOptions {
    let note = args.note.clone();
    let note = note.unwrap_or_else(|| args.command[0].to_string_lossy().into_owned());
    SessionOptions::new()
        .with_ttl(args.ttl.as_duration())
        .with_grace(args.grace())
        .with_timeout(etcd.timeout)
        .with_owner(Owner::current().with_note(note))
}

/// Waits for the lock, and runs the command to its end.
async fn locked(
    args: &Run,
    etcd: &Connected,
    session: &Session,
    program: &Program,
    signals: &mut Signals,
) -> Result<(Ended, Hold), Failure> {
    let mutex = Mutex::new(session, &args.name)?;
    let waiting = Waiting {
        etcd,
        wait: &args.wait(),
        quiet: args.quiet,
    };
    let guard = tokio::select! {
        guard = waiting.acquire(&mutex) => guard?,
        signal = signals.next() => return Err(Failure::signal(signal as i32)),
    };
    let since = Instant::now();
    let mut child = Child::start(program, args, session, &guard)?;
    let lost = attend(&mut child, &guard, args, signals).await?;
    let has_terminal = child.has_terminal();
    let status = child.reap()?;
    let ended = Ended {
        status,
        is_interrupted: has_terminal && status.signal() == Some(Signal::SIGINT as i32),
    };
    Ok((ended, Hold { guard, since, lost }))
}

/// Gives the lock back, or leaves it to a lease for the rest of its least time. Returns why the lock was lost before that,
/// also where the news of it was still on its way, and the guard of a lock that is given back.
async fn release(hold: Hold, args: &Run, client: &Client) -> (Option<Error>, Option<LockGuard>) {
    let Hold { guard, since, lost } = hold;
    if lost.is_some() {
        return (lost, None);
    }
    let least = args.min_hold.unwrap_or_default();
    let rest = least.saturating_sub(since.elapsed());
    let released = if rest.is_zero() {
        let delete = DeleteRequest::key(guard.key());
        let fenced = guard.fenced_txn().and_then(delete);
        fenced.with_timeout(FAREWELL).commit().await.map(drop)
    } else {
        hold::leave(&guard, client, rest).await
    };
    match released {
        Err(error) if error.kind() == ErrorKind::Lost || !guard.is_held() => {
            return (Some(error), None);
        }
        Err(error) if !rest.is_zero() => say(&format!(
            "the lock ends with its lease, before the time of --min-hold: {}",
            chain(&error)
        )),
        Err(error) => tracing::debug!(%error, "the lease has to release the lock"),
        // The entry stays for another lease to end.
        Ok(()) if !rest.is_zero() => return (hold::give_away(guard, client).await.err(), None),
        Ok(()) => {}
    }
    (None, Some(guard))
}

/// Does what the terminal would have done if the command had not had it: interrupts the job that we are a part of, like a
/// script, and ourselves in the way that tells a shell to stop as well.
fn interrupt_the_job() {
    let _ = killpg(getpgrp(), Signal::SIGINT);
    let _ = signal_hook::low_level::emulate_default_handler(Signal::SIGINT as i32);
}

impl Run {
    /// How long the command may take to end when it is told to.
    pub(crate) fn grace(&self) -> Duration {
        self.grace.unwrap_or_else(|| self.ttl.as_duration() / 10)
    }

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
