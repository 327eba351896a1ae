//! A command while it runs: signals that it gets, and its end when the lock is lost.

use std::time::Duration;

use etcd_lock::{Error, LockGuard};
use nix::sys::signal::Signal;
use tokio::time::timeout;

use crate::args::{OnLost, Run};
use crate::child::{Child, Event};
use crate::exit::Failure;
use crate::signals::Signals;

/// Waits for the command's end, hands signals on to it, and ends it when the lock is lost. Returns why it was.
pub(crate) async fn attend(
    child: &mut Child,
    guard: &LockGuard,
    args: &Run,
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
                    stop(child, args, signals).await?;
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
async fn stop(child: &mut Child, args: &Run, signals: &mut Signals) -> Result<(), Failure> {
    if args.on_lost == OnLost::Terminate {
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
        if let Ok(end) = timeout(args.grace(), ending).await {
            end?;
        }
    }
    // Also where it has ended: something that it started may be left.
    child.signal(Signal::SIGKILL);
    Ok(child.end().await?)
}
