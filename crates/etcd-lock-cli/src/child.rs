//! The command that runs under the lock.

use std::ffi::OsStr;
use std::io::{self, IsTerminal};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::ExitStatus;

use etcd_lock::{LockGuard, Session};
use nix::sys::signal::{Signal, kill, killpg};
use nix::unistd::{Pid, getpgrp, tcgetpgrp};
use tokio::process::Command;

use crate::args::Run;
use crate::exit::{CANNOT_EXECUTE, Failure, NOT_FOUND, signalled};

/// Finds the program before the lock is waited for: a typo should not cost an hour.
pub(crate) fn find(program: &OsStr) -> Result<PathBuf, Failure> {
    which::which(program).map_err(|_| {
        let (status, why) = match is_there(program) {
            true => (CANNOT_EXECUTE, "it can't be executed"),
            false => (NOT_FOUND, "there is no such command"),
        };
        Failure::new(status, format!("{}: {why}", program.display()))
    })
}

/// Whether there is a file of this name, where the name is looked for: a bare one on the search path alone.
fn is_there(program: &OsStr) -> bool {
    let program = Path::new(program);
    if program.components().count() != 1 || program.as_os_str() == "." {
        return program.exists();
    }
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|dir| dir.join(program).exists())
}

/// A command that runs.
#[derive(Debug)]
pub(crate) struct Child {
    process: tokio::process::Child,
    pid: Pid,
    /// Whether it leads a process group of its own, which signals then reach as a whole.
    leads: bool,
}

impl Child {
    /// Starts it with our standard streams, and with what it may want to know of the lock.
    pub(crate) fn start(
        program: PathBuf,
        args: &Run,
        session: &Session,
        guard: &LockGuard,
    ) -> Result<Self, Failure> {
        // At a terminal it stays in our group: a group in the background could not read what is typed.
        let leads = !io::stdin().is_terminal();
        let mut command = Command::new(program);
        command
            .arg0(&args.command[0])
            .args(&args.command[1..])
            .env("ETCD_LOCK_NAME", OsStr::from_bytes(args.name.as_bytes()))
            .env("ETCD_LOCK_KEY", OsStr::from_bytes(guard.key().as_bytes()))
            .env("ETCD_LOCK_REV", guard.revision().to_string())
            // Nothing is handed on inside of this process, so the first part is all of it: a number that shells compare.
            .env(
                "ETCD_LOCK_TOKEN",
                guard.token().create_revision().to_string(),
            )
            .env("ETCD_LOCK_LEASE", session.lease().to_string())
            .kill_on_drop(true);
        if leads {
            command.process_group(0);
        }
        let process = command.spawn().map_err(|error| {
            Failure::new(
                CANNOT_EXECUTE,
                format!("{}: {error}", args.command[0].display()),
            )
        })?;
        let id = process.id().and_then(|id| i32::try_from(id).ok());
        let pid =
            id.ok_or_else(|| Failure::new(CANNOT_EXECUTE, "the command ended before it began"))?;
        Ok(Self {
            process,
            pid: Pid::from_raw(pid),
            leads,
        })
    }

    /// Waits for its end.
    pub(crate) async fn end(&mut self) -> Result<ExitStatus, Failure> {
        Ok(self.process.wait().await?)
    }

    /// Hands a signal of ours on to it, unless it has it already: what is typed at a terminal goes to our whole group.
    pub(crate) fn hand_on(&self, signal: Signal) {
        let typed = matches!(signal, Signal::SIGINT | Signal::SIGQUIT)
            && tcgetpgrp(io::stdin()).is_ok_and(|foreground| foreground == getpgrp());
        if self.leads || !typed {
            self.signal(signal);
        }
    }

    /// Sends it a signal. One that has ended needs none.
    pub(crate) fn signal(&self, signal: Signal) {
        let _ = if self.leads {
            // Its group has its number for as long as anybody is in it.
            killpg(self.pid, signal)
        } else {
            kill(self.pid, signal)
        };
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
