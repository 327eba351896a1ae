//! The value of an entry: a format mark, a version, the nonce of the attempt, and the owner's data.

/// The format mark and the version, in letters, so that `etcdctl get` prints them.
const MARK: &[u8] = b"etcd-lock/1 ";

/// A nonce takes sixteen hexadecimal digits, and a blank ends it.
const HEADER: usize = MARK.len() + 17;

/// The random number of one attempt to acquire a lock. It tells an entry of this process from one that another process
/// created under the same lease.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Nonce(u64);

impl Nonce {
    /// A nonce of eight bytes, which the caller draws from the operating system's randomness.
    #[must_use]
    pub const fn new(random: u64) -> Self {
        Self(random)
    }

    /// The eight bytes as a number.
    #[must_use]
    pub const fn get(self) -> u64 {
        self.0
    }
}

/// The value of an entry, taken apart.
///
/// The owner's data follow a header that is always written, so that no data of an application can be mistaken for it.
///
/// ```
/// use etcd_lock_queue::{EntryValue, Nonce};
///
/// let value = EntryValue::new(Nonce::new(0x1f), b"host-7");
/// assert_eq!(value.encode(), b"etcd-lock/1 000000000000001f host-7");
/// assert_eq!(EntryValue::parse(&value.encode()), Some(value));
/// assert_eq!(EntryValue::parse(b"host-7"), None);
/// ```
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct EntryValue<'a> {
    nonce: Nonce,
    owner: &'a [u8],
}

impl<'a> EntryValue<'a> {
    /// The value of an entry that an attempt with this nonce creates. The owner's data may be any bytes.
    #[must_use]
    pub const fn new(nonce: Nonce, owner: &'a [u8]) -> Self {
        Self { nonce, owner }
    }

    /// Takes a value apart, or returns `None` for a value that this version did not write: another client's, an
    /// application's, or a later version's.
    #[must_use]
    pub fn parse(value: &'a [u8]) -> Option<Self> {
        let (header, owner) = value.split_at_checked(HEADER)?;
        let digits = header.strip_prefix(MARK)?.strip_suffix(b" ")?;
        let nonce = digits.iter().try_fold(0_u64, |nonce, digit| {
            let value = (*digit as char).to_digit(16)?;
            let is_ours = !digit.is_ascii_uppercase();
            is_ours.then_some(nonce << 4 | u64::from(value))
        });
        nonce.map(|nonce| Self::new(Nonce(nonce), owner))
    }

    /// The bytes that etcd stores.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut value = Vec::with_capacity(HEADER + self.owner.len());
        value.extend_from_slice(MARK);
        value.extend_from_slice(format!("{:016x} ", self.nonce.0).as_bytes());
        value.extend_from_slice(self.owner);
        value
    }

    /// The nonce of the attempt that created the entry.
    #[must_use]
    pub const fn nonce(&self) -> Nonce {
        self.nonce
    }

    /// The owner's data.
    #[must_use]
    pub const fn owner(&self) -> &'a [u8] {
        self.owner
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_data_of_an_owner_that_look_like_a_header_stay_data() {
        let forged = EntryValue::new(Nonce::new(7), b"").encode();
        let value = EntryValue::new(Nonce::new(8), &forged).encode();
        let parsed = EntryValue::parse(&value).unwrap();
        assert_eq!((parsed.nonce(), parsed.owner()), (Nonce::new(8), &*forged));
    }

    #[test]
    fn values_of_others_are_no_entry_values() {
        for value in [
            &b""[..],
            b"next\0",
            b"etcd-lock/1 ",
            b"etcd-lock/1 000000000000001f",
            b"etcd-lock/1 00000000000000zz x",
            b"etcd-lock/1 000000000000001F x",
            b"etcd-lock/2 000000000000001f x",
        ] {
            assert_eq!(EntryValue::parse(value), None, "{value:?}");
        }
    }
}
