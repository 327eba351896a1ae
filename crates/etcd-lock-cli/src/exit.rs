//! Exit statuses, which tell a script what happened, and the sentences that tell people.

use std::error::Error as StdError;
use std::io::{self, Write};
use std::process::ExitCode;

use anstyle::{AnsiColor, Style};
use etcd_lock::{Error, ErrorKind};

/// The command line is wrong.
pub(crate) const USAGE: u8 = 64;
/// No endpoint answers as an etcd does.
pub(crate) const UNAVAILABLE: u8 = 69;
/// Something that should not happen.
pub(crate) const SOFTWARE: u8 = 70;
/// The system is in the way.
pub(crate) const OS: u8 = 71;
/// Somebody else has the lock.
pub(crate) const BUSY: u8 = 75;
/// etcd doesn't let this user in.
pub(crate) const DENIED: u8 = 77;
/// The lock, or the entry in its queue, was lost.
pub(crate) const LOST: u8 = 79;
/// The command can't be run.
pub(crate) const CANNOT_EXECUTE: u8 = 126;
/// There is no such command.
pub(crate) const NOT_FOUND: u8 = 127;

const RED: Style = AnsiColor::Red.on_default().bold();
const BOLD: Style = Style::new().bold();

/// Why the program ends: a status for scripts, and for people what failed, why, and what can be done.
#[derive(Debug)]
pub(crate) struct Failure {
    status: u8,
    /// Nothing is said of what the user did himself.
    what: Option<String>,
    why: Option<String>,
    advice: Option<String>,
}

impl Failure {
    pub(crate) fn new(status: u8, what: impl Into<String>) -> Self {
        Self {
            status,
            what: Some(what.into()),
            why: None,
            advice: None,
        }
    }

    /// Ended by a signal.
    pub(crate) fn signal(number: i32) -> Self {
        Self {
            status: signalled(number),
            what: None,
            why: None,
            advice: None,
        }
    }

    /// Adds the reason.
    pub(crate) fn because(mut self, why: impl Into<String>) -> Self {
        self.why = Some(why.into());
        self
    }

    /// Adds something that the user can do.
    pub(crate) fn advice(mut self, advice: impl Into<String>) -> Self {
        self.advice = Some(advice.into());
        self
    }

    /// The same reason, for something else that failed.
    pub(crate) fn meaning(mut self, what: impl Into<String>) -> Self {
        self.what = Some(what.into());
        self
    }

    /// Says which endpoints were asked, where none answered and it isn't said yet.
    pub(crate) fn asking(mut self, endpoints: &[String]) -> Self {
        if let Some(why) = &mut self.why
            && self.status == UNAVAILABLE
            && !endpoints.iter().any(|endpoint| why.contains(endpoint))
        {
            *why = format!("{why}: {}", endpoints.join(", "));
        }
        self
    }

    pub(crate) fn report(self) -> ExitCode {
        if let Some(what) = self.what {
            line(RED, "etcd-lock:", &what);
        }
        if let Some(why) = self.why {
            line(BOLD, "  why:", &why);
        }
        if let Some(advice) = self.advice {
            line(BOLD, "  try:", &advice);
        }
        self.status.into()
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        let status = status(error.kind());
        let (what, advice) = match status {
            USAGE => return Self::new(USAGE, chain(&error)).advice("etcd-lock --help"),
            BUSY => ("somebody else has the lock", "wait with --wait"),
            DENIED if error.kind() == ErrorKind::PermissionDenied => (
                "etcd doesn't allow this user to do that",
                "grant the user's role to read and write below the lock's name: see etcd-lock doctor NAME",
            ),
            DENIED => (
                "etcd doesn't let this user in",
                "log in with --user, and the password in --password-file or ETCDCTL_PASSWORD",
            ),
            LOST => (
                "the lock was lost",
                "see its holder and its queue: etcd-lock status NAME",
            ),
            UNAVAILABLE => (
                "etcd doesn't answer",
                "check --endpoints, and the members: etcd-lock doctor",
            ),
            _ => (
                "etcd failed",
                "see more of it with -v; etcd's own log may say why",
            ),
        };
        Self::new(status, what)
            .because(chain(&error))
            .advice(advice)
    }
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        Self::new(OS, error.to_string())
    }
}

/// Tells the user something. That nobody hears it is no reason to fail.
pub(crate) fn say(text: &str) {
    line(Style::new(), "etcd-lock:", text);
}

/// The exit status for a kind of error.
pub(crate) const fn status(kind: ErrorKind) -> u8 {
    match kind {
        ErrorKind::InvalidArgument => USAGE,
        ErrorKind::Busy | ErrorKind::LockTimeout => BUSY,
        ErrorKind::PermissionDenied | ErrorKind::Unauthenticated => DENIED,
        ErrorKind::LeaseNotFound | ErrorKind::Lost => LOST,
        ErrorKind::Protocol
        | ErrorKind::Timeout
        | ErrorKind::Unavailable
        | ErrorKind::Unsupported => UNAVAILABLE,
        _ => SOFTWARE,
    }
}

/// The exit status that a shell reports for a process that a signal ended.
pub(crate) fn signalled(number: i32) -> u8 {
    u8::try_from(128 + number).unwrap_or(u8::MAX)
}

fn line(style: Style, label: &str, text: &str) {
    // Colours are left out where nobody sees them.
    let _ = writeln!(anstream::stderr(), "{style}{label}{style:#} {text}");
}

/// An error with its causes, each said once.
pub(crate) fn chain(error: &Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let said = error.to_string();
        if !text.contains(&said) {
            text = format!("{text}: {said}");
        }
        cause = error.source();
    }
    text
}
