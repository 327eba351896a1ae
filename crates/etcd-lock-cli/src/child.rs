//! The command that runs under the lock: a process group, the terminal where there is one, and signals.

use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, IsTerminal};
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::FileTypeExt;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::PathBuf;
use std::process::{Command, ExitStatus};

use etcd_lock::{LockGuard, Session};
use nix::sys::signal::{Signal, kill, killpg, raise};
use nix::unistd::{Pid, getpgrp, tcgetpgrp};
use rustix::io::Errno;
use rustix::process::{WaitId, WaitIdOptions, WaitIdStatus, waitid};
use tokio::signal::unix::{self, SignalKind};

use crate::args::{OnLost, Run};
use crate::exit::{CANNOT_EXECUTE, Failure, signalled};
use crate::program::Program;
use crate::signals::is_ignored;
use crate::start;

/// A command that runs. Dropping it kills it.
#[derive(Debug)]
pub(crate) struct Child {
    process: std::process::Child,
    pid: Pid,
    group: Group,
    /// Whether the terminal is the group's now.
    is_in_front: bool,
    /// A child of ours has ended or stopped.
    changes: unix::Signal,
    /// We are told to stop, where a command in a group of its own isn't told as well.
    stops: Option<unix::Signal>,
    has_ended: bool,
}

/// The process group of the command.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Group {
    /// Its own, without a terminal.
    Own,
    /// Its own, and the terminal is the group's.
    Front,
    /// Ours: that of a pipeline whose input is the terminal. Another group would take the terminal from the rest of it.
    Shared,
}

/// Something that happened to a command.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Event {
    /// Its number stays taken until [`Child::reap`], so that no signal can reach another process.
    Ended,
    /// The user wants it to stop, and us with it.
    Stopped,
}

impl Child {
    /// Starts it with our standard streams, and with what it may want to know of the lock.
    pub(crate) fn start(
        program: &Program,
        args: &Run,
        session: &Session,
        guard: &LockGuard,
    ) -> Result<Self, Failure> {
        // Before it can end.
        let changes = unix::signal(SignalKind::child())?;
        let group = Group::here();
        let stops = match group {
            Group::Own if !is_ignored(Signal::SIGTSTP) => {
                Some(unix::signal(SignalKind::from_raw(Signal::SIGTSTP as i32))?)
            }
            _ => None,
        };
        let death_signal = match args.on_lost {
            OnLost::Terminate => Some(Signal::SIGTERM),
            OnLost::Kill => Some(Signal::SIGKILL),
            OnLost::Ignore => None,
        };
        let mut command = Command::new(ourselves()?);
        command
            .arg0(start::NAME)
            .args(start::arguments(death_signal, group == Group::Front))
            .args([program.file.as_os_str(), &program.name])
            .args(&program.args)
            .env("ETCD_LOCK_NAME", OsStr::from_bytes(args.name.as_bytes()))
            .env("ETCD_LOCK_KEY", OsStr::from_bytes(guard.key().as_bytes()))
            .env("ETCD_LOCK_REV", guard.revision().to_string())
            // Nothing is handed on inside of this process, so the first part is all of it: a number that shells compare.
            .env(
                "ETCD_LOCK_TOKEN",
                guard.token().create_revision().to_string(),
            )
            .env("ETCD_LOCK_LEASE", session.lease().to_string());
        if group != Group::Shared {
            command.process_group(0);
        }
        let process = command
            .spawn()
            .map_err(|error| cannot_execute(&program.name, &error))?;
        let pid = i32::try_from(process.id()).map_err(io::Error::other)?;
        Ok(Self {
            process,
            pid: Pid::from_raw(pid),
            group,
            is_in_front: group == Group::Front,
            changes,
            stops,
            has_ended: false,
        })
    }

    /// Waits for what happens next: for its end, again and again once it has ended.
    ///
    /// # Cancel safety
    /// Nothing is missed.
    pub(crate) async fn event(&mut self) -> io::Result<Event> {
        loop {
            match self.state()? {
                Some(state) if state.exited() || state.killed() || state.dumped() => {
                    self.has_ended = true;
                    return Ok(Event::Ended);
                }
                // Where the terminal isn't its own, the stop was meant for the command alone.
                Some(_) if self.group == Group::Front => return Ok(Event::Stopped),
                Some(_) => {}
                None => {
                    tokio::select! {
                        _ = self.changes.recv() => {}
                        () = told_to_stop(&mut self.stops) => return Ok(Event::Stopped),
                    }
                }
            }
        }
    }

    /// Waits for its end, whether it stops before or not.
    ///
    /// # Cancel safety
    /// Nothing is missed.
    pub(crate) async fn end(&mut self) -> io::Result<()> {
        while !matches!(self.event().await?, Event::Ended) {}
        Ok(())
    }

    /// Whether what is typed at the terminal goes to it alone.
    pub(crate) fn has_terminal(&self) -> bool {
        self.group == Group::Front
    }

    /// The status of a command that has ended. It can't be sent signals any more.
    pub(crate) fn reap(mut self) -> io::Result<ExitStatus> {
        self.end_in_front();
        self.process.wait()
    }

    /// Stops this program with the command, as a shell expects of a job, and returns when it is told to go on.
    pub(crate) fn suspend(&mut self) {
        if self.group == Group::Front {
            self.end_in_front();
            // The others of a job, like the script that started us, stop with it.
            let _ = killpg(getpgrp(), Signal::SIGSTOP);
        } else {
            self.signal(Signal::SIGTSTP);
            let _ = raise(Signal::SIGSTOP);
        }
    }

    /// Lets a stopped command go on.
    pub(crate) fn resume(&mut self) {
        if self.group == Group::Front && is_ours_in_front() {
            start::give_terminal(self.pid);
            self.is_in_front = true;
        }
        self.signal(Signal::SIGCONT);
    }

    /// Hands a signal of ours on to it, unless it has it already from the terminal.
    pub(crate) fn hand_on(&self, signal: Signal) {
        let typed = matches!(signal, Signal::SIGINT | Signal::SIGQUIT);
        let has_it = match self.group {
            Group::Own => false,
            // A terminal that hangs up tells the group in front.
            Group::Front => {
                let has_hung_up = tcgetpgrp(io::stdin()).is_err();
                signal == Signal::SIGHUP && self.is_in_front && has_hung_up
            }
            Group::Shared => typed && is_ours_in_front(),
        };
        if !has_it {
            self.signal(signal);
        }
    }

    /// Sends a signal: to all of its group, also what is left of it when the command has ended.
    pub(crate) fn signal(&self, signal: Signal) {
        let _ = match self.group {
            Group::Own | Group::Front => killpg(self.pid, signal),
            Group::Shared if self.has_ended => Ok(()),
            Group::Shared => kill(self.pid, signal),
        };
    }

    /// Takes the terminal back, where it is still the command's.
    fn end_in_front(&mut self) {
        self.is_in_front = false;
        if self.group == Group::Front && tcgetpgrp(io::stdin()).is_ok_and(|pid| pid == self.pid) {
            start::give_terminal(getpgrp());
        }
    }

    /// Whether it has ended, or has stopped since this was asked before. A process that has ended is left as it is.
    fn state(&self) -> io::Result<Option<WaitIdStatus>> {
        let id = rustix::process::Pid::from_raw(self.pid.as_raw());
        let Some(id) = id.map(WaitId::Pid) else {
            return Ok(None);
        };
        let options = WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
        let ended = waitid(id.clone(), options | WaitIdOptions::EXITED)?;
        match ended {
            Some(_) => Ok(ended),
            // One that ends between the two questions can't stop any more, and the signal of its end is on its way.
            None => match waitid(id, WaitIdOptions::NOHANG | WaitIdOptions::STOPPED) {
                Err(Errno::CHILD) => Ok(None),
                stopped => Ok(stopped?),
            },
        }
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        if !self.has_ended {
            self.signal(Signal::SIGKILL);
            self.end_in_front();
            let _ = self.process.wait();
        }
    }
}

impl Group {
    /// The right one for where this program runs.
    fn here() -> Self {
        match (
            io::stdin().is_terminal() && is_ours_in_front(),
            is_pipe(io::stdout()),
        ) {
            (false, _) => Self::Own,
            (true, false) => Self::Front,
            (true, true) => Self::Shared,
        }
    }
}

/// The exit status of a shell that had run it.
pub(crate) fn status(end: ExitStatus) -> u8 {
    match (end.code(), end.signal()) {
        (Some(code), _) => u8::try_from(code).unwrap_or(u8::MAX),
        (None, Some(signal)) => signalled(signal),
        (None, None) => u8::MAX,
    }
}

pub(crate) fn cannot_execute(name: &OsStr, error: &io::Error) -> Failure {
    let text = format!("{}: it can't be executed", name.display());
    Failure::new(CANNOT_EXECUTE, text).because(error.to_string())
}

/// The file of this program, also where another version has been installed in its place meanwhile.
fn ourselves() -> io::Result<PathBuf> {
    if cfg!(target_os = "linux") {
        return Ok("/proc/self/exe".into());
    }
    std::env::current_exe()
}

async fn told_to_stop(stops: &mut Option<unix::Signal>) {
    match stops {
        Some(stops) => {
            stops.recv().await;
        }
        None => std::future::pending().await,
    }
}

/// Whether the terminal at the standard input is our group's.
fn is_ours_in_front() -> bool {
    tcgetpgrp(io::stdin()).is_ok_and(|front| front == getpgrp())
}

fn is_pipe(stream: impl AsFd) -> bool {
    let file = stream.as_fd().try_clone_to_owned().map(File::from);
    let kind = file.and_then(|file| file.metadata());
    kind.is_ok_and(|data| data.file_type().is_fifo() || data.file_type().is_socket())
}
