//! Signals, from the first instruction to the last.

use std::fs;
use std::future::poll_fn;
use std::task::Poll;

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
        let ignored = ignored();
        let mut signals = Vec::new();
        for signal in ALL {
            let number = signal as i32;
            if ignored & (1 << (number - 1)) == 0 {
                signals.push((signal, unix::signal(SignalKind::from_raw(number))?));
            }
        }
        Ok(Self(signals))
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

/// The signals that this process was started to ignore, a bit for each; none where the system doesn't tell.
fn ignored() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = status
        .lines()
        .find_map(|line| line.strip_prefix("SigIgn:"))
        .and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok());
    mask.unwrap_or_default()
}
