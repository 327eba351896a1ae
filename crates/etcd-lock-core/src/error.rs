//! The one error of all `etcd-lock` crates.

use std::convert::Infallible;
use std::error::Error as StdError;
use std::fmt;
use std::sync::Arc;

/// A result with this crate's [`Error`].
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// A failure: a [kind](Error::kind) to act on, a sentence to read, and the cause as [`source`](StdError::source).
///
/// It is one word wide and cheap to clone. The server's own words are kept: [`Error::server_text`].
#[derive(Clone)]
pub struct Error(Arc<Inner>);

impl Error {
    /// An error of a kind, with a sentence in lower case that says what was attempted or what is allowed.
    #[must_use]
    pub fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self(Arc::new(Inner {
            kind,
            message: message.into(),
            server_text: None,
            outcome_unknown: false,
            session_lost: false,
            source: None,
        }))
    }

    /// An error of kind [`InvalidArgument`](ErrorKind::InvalidArgument).
    #[must_use]
    pub fn invalid_argument(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::InvalidArgument, message)
    }

    /// Adds the cause.
    #[must_use]
    pub fn with_source(self, source: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        let source = Some(Arc::from(source.into()));
        self.map(|inner| inner.source = source)
    }

    /// Adds the cause of another error, where the message repeats that error's own text.
    #[must_use]
    pub fn with_source_of(self, other: &Self) -> Self {
        let source = other.0.source.clone();
        self.map(|inner| inner.source = source)
    }

    /// Adds the text that the server sent, to the letter.
    #[must_use]
    pub fn with_server_text(self, text: impl Into<String>) -> Self {
        let text = Some(text.into());
        self.map(|inner| inner.server_text = text)
    }

    /// Says that the request may have been executed although no answer came.
    #[must_use]
    pub fn with_outcome_unknown(self) -> Self {
        self.map(|inner| inner.outcome_unknown = true)
    }

    /// Says that not only a lock or a queue entry is lost, but the session that it belonged to.
    #[must_use]
    pub fn with_session_lost(self) -> Self {
        self.map(|inner| inner.session_lost = true)
    }

    /// The kind of failure.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        self.0.kind
    }

    /// The text that the server sent, to the letter, where the failure came from a server.
    #[must_use]
    pub fn server_text(&self) -> Option<&str> {
        self.0.server_text.as_deref()
    }

    /// Whether the request may have been executed although it failed here. A write with such an error must be
    /// settled by a read before it is repeated; errors without it were certainly not executed, or had no effect.
    #[must_use]
    pub fn is_outcome_unknown(&self) -> bool {
        self.0.outcome_unknown
    }

    /// Whether time ran out: on a wait for a lock, or on an answer.
    #[must_use]
    pub fn is_timeout(&self) -> bool {
        matches!(self.kind(), ErrorKind::LockTimeout | ErrorKind::Timeout)
    }

    /// Whether somebody else has the lock, or waits for it since before this caller: it was not to be waited for, or not for
    /// longer. Never true for an etcd that does not answer.
    ///
    /// ```
    /// # use etcd_lock_core::{Error, ErrorKind};
    /// # let error = Error::new(ErrorKind::LockTimeout, "the lock was not free within 5 s");
    /// if error.is_busy() {
    ///     println!("another machine does the work");
    /// }
    /// # assert!(error.is_busy());
    /// ```
    #[must_use]
    pub fn is_busy(&self) -> bool {
        matches!(self.kind(), ErrorKind::Busy | ErrorKind::LockTimeout)
    }

    /// Whether no server could be asked, or none that could answer: trying again later may help.
    #[must_use]
    pub fn is_unavailable(&self) -> bool {
        self.kind() == ErrorKind::Unavailable
    }

    /// Whether the lease is gone, or the session that kept it alive was lost: what is needed then is another session. An error
    /// of kind [`Lost`](ErrorKind::Lost) without this concerns one lock or queue entry, and its session may go on: it may also
    /// be that the end of the lease, which deletes the key, was not noticed yet.
    #[must_use]
    pub fn is_session_lost(&self) -> bool {
        self.0.session_lost || self.kind() == ErrorKind::LeaseNotFound
    }

    fn map(mut self, change: impl FnOnce(&mut Inner)) -> Self {
        change(Arc::make_mut(&mut self.0));
        self
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Error")
            .field("kind", &self.0.kind)
            .field("message", &self.0.message)
            .field("server_text", &self.0.server_text)
            .field("outcome_unknown", &self.0.outcome_unknown)
            .field("session_lost", &self.0.session_lost)
            .field("source", &self.0.source)
            .finish()
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.message)?;
        match &self.0.server_text {
            Some(text) => write!(f, ": {text}"),
            None => Ok(()),
        }
    }
}

impl StdError for Error {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.0.source.as_deref().map(|source| source as _)
    }
}

/// So that what is checked already and what is yet to be checked can be given to one function.
impl From<Infallible> for Error {
    fn from(never: Infallible) -> Self {
        match never {}
    }
}

/// The kinds of failure that a program can tell apart and act on.
///
/// # Every call
///
/// Any call to etcd can fail with `Unavailable` or `Timeout`, when no server answers; `Unauthenticated`, `PermissionDenied`,
/// `ResourceExhausted` or `Server`, when a server refuses it; `Protocol` or `Unsupported`, when what answers is no etcd, or
/// one without the service; and `Closed`, once its client is closed. The `# Errors` of a function name what else can
/// happen, and what one of these means there.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub enum ErrorKind {
    /// A named connection is open already.
    AlreadyOpen,
    /// Somebody else holds the lock and the caller did not want to wait.
    Busy,
    /// The client or session was closed.
    Closed,
    /// The request is invalid for every etcd: the text says what to change.
    InvalidArgument,
    /// The lease does not exist, or no longer.
    LeaseNotFound,
    /// The lock was not granted in time: somebody else held it, or waited for it since before this caller. What answered
    /// was an etcd.
    LockTimeout,
    /// The lock, or the entry in its queue, is gone.
    Lost,
    /// No connection of this name is open.
    NotOpen,
    /// The user may not do this.
    PermissionDenied,
    /// The peer is no etcd, or it gave an answer that no etcd gives.
    Protocol,
    /// The server has no room: its database is full, a message too large, or too many requests wait.
    ResourceExhausted,
    /// The server refused for another reason: its text says which.
    Server,
    /// No reply within the timeout. A lock that etcd's own `Lock` RPC takes ends like this, too, where somebody else holds it:
    /// that RPC doesn't say whether it waits.
    Timeout,
    /// The server does not know the user, or wants one.
    Unauthenticated,
    /// No server could be reached, or none that has a leader.
    Unavailable,
    /// The server does not know this service or method.
    Unsupported,
}

impl ErrorKind {
    /// The kind in lower case, like `lease_not_found`: for labels and machines.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::AlreadyOpen => "already_open",
            Self::Busy => "busy",
            Self::Closed => "closed",
            Self::InvalidArgument => "invalid_argument",
            Self::LeaseNotFound => "lease_not_found",
            Self::LockTimeout => "lock_timeout",
            Self::Lost => "lost",
            Self::NotOpen => "not_open",
            Self::PermissionDenied => "permission_denied",
            Self::Protocol => "protocol",
            Self::ResourceExhausted => "resource_exhausted",
            Self::Server => "server",
            Self::Timeout => "timeout",
            Self::Unauthenticated => "unauthenticated",
            Self::Unavailable => "unavailable",
            Self::Unsupported => "unsupported",
        }
    }
}

/// As [`as_str`](ErrorKind::as_str).
impl fmt::Display for ErrorKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[derive(Clone)]
struct Inner {
    kind: ErrorKind,
    message: String,
    server_text: Option<String>,
    outcome_unknown: bool,
    session_lost: bool,
    source: Option<Arc<dyn StdError + Send + Sync>>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_word_wide_and_shareable() {
        fn shareable<T: Clone + Send + Sync + 'static>() {}
        shareable::<Error>();
        assert_eq!(size_of::<Error>(), size_of::<usize>());
    }

    #[test]
    fn display_leaves_the_source_to_the_chain() {
        let error = Error::new(ErrorKind::Unavailable, "can't reach 127.0.0.1:1")
            .with_source(std::io::Error::other("refused"));
        assert_eq!(error.to_string(), "can't reach 127.0.0.1:1");
        assert_eq!(error.source().unwrap().to_string(), "refused");
    }

    #[test]
    fn the_loss_of_a_lock_is_no_loss_of_its_session() {
        let lost = Error::new(ErrorKind::Lost, "the lock's key a/1 is gone");
        assert!(!lost.is_session_lost());
        assert!(lost.with_session_lost().is_session_lost());
    }

    #[test]
    fn the_servers_words_are_kept() {
        let text = "etcdserver: requested lease not found";
        let error =
            Error::new(ErrorKind::LeaseNotFound, "the lock was refused").with_server_text(text);
        assert_eq!(error.server_text(), Some(text));
        assert_eq!(error.to_string(), format!("the lock was refused: {text}"));
        assert!(error.is_session_lost() && !error.is_outcome_unknown());
    }
}
