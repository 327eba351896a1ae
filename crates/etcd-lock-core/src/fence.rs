//! Fencing: how a resource refuses a holder that was overtaken.
//!
//! A process that was stopped for longer than its lease lives may wake up and write, although the lock is another's by
//! then. The resource that it writes to can tell: each hold has a greater [`FencingToken`] than all holds before it.
//!
//! | the resource | what it does |
//! | --- | --- |
//! | keys of the same etcd | a fenced transaction compares the key of the lock: `LockGuard::fenced_txn` |
//! | a program of one's own | [`FenceGate`] remembers the greatest token, and refuses smaller ones |
//! | an SQL database | a column with the token, in the condition of each write |
//! | an object store | the token in the object's metadata, and a conditional put |
//! | none of these | `verify` before the write, which narrows the window and doesn't close it |
//!
//! # SQL
//!
//! The token is a column of sixteen bytes, as [`FencingToken::to_bytes`] writes it: databases compare bytes from the left,
//! which is the order of tokens. Each write has it twice:
//!
//! ```sql
//! UPDATE report SET body = $2, token = $1 WHERE id = 7 AND token <= $1
//! ```
//!
//! No row is changed where a newer holder has written: that is the refusal. A row begins with a token of sixteen zeros. A
//! check in a statement of its own (`SELECT`, then `UPDATE`) needs a transaction that locks the row.
//!
//! # Object stores
//!
//! The token is in the object's metadata, as its text or in hexadecimal. A write is a read and a conditional put:
//!
//! 1. Read the metadata: the stored token and the ETag. Stop if the stored token is greater than the own one.
//! 2. Put the object with the own token, on condition that the ETag is the same (`If-Match`). For an object that isn't there
//!    the condition is `If-None-Match: *`.
//! 3. Where the store answers 412, somebody has written in between: begin again with 1.
//!
//! # A restored etcd
//!
//! Revisions begin again at a smaller number when an etcd is restored from a backup or replaced. A resource then refuses all
//! tokens, until an operator resets the token that it remembers. No old holder may be left by then.

use crate::{Error, ErrorKind, FencingToken, Result};

/// Remembers the greatest fencing token that was seen, and refuses smaller ones.
///
/// It belongs under the same mutex as what it guards: the check and the write that follows must be one step. It is for the
/// holders of one lock, and forgets with its process: a resource that outlives the process stores
/// [`greatest`](Self::greatest) with each write and begins [from it](Self::from_greatest).
///
/// ```
/// use etcd_lock_core::fence::FenceGate;
/// use etcd_lock_core::{ErrorKind, FencingToken, Revision};
///
/// struct Register {
///     gate: FenceGate,
///     value: &'static str,
/// }
///
/// impl Register {
///     fn write(&mut self, token: FencingToken, value: &'static str) -> etcd_lock_core::Result<()> {
///         self.gate.admit(token)?;
///         self.value = value;
///         Ok(())
///     }
/// }
///
/// let mut register = Register { gate: FenceGate::new(), value: "" };
/// let earlier = FencingToken::new(Revision::new(33)?, 0);
/// let later = FencingToken::new(Revision::new(34)?, 0);
/// register.write(later, "new")?;
/// // A holder may write more than once.
/// register.write(later, "newer")?;
///
/// let error = register.write(earlier, "old").unwrap_err();
/// assert_eq!((error.kind(), register.value), (ErrorKind::Lost, "newer"));
/// # Ok::<(), etcd_lock_core::Error>(())
/// ```
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct FenceGate {
    greatest: Option<FencingToken>,
}

impl FenceGate {
    /// A gate that has seen no token.
    #[must_use]
    pub const fn new() -> Self {
        Self { greatest: None }
    }

    /// A gate whose greatest token was stored.
    #[must_use]
    pub const fn from_greatest(token: FencingToken) -> Self {
        Self {
            greatest: Some(token),
        }
    }

    /// The greatest token that was admitted.
    #[must_use]
    pub const fn greatest(&self) -> Option<FencingToken> {
        self.greatest
    }

    /// Admits a token that is not smaller than any before.
    ///
    /// # Errors
    /// `Lost` for a smaller token: the lock had another holder since.
    pub fn admit(&mut self, token: FencingToken) -> Result<()> {
        if let Some(greatest) = self.greatest.filter(|greatest| token < *greatest) {
            let text =
                format!("the fencing token {token} is older than {greatest}, which came before");
            return Err(Error::new(ErrorKind::Lost, text));
        }
        self.greatest = Some(token);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::Revision;

    fn token(revision: i64, handover: u64) -> FencingToken {
        FencingToken::new(Revision::new(revision).unwrap(), handover)
    }

    proptest! {
        #[test]
        fn admitted_tokens_never_shrink(asked in prop::collection::vec((0..4_i64, 0..4_u64), 0..20)) {
            let mut gate = FenceGate::new();
            let asked = asked.into_iter().map(|(revision, handover)| token(revision, handover));
            let mut greatest = None;
            for token in asked {
                let is_admitted = gate.admit(token).is_ok();
                prop_assert_eq!(is_admitted, greatest.is_none_or(|greatest| token >= greatest));
                greatest = greatest.max(Some(token));
                prop_assert_eq!(gate.greatest(), greatest);
            }
        }
    }

    #[test]
    fn gate_from_a_stored_token_refuses_smaller_ones() {
        let mut gate = FenceGate::from_greatest(token(7, 2));
        assert_eq!(gate.admit(token(7, 1)).unwrap_err().kind(), ErrorKind::Lost);
        assert!(gate.admit(token(7, 2)).is_ok());
    }
}
