//! What stands between `fork` and the command: a process of this program that sets itself up and becomes the command.
//!
//! It does what a parent can't do for its child: be told of the parent's death, and take the terminal before the command
//! can read from it.

use std::env;
use std::ffi::OsString;
use std::io;
use std::os::unix::process::CommandExt;
use std::process::Command;

use clap::Parser;
use nix::sys::signal::{SigSet, SigmaskHow, Signal, pthread_sigmask};
use nix::unistd::{Pid, getpgrp, getppid, tcsetpgrp};

use crate::args::signal;
use crate::child::cannot_execute;
use crate::exit::{Failure, USAGE};

/// What this program is called by itself to become a command. It then costs as little as it can: it is a part of each run.
pub(crate) const NAME: &str = "etcd-lock: start";

/// What becomes of the process.
#[derive(Debug, Parser)]
struct Start {
    /// The process that runs the command: without it there is nothing to begin.
    #[arg(long)]
    parent: i32,
    /// The signal that its death sends.
    #[arg(long, value_parser = signal)]
    death_signal: Option<Signal>,
    /// Whether the terminal is the command's.
    #[arg(long)]
    front: bool,
    /// The program's file, its name, and its arguments.
    #[arg(required = true, num_args = 2.., trailing_var_arg = true)]
    command: Vec<OsString>,
}

/// The first arguments of that process. The program's file, its name and its arguments follow.
pub(crate) fn arguments(death_signal: Option<Signal>, front: bool) -> Vec<OsString> {
    let mut args = vec!["--parent".into(), std::process::id().to_string().into()];
    if let Some(signal) = death_signal {
        args.extend(["--death-signal".into(), signal.as_str().into()]);
    }
    if front {
        args.push("--front".into());
    }
    args.push("--".into());
    args
}

/// Whether this process is to become a command.
pub(crate) fn is_asked() -> bool {
    env::args_os().next().is_some_and(|name| name == NAME)
}

/// Becomes the command. It returns where that can't be done.
pub(crate) fn run() -> Failure {
    let args = match Start::try_parse() {
        Ok(args) => args,
        Err(error) => return Failure::new(USAGE, error.to_string()),
    };
    if let Some(signal) = args.death_signal {
        if let Err(error) = die_with_parent(signal) {
            return io::Error::from(error).into();
        }
        if getppid() != Pid::from_raw(args.parent) {
            return Failure::signal(signal as i32);
        }
    }
    if args.front {
        give_terminal(getpgrp());
    }
    let (file, name) = (&args.command[0], &args.command[1]);
    let error = Command::new(file)
        .arg0(name)
        .args(&args.command[2..])
        .exec();
    cannot_execute(name, &error)
}

/// Makes a group the one that reads what is typed, and that signals from the keyboard go to.
pub(crate) fn give_terminal(group: Pid) {
    // A group in the background would be stopped for it.
    let stop = SigSet::from(Signal::SIGTTOU);
    let mut before = SigSet::empty();
    let blocked = pthread_sigmask(SigmaskHow::SIG_BLOCK, Some(&stop), Some(&mut before));
    // A terminal that has hung up is nobody's.
    let _ = tcsetpgrp(io::stdin(), group);
    if blocked.is_ok() {
        let _ = before.thread_set_mask();
    }
}

#[cfg(target_os = "linux")]
fn die_with_parent(signal: Signal) -> nix::Result<()> {
    nix::sys::prctl::set_pdeathsig(signal)
}

/// Only Linux tells.
#[cfg(not(target_os = "linux"))]
fn die_with_parent(_: Signal) -> nix::Result<()> {
    Ok(())
}
