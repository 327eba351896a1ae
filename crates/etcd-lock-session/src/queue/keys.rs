//! One attempt at a time on each key.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use etcd_lock_core::LockKey;
use tokio::sync::{Mutex as AsyncMutex, OwnedMutexGuard};

/// A lock in memory for each key that somebody is busy with: the name and the lease make the key, so two tasks that
/// share a lease would otherwise take each other's entry for their own.
#[derive(Clone, Debug, Default)]
pub(crate) struct KeyLocks(Arc<Mutex<HashMap<LockKey, Arc<AsyncMutex<()>>>>>);

impl KeyLocks {
    /// Waits until nobody else is busy with the key.
    pub(crate) async fn acquire(&self, key: &LockKey) -> KeyPermit {
        let lock = self.map(|keys| keys.entry(key.clone()).or_default().clone());
        // Made before the wait, so that a waiter that is dropped tidies up, too.
        let mut permit = KeyPermit {
            keys: self.clone(),
            key: key.clone(),
            held: None,
        };
        permit.held = Some(lock.lock_owned().await);
        permit
    }

    fn map<T>(&self, access: impl FnOnce(&mut HashMap<LockKey, Arc<AsyncMutex<()>>>) -> T) -> T {
        access(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// The right to be busy with a key.
#[derive(Debug)]
pub(crate) struct KeyPermit {
    keys: KeyLocks,
    key: LockKey,
    held: Option<OwnedMutexGuard<()>>,
}

impl Drop for KeyPermit {
    fn drop(&mut self) {
        self.held = None;
        self.keys.map(|keys| {
            // Clones are made under the same lock, so a count of one means that nobody else is about to use it.
            if keys
                .get(&self.key)
                .is_some_and(|lock| Arc::strong_count(lock) == 1)
            {
                keys.remove(&self.key);
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn keys_are_forgotten_after_use() {
        let locks = KeyLocks::default();
        let key = LockKey::new("a/1").unwrap();
        let first = locks.acquire(&key).await;
        let mut second = Box::pin(locks.acquire(&key));
        assert!(futures_util::poll!(&mut second).is_pending());
        drop(second);
        drop(first);
        assert!(locks.map(|keys| keys.is_empty()));
        locks.acquire(&key).await;
        assert!(locks.map(|keys| keys.is_empty()));
    }
}
