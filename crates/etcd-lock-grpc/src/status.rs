//! What a gRPC status means.
//!
//! Codes can't be relied on: the `Lock` service answers nearly everything with `Unknown`, and tonic has codes of its own
//! for what happens on this side. So the text comes first, then the chain of causes, then the code.

use std::error::Error as StdError;
use std::fmt;

use etcd_lock_core::{Error, ErrorKind};
use tonic::{Code, Status};

/// Turns a status into an error. `is_read` says that nothing can have been changed.
pub(crate) fn error(status: Status, endpoint: &str, is_read: bool) -> Error {
    let found = if status.source().is_some() {
        of_connection(&status, endpoint)
    } else {
        of_server(&status, endpoint)
    };
    let Found {
        kind,
        text,
        executed,
    } = found;
    let mut error = Error::new(kind, text);
    if status.source().is_none() && !status.message().is_empty() {
        error = error.with_server_text(status.message());
    }
    if executed == Executed::Perhaps && !is_read {
        error = error.with_outcome_unknown();
    }
    error.with_source(Cause(status))
}

/// A status that prints as its text alone: the code and tonic's own types say nothing more to people.
#[derive(Debug)]
struct Cause(Status);

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0.message())
    }
}

impl StdError for Cause {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.0.source()
    }
}

struct Found {
    kind: ErrorKind,
    text: String,
    executed: Executed,
}

#[derive(Clone, Copy, PartialEq)]
enum Executed {
    No,
    Perhaps,
}

/// What etcd says, and what it means. The first that is contained counts.
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
    // Servers of tonic say this with the code for "out of range".
    (
        "message length too large",
        ErrorKind::ResourceExhausted,
        Executed::No,
    ),
    (
        "etcdserver: no leader",
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

fn of_server(status: &Status, endpoint: &str) -> Found {
    let said = TEXTS
        .iter()
        .find(|(text, ..)| status.message().contains(text));
    if let Some(&(_, kind, executed)) = said {
        let text = match kind {
            ErrorKind::Timeout => late(endpoint),
            _ => refused(endpoint),
        };
        return Found {
            kind,
            text,
            executed,
        };
    }
    let (kind, executed) = match status.code() {
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
    };
    let text = match kind {
        ErrorKind::Unsupported | ErrorKind::Protocol => not_etcd(endpoint),
        ErrorKind::Timeout => late(endpoint),
        _ => refused(endpoint),
    };
    Found {
        kind,
        text,
        executed,
    }
}

/// What went wrong on this side, or on the way.
fn of_connection(status: &Status, endpoint: &str) -> Found {
    if chain_says(status, "Timeout expired") {
        return Found {
            kind: ErrorKind::Timeout,
            text: late(endpoint),
            executed: Executed::Perhaps,
        };
    }
    if chain_says(status, "connect error") || chain_says(status, "dns error") {
        let text = format!("can't connect to {endpoint}: is an etcd listening there?");
        return Found {
            kind: ErrorKind::Unavailable,
            text,
            executed: Executed::No,
        };
    }
    let executed = match chain_says(status, "refused stream") {
        true => Executed::No,
        false => Executed::Perhaps,
    };
    let broken_protocol = [
        "frame with invalid size",
        "not a result of an error",
        "unspecific protocol error",
    ];
    if broken_protocol.iter().any(|text| chain_says(status, text)) {
        return Found {
            kind: ErrorKind::Protocol,
            text: not_etcd(endpoint),
            executed,
        };
    }
    let text = format!("the connection to {endpoint} broke: is it an etcd, and without TLS?");
    Found {
        kind: ErrorKind::Unavailable,
        text,
        executed,
    }
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

fn chain_says(status: &Status, text: &str) -> bool {
    let mut cause = status.source();
    while let Some(error) = cause {
        if error.to_string().contains(text) {
            return true;
        }
        cause = error.source();
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_text_counts_more_than_the_code() {
        let status = Status::unknown("etcdserver: requested lease not found");
        let error = error(status, "http://a:1", false);
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
            assert!(
                error(status.clone(), "http://a:1", false).is_outcome_unknown(),
                "{status}"
            );
            assert!(!error(status, "http://a:1", true).is_outcome_unknown());
        }
        let refused = Status::unavailable("etcdserver: no leader");
        assert!(!error(refused, "http://a:1", false).is_outcome_unknown());
    }
}
