//! The meaning of errors for the state machine, and of its failures for callers.

use etcd_lock_core::{Error, ErrorKind, LockName};
use etcd_lock_queue::{Failure, Request, RequestFailure};

use super::state::Member;

/// The fate of a request, by the error that ended it.
pub(super) fn request_failure(request: &Request, error: &Error) -> RequestFailure {
    let is_refusal = match error.kind() {
        ErrorKind::Timeout | ErrorKind::Unavailable => false,
        // A read that a busy or a full server refuses succeeds later.
        ErrorKind::ResourceExhausted | ErrorKind::Server => {
            matches!(request, Request::Enter { .. })
        }
        _ => true,
    };
    // An answer to entering that can't be read does not say what was done.
    let is_unreadable =
        error.kind() == ErrorKind::Protocol && matches!(request, Request::Enter { .. });
    if error.is_outcome_unknown() || is_unreadable {
        RequestFailure::InDoubt
    } else if is_refusal {
        RequestFailure::Refused
    } else {
        RequestFailure::NotExecuted
    }
}

/// Whether the server would refuse a read again: what it says of the user or of the request does not change by itself.
pub(super) fn is_refusal(error: &Error) -> bool {
    matches!(
        error.kind(),
        ErrorKind::PermissionDenied | ErrorKind::Unauthenticated | ErrorKind::InvalidArgument
    )
}

/// Why a caller does not get the lock.
pub(super) fn failure(kind: Failure, member: Option<&Member>, name: &LockName) -> Error {
    let key = member.map(|member| name.key(member.lease.id()));
    let key = key.map_or_else(|| name.to_string(), |key| key.to_string());
    match kind {
        Failure::Busy => Error::new(ErrorKind::Busy, "the lock is held or waited for"),
        Failure::Deleted => Error::new(
            ErrorKind::Lost,
            format!("the queue entry {key} was deleted by somebody else"),
        ),
        Failure::Foreign => Error::new(
            ErrorKind::Busy,
            format!("another process has the queue entry {key} under the same lease"),
        ),
        Failure::Refused => {
            let refusal = member.and_then(|member| member.failure.as_ref());
            refusal.map_or_else(
                || Error::new(ErrorKind::Server, "the server refused the lock"),
                |(_, error)| error.clone(),
            )
        }
        _ => {
            let ended = member.and_then(|member| member.lease.ended().cloned());
            ended.unwrap_or_else(|| Error::new(ErrorKind::Closed, "the session is closed"))
        }
    }
}

/// The server's answer is none that an etcd gives.
pub(super) fn odd_answer() -> Error {
    Error::new(
        ErrorKind::Protocol,
        "the server answered a transaction as no etcd does",
    )
}
