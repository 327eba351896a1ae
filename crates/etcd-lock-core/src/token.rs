//! Fencing tokens.

use std::fmt;
use std::str::FromStr;

use crate::{Error, Result, Revision};

/// A number that grows with every grant of a lock, so that a resource can refuse a holder that was overtaken.
///
/// It is a pair: the create revision of the queue entry, and a count of the hand-overs inside the process below it. The
/// holder is the oldest of all entries and every new one gets a greater revision of the whole store, so the next grant of
/// etcd has a greater first part; a hand-over inside the process keeps the first part and adds one to the second.
/// A resource that stores tokens must compare both parts: the order of this type, or of [`to_bytes`](Self::to_bytes).
/// Its text is for people and logs: `9.0` comes after `10.0` where texts are compared.
///
/// ```
/// use etcd_lock_core::{FencingToken, Revision};
///
/// let earlier = FencingToken::new(Revision::new(33)?, 7);
/// let later = FencingToken::new(Revision::new(34)?, 0);
/// assert!(earlier < later);
/// assert!(earlier.to_bytes() < later.to_bytes());
///
/// assert_eq!(FencingToken::from_bytes(&later.to_bytes())?, later);
/// assert_eq!(later.to_string(), "34.0");
/// assert_eq!("34.0".parse::<FencingToken>()?, later);
/// # Ok::<(), etcd_lock_core::Error>(())
/// ```
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct FencingToken {
    create_revision: Revision,
    handover: u64,
}

impl FencingToken {
    /// The token of a grant.
    #[must_use]
    pub const fn new(create_revision: Revision, handover: u64) -> Self {
        Self {
            create_revision,
            handover,
        }
    }

    /// The create revision of the queue entry: what etcd itself can compare.
    #[must_use]
    pub const fn create_revision(self) -> Revision {
        self.create_revision
    }

    /// How often the lock was handed over inside the session before.
    #[must_use]
    pub const fn handover(self) -> u64 {
        self.handover
    }

    /// Sixteen bytes, big-endian, in the same order as the tokens: for resources that compare bytes.
    #[must_use]
    pub fn to_bytes(self) -> [u8; 16] {
        let mut bytes = [0; 16];
        bytes[..8].copy_from_slice(&self.create_revision.get().to_be_bytes());
        bytes[8..].copy_from_slice(&self.handover.to_be_bytes());
        bytes
    }

    /// Reads what [`to_bytes`](Self::to_bytes) wrote, such as the token that a resource has stored.
    ///
    /// # Errors
    /// `InvalidArgument` for any other bytes.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self> {
        let parse = || {
            let (revision, handover) = bytes.split_first_chunk()?;
            let revision = Revision::new(i64::from_be_bytes(*revision)).ok()?;
            let handover = u64::from_be_bytes(handover.try_into().ok()?);
            Some(Self::new(revision, handover))
        };
        parse().ok_or_else(|| {
            Error::invalid_argument(
                "these bytes are no fencing token: it has 16, and the first is below 128",
            )
        })
    }
}

impl fmt::Display for FencingToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.create_revision, self.handover)
    }
}

impl FromStr for FencingToken {
    type Err = Error;

    /// Reads what [`Display`](fmt::Display) wrote: `<create revision>.<hand-overs>`.
    fn from_str(text: &str) -> Result<Self> {
        let parse = || {
            let (revision, handover) = text.split_once('.')?;
            let revision = i64::try_from(number(revision)?).ok()?;
            Some(Self::new(Revision::new(revision).ok()?, number(handover)?))
        };
        parse().ok_or_else(|| {
            Error::invalid_argument(format!(
                "{text:?} is no fencing token: it is written like 34.0"
            ))
        })
    }
}

/// Digits alone: there is one text for each token.
fn number(text: &str) -> Option<u64> {
    let is_canonical = text == "0" || !text.starts_with(['0', '+']);
    is_canonical.then(|| text.parse().ok()).flatten()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    prop_compose! {
        fn token()(revision in 0..=i64::MAX, handover: u64) -> FencingToken {
            FencingToken::new(Revision::new(revision).unwrap(), handover)
        }
    }

    /// Tokens with equal, with adjacent and with any revisions.
    fn pair() -> impl Strategy<Value = (FencingToken, FencingToken)> {
        (token(), token(), 0..3_i64).prop_map(|(a, b, apart)| {
            let near = a.create_revision.get().saturating_add(apart - 1).max(0);
            match apart {
                2 => (a, b),
                _ => (
                    a,
                    FencingToken::new(Revision::new(near).unwrap(), b.handover),
                ),
            }
        })
    }

    proptest! {
        #[test]
        fn token_of_its_bytes_and_of_its_text_is_the_same(token in token()) {
            prop_assert_eq!(FencingToken::from_bytes(&token.to_bytes()).unwrap(), token);
            prop_assert_eq!(token.to_string().parse::<FencingToken>().unwrap(), token);
        }

        #[test]
        fn bytes_are_in_the_order_of_tokens((a, b) in pair()) {
            prop_assert_eq!(a.to_bytes().cmp(&b.to_bytes()), a.cmp(&b));
        }
    }

    #[test]
    fn bytes_of_another_length_or_with_a_negative_revision_are_refused() {
        for bad in [&[][..], &[0; 15], &[0; 17], &[0xff; 16]] {
            assert!(FencingToken::from_bytes(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn text_that_display_never_writes_is_refused() {
        for bad in [
            "",
            "34",
            "34.",
            ".0",
            "-1.0",
            "+1.0",
            "01.0",
            "1.00",
            "1.0.0",
            " 1.0",
            "9223372036854775808.0",
            "1.18446744073709551616",
        ] {
            assert!(bad.parse::<FencingToken>().is_err(), "{bad:?}");
        }
        assert!("0.0".parse::<FencingToken>().is_ok());
    }
}
