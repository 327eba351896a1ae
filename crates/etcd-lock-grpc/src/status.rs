//! The meaning of a gRPC status.
//!
//! Codes can't be relied on: the `Lock` service answers nearly everything with `Unknown`, and tonic has codes of its own
//! for what happens on this side. So the text comes first, then the chain of causes, then the code.

use std::error::Error as StdError;
use std::fmt;
use std::sync::Arc;

use etcd_lock_core::{Error, ErrorKind};
use tonic::{Code, Status};
use tower::BoxError;

use crate::endpoint::{Endpoint, Question};
use crate::http2::NotSent;

/// The verdict of a failed request, and on which part of the way.
pub(crate) struct Failure {
    pub(crate) error: Error,
    /// Whether the fault lies with the endpoint or on the way to it, so that others had better be asked.
    pub(crate) is_fault: bool,
    /// Whether the endpoint said so itself.
    pub(crate) is_heard: bool,
}

/// Says what a status means. `is_read` says that nothing can have been changed.
pub(crate) fn failure(status: Status, endpoint: &str, is_read: bool) -> Failure {
    let is_heard = status.source().is_none();
    let found = match status.source() {
        Some(cause) => of_connection(cause, endpoint),
        None => of_server(&status, endpoint),
    };
    let mut error = Error::new(found.kind, found.text);
    if found.executed == Executed::Perhaps && !is_read {
        error = error.with_outcome_unknown();
    }
    if !is_heard {
        error = error.with_source(Cause(status));
    } else if !status.message().is_empty() {
        error = error.with_server_text(status.message());
    }
    Failure {
        error,
        is_fault: found.is_fault,
        is_heard,
    }
}

/// Says what a status means, and draws the conclusions for the endpoint that was asked.
pub(crate) fn note(
    status: Status,
    endpoint: &Arc<Endpoint>,
    question: Option<&Question>,
    is_read: bool,
) -> Error {
    let failure = failure(status, endpoint.name(), is_read);
    match (question, failure.is_heard) {
        (Some(question), true) => question.answered(),
        (Some(question), false) => question.broke_off(),
        (None, true) => endpoint.hear(),
        (None, false) => {}
    }
    if failure.is_fault {
        endpoint.count_failure();
        if failure.is_heard {
            endpoint.distrust();
        }
        endpoint.fail(&failure.error);
    }
    failure.error
}

/// There is no connection.
pub(crate) fn unreachable(error: BoxError, endpoint: &str) -> Error {
    let text = format!("can't connect to {endpoint}: is an etcd listening there?");
    Error::new(ErrorKind::Unavailable, text).with_source(error)
}

/// A connection ended before anything was asked.
pub(crate) fn broken(error: impl StdError + Send + Sync + 'static, endpoint: &str) -> Error {
    let found = of_connection(&error, endpoint);
    Error::new(found.kind, found.text).with_source(error)
}

/// The message of a status, without the words that tonic puts before it.
#[derive(Debug)]
struct Cause(Status);

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.source() {
            Some(cause) => fmt::Display::fmt(cause, f),
            None => f.write_str(self.0.message()),
        }
    }
}

impl StdError for Cause {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.0.source()?.source()
    }
}

struct Found {
    kind: ErrorKind,
    text: String,
    executed: Executed,
    is_fault: bool,
}

#[derive(Clone, Copy, PartialEq)]
enum Executed {
    No,
    Perhaps,
}

/// Texts of etcd, and their meaning. The first that is contained counts.
const TEXTS: &[(&str, ErrorKind, Executed)] = &[
    (
        "requested lease not found",
        ErrorKind::LeaseNotFound,
        Executed::No,
    ),
    (
        "mutex: session is expired",
        ErrorKind::LeaseNotFound,
        Executed::No,
    ),
    (
        "permission denied",
        ErrorKind::PermissionDenied,
        Executed::No,
    ),
    (
        "invalid auth token",
        ErrorKind::Unauthenticated,
        Executed::No,
    ),
    (
        "user name is empty",
        ErrorKind::Unauthenticated,
        Executed::No,
    ),
    (
        "authentication failed",
        ErrorKind::Unauthenticated,
        Executed::No,
    ),
    (
        "revision of auth store is old",
        ErrorKind::Unauthenticated,
        Executed::No,
    ),
    (
        "too many requests",
        ErrorKind::ResourceExhausted,
        Executed::No,
    ),
    (
        "database space exceeded",
        ErrorKind::ResourceExhausted,
        Executed::No,
    ),
    (
        "request is too large",
        ErrorKind::ResourceExhausted,
        Executed::No,
    ),
    (
        "received message larger than max",
        ErrorKind::ResourceExhausted,
        Executed::No,
    ),
    // Servers of tonic say this of a request, with the code for "out of range", and tonic itself of a reply.
    (
        "message length too large",
        ErrorKind::ResourceExhausted,
        Executed::Perhaps,
    ),
    // tonic says this of a reply, with the code for "unimplemented".
    (
        "Content is compressed with",
        ErrorKind::Protocol,
        Executed::Perhaps,
    ),
    (
        "etcdserver: no leader",
        ErrorKind::Unavailable,
        Executed::No,
    ),
    (
        "rpc not supported for learner",
        ErrorKind::Unavailable,
        Executed::No,
    ),
    (
        "raft proposal dropped",
        ErrorKind::Unavailable,
        Executed::No,
    ),
    (
        "not a primary lessor",
        ErrorKind::Unavailable,
        Executed::Perhaps,
    ),
    (
        "request timed out",
        ErrorKind::Unavailable,
        Executed::Perhaps,
    ),
    ("leader changed", ErrorKind::Unavailable, Executed::Perhaps),
    ("server stopped", ErrorKind::Unavailable, Executed::Perhaps),
    (
        "context deadline exceeded",
        ErrorKind::Timeout,
        Executed::Perhaps,
    ),
    // Servers of tonic say this with the code for "cancelled".
    ("Timeout expired", ErrorKind::Timeout, Executed::Perhaps),
    (
        "context canceled",
        ErrorKind::Unavailable,
        Executed::Perhaps,
    ),
];

/// Answers of a healthy member: another one would give the same.
const NO_FAULT: &[&str] = &["leader changed", "raft proposal dropped"];

fn of_server(status: &Status, endpoint: &str) -> Found {
    let said = |text: &str| status.message().contains(text);
    let known = TEXTS.iter().find(|(text, ..)| said(text));
    let (kind, executed) = match known {
        Some(&(_, kind, executed)) => (kind, executed),
        None => of_code(status),
    };
    let text = match kind {
        ErrorKind::Unsupported | ErrorKind::Protocol => not_etcd(endpoint),
        ErrorKind::Timeout => late(endpoint),
        _ => refused(endpoint),
    };
    let is_bad = matches!(kind, ErrorKind::Unavailable | ErrorKind::Protocol);
    Found {
        kind,
        text,
        executed,
        is_fault: is_bad && !NO_FAULT.iter().any(|text| said(text)),
    }
}

fn of_code(status: &Status) -> (ErrorKind, Executed) {
    match status.code() {
        Code::InvalidArgument
        | Code::OutOfRange
        | Code::FailedPrecondition
        | Code::AlreadyExists => (ErrorKind::InvalidArgument, Executed::No),
        Code::Unimplemented => (ErrorKind::Unsupported, Executed::No),
        Code::PermissionDenied => (ErrorKind::PermissionDenied, Executed::No),
        Code::Unauthenticated => (ErrorKind::Unauthenticated, Executed::No),
        Code::ResourceExhausted => (ErrorKind::ResourceExhausted, Executed::No),
        Code::DeadlineExceeded => (ErrorKind::Timeout, Executed::Perhaps),
        Code::Unavailable | Code::Cancelled => (ErrorKind::Unavailable, Executed::Perhaps),
        // Also what tonic says where an answer isn't gRPC at all, and where it ends without a status.
        _ if status.message().starts_with("etcdserver: ") => (ErrorKind::Server, Executed::Perhaps),
        _ => (ErrorKind::Protocol, Executed::Perhaps),
    }
}

/// A failure on this side, or on the way.
fn of_connection(cause: &(dyn StdError + 'static), endpoint: &str) -> Found {
    let mut found = Found {
        kind: ErrorKind::Unavailable,
        text: format!(
            "the connection to {endpoint} broke: is it an etcd{}?",
            hint(endpoint)
        ),
        executed: Executed::Perhaps,
        is_fault: true,
    };
    for cause in chain(cause) {
        if cause.is::<NotSent>() || cause.downcast_ref().is_some_and(is_refused) {
            // The connection is at its end, which says nothing about the next one.
            found.executed = Executed::No;
            found.is_fault = false;
        }
        let text = cause.to_string();
        if BROKEN_PROTOCOL.iter().any(|known| text.contains(known)) {
            found.kind = ErrorKind::Protocol;
            found.text = not_etcd(endpoint);
        }
    }
    found
}

/// A server with TLS ends a connection without it, mostly in no way that says why.
fn hint(endpoint: &str) -> &str {
    match endpoint.starts_with("http://") {
        true => ", and without TLS",
        false => "",
    }
}

/// The text of h2 for bytes that aren't HTTP/2.
const BROKEN_PROTOCOL: &[&str] = &[
    "frame with invalid size",
    "not a result of an error",
    "unspecific protocol error",
];

/// Whether the server says that it didn't look at the request. A stream that comes after the last one that a GOAWAY names
/// ends with the GOAWAY itself; earlier ones end with the connection.
fn is_refused(error: &h2::Error) -> bool {
    let by_server = error.is_remote();
    by_server && (error.is_go_away() || error.reason() == Some(h2::Reason::REFUSED_STREAM))
}

fn chain<'a>(
    cause: &'a (dyn StdError + 'static),
) -> impl Iterator<Item = &'a (dyn StdError + 'static)> {
    std::iter::successors(Some(cause), |&cause| cause.source())
}

fn late(endpoint: &str) -> String {
    format!("{endpoint} gave no answer in time")
}

fn refused(endpoint: &str) -> String {
    format!("{endpoint} refused the request")
}

fn not_etcd(endpoint: &str) -> String {
    format!("what answers at {endpoint} is not an etcd, or one without this service")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(status: Status, is_read: bool) -> Error {
        failure(status, "http://a:1", is_read).error
    }

    #[test]
    fn the_text_counts_more_than_the_code() {
        let status = Status::unknown("etcdserver: requested lease not found");
        let error = error(status, false);
        assert_eq!(error.kind(), ErrorKind::LeaseNotFound);
        assert_eq!(
            error.server_text(),
            Some("etcdserver: requested lease not found")
        );
        assert!(!error.is_outcome_unknown());
    }

    #[test]
    fn a_write_that_may_have_happened_is_unknown() {
        for status in [
            Status::unavailable("etcdserver: request timed out"),
            Status::unknown("context deadline exceeded"),
            Status::deadline_exceeded("late"),
            Status::cancelled("gone"),
        ] {
            is_in_doubt(status);
        }
        let refused = Status::unavailable("etcdserver: no leader");
        assert!(!error(refused, false).is_outcome_unknown());
    }

    /// tonic's own words of a reply that it can't read have no cause, as if a server had said them.
    #[test]
    fn a_write_whose_reply_cant_be_read_is_unknown() {
        for status in [
            Status::out_of_range("Error, decoded message length too large: found 9 bytes"),
            Status::unimplemented("Content is compressed with `gzip` which isn't supported"),
            Status::internal("Missing response message."),
        ] {
            is_in_doubt(status);
        }
    }

    /// A write may have been executed; a read can be repeated.
    fn is_in_doubt(status: Status) {
        let write = error(status.clone(), false);
        assert!(write.is_outcome_unknown(), "{status}");
        assert!(!error(status, true).is_outcome_unknown());
    }

    #[test]
    fn what_the_server_said_is_printed_once() {
        let error = error(Status::unavailable("etcdserver: no leader"), true);
        let mut printed = error.to_string();
        let mut cause = StdError::source(&error);
        while let Some(next) = cause {
            printed = format!("{printed}: {next}");
            cause = next.source();
        }
        assert_eq!(printed.matches("no leader").count(), 1, "{printed}");
    }

    #[test]
    fn a_member_that_is_well_is_not_at_fault() {
        for (text, is_fault) in [
            ("etcdserver: no leader", true),
            ("etcdserver: server stopped", true),
            ("etcdserver: request timed out", true),
            ("etcdserver: rpc not supported for learner", true),
            ("etcdserver: leader changed", false),
            ("etcdserver: too many requests", false),
            ("etcdserver: permission denied", false),
            ("context deadline exceeded", false),
        ] {
            let failure = failure(Status::unavailable(text), "http://a:1", true);
            assert_eq!(failure.is_fault, is_fault, "{text}");
        }
    }
}
