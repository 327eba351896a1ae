//! How the in-memory etcd refuses a request: etcd's codes and texts, to the letter.

use std::fmt;

use etcd_lock_core::{Error, ErrorKind};

/// A refusal.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct Status {
    /// The gRPC code.
    pub code: Code,
    /// The text, which clients match on.
    pub message: String,
}

/// The gRPC codes that etcd uses here, with their numbers.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub enum Code {
    /// Anything, in the `Lock` service: only the text tells.
    Unknown = 2,
    /// The request can't be right.
    InvalidArgument = 3,
    /// There is no such lease.
    NotFound = 5,
    /// Too large, or too much.
    ResourceExhausted = 8,
    /// Not in this state.
    FailedPrecondition = 9,
    /// A revision or a time to live that can't be had.
    OutOfRange = 11,
}

impl Status {
    pub(crate) fn new(code: Code, message: &str) -> Self {
        Self {
            code,
            message: message.to_owned(),
        }
    }

    pub(crate) fn invalid(message: &str) -> Self {
        Self::new(Code::InvalidArgument, message)
    }

    pub(crate) fn lease_not_found() -> Self {
        Self::new(Code::NotFound, "etcdserver: requested lease not found")
    }

    pub(crate) fn empty_key() -> Self {
        Self::invalid("etcdserver: key is not provided")
    }

    pub(crate) fn key_not_found() -> Self {
        Self::invalid("etcdserver: key not found")
    }

    pub(crate) fn compacted() -> Self {
        Self::new(
            Code::OutOfRange,
            "etcdserver: mvcc: required revision has been compacted",
        )
    }

    pub(crate) fn future() -> Self {
        Self::new(
            Code::OutOfRange,
            "etcdserver: mvcc: required revision is a future revision",
        )
    }

    /// The same refusal as it comes from the `Lock` service, which loses the code.
    pub(crate) fn in_lock_service(self) -> Self {
        Self {
            code: Code::Unknown,
            ..self
        }
    }
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}: {}", self.code, self.message)
    }
}

impl std::error::Error for Status {}

impl From<Status> for Error {
    fn from(status: Status) -> Self {
        let text = status.message.as_str();
        let kind = if text.contains("lease not found") || text.contains("session is expired") {
            ErrorKind::LeaseNotFound
        } else if text.contains("too large") && !text.contains("TTL") {
            ErrorKind::ResourceExhausted
        } else {
            match status.code {
                Code::ResourceExhausted => ErrorKind::ResourceExhausted,
                Code::Unknown => ErrorKind::Server,
                _ => ErrorKind::InvalidArgument,
            }
        };
        Self::new(kind, "the in-memory etcd refused the request").with_server_text(text)
    }
}
