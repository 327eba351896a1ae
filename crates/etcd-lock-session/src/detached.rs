//! Holds that go on in another process.

use std::fmt;
use std::str::FromStr;

use etcd_lock_core::{Client, Error, FencingToken, LeaseId, LockKey, LockName, Result};
use etcd_lock_queue::Nonce;

use crate::guard::LockGuard;
use crate::session::SessionOptions;

/// A hold that no guard stands for: what another process needs to go on with it.
///
/// [`LockGuard::detach`] makes one, its text goes to another process in a variable, a file or a message, and
/// [`SessionOptions::attach`] makes a guard of it there. It can be attached once: where several processes know its text,
/// one of them gets the hold. The text is printable ASCII.
///
/// Nobody keeps the lease of a detached hold alive but the session that it comes from, for as long as that is open: from
/// then on it lives for its time to live, within which it must be attached.
///
/// ```
/// # use std::time::Duration;
/// # use etcd_lock_memory::MemoryEtcd;
/// # use etcd_lock_session::{DetachedHold, Mutex, Queue, Session, SessionOptions};
/// # #[tokio::main(flavor = "current_thread", start_paused = true)]
/// # async fn main() -> Result<(), etcd_lock_core::Error> {
/// # let etcd = MemoryEtcd::new();
/// # let (client, other_client) = (Queue::new(etcd.clone()).into_client(), Queue::new(etcd).into_client());
/// let session = Session::open(&client, Duration::from_secs(10)).await?;
/// let guard = Mutex::new(&session, "report")?.lock().await?;
/// let token = guard.token();
/// let text = guard.detach()?.to_string();
/// session.close().await?;
///
/// // In another process, within 10 s:
/// let hold: DetachedHold = text.parse()?;
/// let guard = SessionOptions::new().attach(&other_client, &hold).await?;
/// assert!(guard.is_held());
/// assert_eq!(guard.token(), token);
/// guard.unlock().await
/// # }
/// ```
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub struct DetachedHold {
    key: LockKey,
    name: LockName,
    lease: LeaseId,
    token: FencingToken,
    /// In the entry's value, until another process has attached the hold.
    nonce: Nonce,
}

impl DetachedHold {
    /// # Errors
    /// `InvalidArgument` when the key is no queue entry's.
    pub(crate) fn new(key: LockKey, token: FencingToken, nonce: Nonce) -> Result<Self> {
        let (name, lease) = key.parts().ok_or_else(|| {
            Error::invalid_argument(format!("{key} is not the key of a queue entry"))
        })?;
        Ok(Self {
            key,
            name,
            lease,
            token,
            nonce,
        })
    }

    /// The key that exists on etcd for as long as the lock is held.
    #[must_use]
    pub const fn key(&self) -> &LockKey {
        &self.key
    }

    /// The name of the lock.
    #[must_use]
    pub const fn name(&self) -> &LockName {
        &self.name
    }

    /// The lease that ends the hold when nobody keeps it alive.
    #[must_use]
    pub const fn lease(&self) -> LeaseId {
        self.lease
    }

    /// The fencing token. It stays the same where the hold goes on.
    #[must_use]
    pub const fn token(&self) -> FencingToken {
        self.token
    }

    pub(crate) const fn nonce(&self) -> Nonce {
        self.nonce
    }
}

impl SessionOptions {
    /// Goes on with a hold that another process has detached: keeps its lease alive as a session, and looks after its entry.
    ///
    /// The guard is like the one that was detached, with the same token. The lock is released when it is dropped, and its
    /// lease is revoked. It is not handed over to other tasks. The time to live is the lease's, and the options' own counts
    /// for nothing.
    ///
    /// # Errors
    /// `Lost` when the hold is over, or another process has attached it, `LeaseNotFound` when the lease has ended, `AlreadyOpen` when another
    /// session of this client keeps it alive, `Busy` when the hold was detached from this client, which still looks after it,
    /// and those of [every call](etcd_lock_core::ErrorKind#every-call). The hold stays as it is, unless the error has
    /// [`is_outcome_unknown`](Error::is_outcome_unknown): then it may have been taken, and ends with its lease.
    ///
    /// # Cancel safety
    /// When dropped, the lease may have been renewed once, and the hold may have been taken: then it ends with its lease.
    pub async fn attach(self, client: &Client, hold: &DetachedHold) -> Result<LockGuard> {
        let session = self.adopt(client, hold.lease()).await?;
        session.attach(hold).await
    }
}

/// As `34.0:5be1c3a70f24d968:report/1f`: the token, the nonce in the entry, and the key, of which `%` and all bytes but
/// printable ASCII are escaped.
impl fmt::Display for DetachedHold {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{:016x}:", self.token, self.nonce.get())?;
        for byte in self.key.as_bytes() {
            match byte {
                b'%' => f.write_str("%25")?,
                b'!'..=b'~' => write!(f, "{}", *byte as char)?,
                _ => write!(f, "%{byte:02x}")?,
            }
        }
        Ok(())
    }
}

impl FromStr for DetachedHold {
    type Err = Error;

    /// Reads what [`Display`](fmt::Display) wrote, and nothing else.
    fn from_str(text: &str) -> Result<Self> {
        let wrong = || {
            Error::invalid_argument(format!(
                "{text:?} is no detached hold: it is written like 34.0:5be1c3a70f24d968:report/1f"
            ))
        };
        let (token, rest) = text.split_once(':').ok_or_else(wrong)?;
        let (nonce, key) = rest.split_once(':').ok_or_else(wrong)?;
        let nonce = u64::from_str_radix(nonce, 16).map_err(|_| wrong())?;
        let key = unescaped(key).ok_or_else(wrong)?;
        let hold = Self::new(LockKey::new(key)?, token.parse()?, Nonce::new(nonce))?;
        match hold.to_string() == text {
            true => Ok(hold),
            false => Err(wrong()),
        }
    }
}

/// The bytes of an escaped text; nothing where an escape is wrong.
fn unescaped(text: &str) -> Option<Vec<u8>> {
    let mut parts = text.split('%');
    let mut bytes = parts.next()?.as_bytes().to_vec();
    for part in parts {
        let (digits, rest) = part.split_at_checked(2)?;
        bytes.push(u8::from_str_radix(digits, 16).ok()?);
        bytes.extend_from_slice(rest.as_bytes());
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use etcd_lock_core::Revision;

    use super::*;

    #[test]
    fn hold_of_its_text_is_the_same_whatever_the_name() {
        let mut names = vec![b"report".to_vec(), b"%41:%".to_vec(), "a/b ä".into()];
        names.extend((0..=u8::MAX).map(|byte| vec![byte]));
        let token = FencingToken::new(Revision::new(34).unwrap(), 2);
        for name in names {
            let key = LockName::new(name)
                .unwrap()
                .key(LeaseId::new(0x1f).unwrap());
            let hold = DetachedHold::new(key, token, Nonce::new(7)).unwrap();
            let text = hold.to_string();
            assert!(text.bytes().all(|byte| byte.is_ascii_graphic()), "{text}");
            assert_eq!(text.parse::<DetachedHold>().unwrap(), hold, "{text}");
        }
    }

    #[test]
    fn text_that_is_no_hold_is_refused() {
        for bad in [
            "",
            "34.0",
            "34.0:7:",
            "34.0:report/1f",
            "34:7:report/1f",
            "34.0:7:report",
            "34.0:7:report/%",
            "34.0:7:%zz/1f",
            "34.0:%:report/1f",
            "34.0:7:report/1f",
            "34.0:000000000000000A:report/1f",
            "34.0:+000000000000007:report/1f",
            "34.0:0000000000000007:%+7/1f",
            "34.0:0000000000000007:%61/1f",
            "34.0:0000000000000007:%FF/1f",
            "34.0:0000000000000007:a b/1f",
        ] {
            assert!(bad.parse::<DetachedHold>().is_err(), "{bad:?}");
        }
    }
}
