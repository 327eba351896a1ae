//! Signals, from the first instruction to the last.

use std::fs;
use std::future::poll_fn;
use std::sync::LazyLock;
use std::task::Poll;

use futures_util::FutureExt;
use nix::sys::signal::Signal;
use tokio::signal::unix::{self, SignalKind};

use crate::exit::Failure;

/// The signals that people and systems end programs with, or send them for reasons of their own.
const ALL: [Signal; 6] = [
    Signal::SIGHUP,
    Signal::SIGINT,
    Signal::SIGQUIT,
    Signal::SIGTERM,
    Signal::SIGUSR1,
    Signal::SIGUSR2,
];

/// The signals that are taken care of here.
#[derive(Debug)]
pub(crate) struct Signals(Vec<(Signal, unix::Signal)>);

impl Signals {
    /// Takes them over: they no longer end the program by themselves. Those that whoever started it had it ignore, as
    /// `nohup` does, stay ignored, by the command, too.
    pub(crate) fn catch() -> Result<Self, Failure> {
        let mut signals = Vec::new();
        for signal in ALL.into_iter().filter(|signal| !is_ignored(*signal)) {
            let kind = SignalKind::from_raw(signal as i32);
            signals.push((signal, unix::signal(kind)?));
        }
        Ok(Self(signals))
    }

    /// Forgets those that have come so far.
    pub(crate) fn clear(&mut self) {
        while self.next().now_or_never().is_some() {}
    }

    /// Waits for the next one.
    pub(crate) async fn next(&mut self) -> Signal {
        poll_fn(|cx| {
            let mut caught = self.0.iter_mut();
            let came = caught
                .find_map(|(signal, stream)| stream.poll_recv(cx).is_ready().then_some(*signal));
            came.map_or(Poll::Pending, Poll::Ready)
        })
        .await
    }
}

/// Whether this process was started to ignore a signal.
pub(crate) fn is_ignored(signal: Signal) -> bool {
    IGNORED.is_some_and(|mask| mask & (1 << (signal as i32 - 1)) != 0)
}

/// A bit for each signal. Where the system doesn't tell, none is ignored.
static IGNORED: LazyLock<Option<u64>> = LazyLock::new(|| {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let mut lines = status.lines();
    let mask = lines.find_map(|line| line.strip_prefix("SigIgn:"))?;
    u64::from_str_radix(mask.trim(), 16).ok()
});
