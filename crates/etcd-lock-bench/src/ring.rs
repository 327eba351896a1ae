//! Contended locks by bare stubs that know their predecessor: what is left is etcd and the network.

use bytes::Bytes;
use tokio::sync::watch;
use tokio_stream::StreamExt;

use crate::bare::Bare;
use crate::race::Share;

/// One of a ring of contenders that hold a lock in a fixed order, over and over. It makes an entry, waits until a watch tells
/// that its predecessor's is deleted, and deletes its own.
pub(crate) struct Contender {
    bare: Bare,
    name: String,
    /// How often the predecessor's entry was deleted.
    deletions: watch::Receiver<u64>,
    /// How many deletions make it this one's turn.
    awaited: u64,
    watching: tokio::task::JoinHandle<()>,
}

/// Leases of a ring of this size, each on a connection of its own or all on one.
pub(crate) async fn connect(endpoint: &str, size: usize, share: Share) -> Vec<Bare> {
    let mut all = vec![Bare::connect(endpoint).await];
    while all.len() < size {
        all.push(match share {
            Share::Nothing => Bare::connect(endpoint).await,
            Share::Client => all[0].another().await,
        });
    }
    all
}

/// The key of a lease's entry.
pub(crate) fn entry(name: &str, lease: i64) -> Bytes {
    Bytes::from(format!("{name}/{lease:x}"))
}

/// The index of the predecessor of the contender with this index.
pub(crate) const fn predecessor(index: usize, size: usize) -> usize {
    (index + size - 1) % size
}

/// All of a ring, each of which watches its predecessor.
pub(crate) async fn join_all(all: &[Bare], name: &str) -> Vec<Contender> {
    let mut contenders = Vec::new();
    for (index, bare) in all.iter().enumerate() {
        let predecessor = all[predecessor(index, all.len())].entry(name);
        let awaited = u64::from(index > 0);
        contenders.push(Contender::join(bare.clone(), name, predecessor, awaited).await);
    }
    contenders
}

impl Contender {
    /// Watches the predecessor's entry. In its first turn a contender waits for `awaited` deletions of it: none if it is the
    /// first of all.
    pub(crate) async fn join(bare: Bare, name: &str, predecessor: Bytes, awaited: u64) -> Self {
        let mut events = bare.watch_deletions(predecessor).await;
        let (tell, deletions) = watch::channel(0);
        let watching = tokio::spawn(async move {
            while let Some(Ok(reply)) = events.next().await {
                tell.send_modify(|count| *count += reply.events.len() as u64);
            }
        });
        Self {
            bare,
            name: name.to_owned(),
            deletions,
            awaited,
            watching,
        }
    }

    /// Enters, and waits for its turn. Returns the entry's create revision.
    pub(crate) async fn lock(&mut self) -> i64 {
        let created = self.bare.enter(&self.name).await;
        let awaited = self.awaited;
        let told = self.deletions.wait_for(|count| *count >= awaited).await;
        drop(told.unwrap());
        self.awaited += 1;
        created
    }

    pub(crate) async fn unlock(&self, created: i64) {
        self.bare.leave(&self.name, created).await;
    }
}

impl Drop for Contender {
    fn drop(&mut self) {
        self.watching.abort();
    }
}
