//! Exit statuses, which tell a script what happened.

use std::error::Error as StdError;
use std::io::{self, Write};
use std::process::ExitCode;

use etcd_lock::{Error, ErrorKind, LockName};

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
/// The lock was lost while the command ran.
pub(crate) const LOST: u8 = 79;
/// The command can't be run.
pub(crate) const CANNOT_EXECUTE: u8 = 126;
/// There is no such command.
pub(crate) const NOT_FOUND: u8 = 127;

/// Why the program ends, with a sentence for people and a status for scripts.
#[derive(Debug)]
pub(crate) struct Failure {
    status: u8,
    /// Nothing is said of what the user did himself.
    text: Option<String>,
}

impl Failure {
    pub(crate) fn new(status: u8, text: impl Into<String>) -> Self {
        Self {
            status,
            text: Some(text.into()),
        }
    }

    /// Ended by a signal.
    pub(crate) fn signal(number: i32) -> Self {
        Self {
            status: signalled(number),
            text: None,
        }
    }

    /// The lock was not free: `busy` is the status that was asked for.
    pub(crate) fn waiting(name: &LockName, error: &Error, busy: u8) -> Self {
        match error.kind() {
            ErrorKind::Busy | ErrorKind::Timeout => {
                Self::new(busy, format!("{name}: {}", chain(error)))
            }
            _ => Self::from(error.clone()),
        }
    }

    /// Says who was asked, where nobody answered and it isn't said yet.
    pub(crate) fn asking(mut self, endpoints: &[String]) -> Self {
        if let Some(text) = &mut self.text
            && self.status == UNAVAILABLE
            && !endpoints.iter().any(|endpoint| text.contains(endpoint))
        {
            *text = format!("{text}: {}", endpoints.join(", "));
        }
        self
    }

    pub(crate) fn report(self) -> ExitCode {
        if let Some(text) = self.text {
            say(&text);
        }
        self.status.into()
    }
}

/// Tells the user something. That nobody hears it is no reason to fail.
pub(crate) fn say(text: &str) {
    let _ = writeln!(io::stderr(), "etcd-lock: {text}");
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        let status = match error.kind() {
            ErrorKind::InvalidArgument => USAGE,
            ErrorKind::Busy => BUSY,
            ErrorKind::PermissionDenied | ErrorKind::Unauthenticated => DENIED,
            ErrorKind::LeaseNotFound | ErrorKind::Lost => LOST,
            ErrorKind::Protocol
            | ErrorKind::Timeout
            | ErrorKind::Unavailable
            | ErrorKind::Unsupported => UNAVAILABLE,
            _ => SOFTWARE,
        };
        Self::new(status, chain(&error))
    }
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        Self::new(OS, error.to_string())
    }
}

/// The exit status that a shell reports for a process that a signal ended.
pub(crate) fn signalled(number: i32) -> u8 {
    u8::try_from(128 + number).unwrap_or(u8::MAX)
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
