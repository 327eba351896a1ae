//! Contended locks by bare stubs that know who is before them: what is left is etcd and the network.

use tokio::sync::watch;
use tokio_stream::StreamExt;

use crate::bare::Bare;
use crate::contest::Share;

/// Contenders that hold a lock one after the other, over and over, always in the same order.
pub(crate) struct Ring {
    contenders: Vec<Contender>,
}

/// One of them: it makes an entry, waits until a watch tells that its predecessor's is deleted, and deletes its own.
pub(crate) struct Contender {
    bare: Bare,
    name: String,
    /// How often the predecessor's entry was deleted.
    deletions: watch::Receiver<u64>,
    /// How many of them are to come before the next turn.
    awaited: u64,
    watching: tokio::task::JoinHandle<()>,
}

impl Ring {
    pub(crate) async fn connect(endpoint: &str, size: usize, share: Share, name: &str) -> Self {
        let shared = Bare::connect(endpoint).await;
        let mut all = Vec::new();
        for _ in 0..size {
            all.push(match share {
                Share::Nothing => Bare::connect(endpoint).await,
                Share::Client => shared.another().await,
            });
        }
        let mut contenders = Vec::new();
        for (index, bare) in all.iter().enumerate() {
            let predecessor = &all[(index + size - 1) % size];
            let mut events = bare.watch_deletions(predecessor.entry(name)).await;
            let (tell, deletions) = watch::channel(0);
            let watching = tokio::spawn(async move {
                while let Some(Ok(reply)) = events.next().await {
                    tell.send_modify(|count| *count += reply.events.len() as u64);
                }
            });
            contenders.push(Contender {
                bare: bare.clone(),
                name: name.to_owned(),
                deletions,
                // The first of all has nobody before it.
                awaited: u64::from(index > 0),
                watching,
            });
        }
        Self { contenders }
    }

    pub(crate) fn into_contenders(self) -> Vec<Contender> {
        self.contenders
    }
}

impl Contender {
    /// Enters, and waits for its turn. Returns the entry's create revision.
    pub(crate) async fn lock(&mut self) -> i64 {
        let created = self.bare.enter_alone(&self.name).await;
        let awaited = self.awaited;
        let told = self.deletions.wait_for(|count| *count >= awaited).await;
        drop(told.unwrap());
        self.awaited += 1;
        created
    }

    pub(crate) async fn unlock(&self, created: i64) {
        self.bare.leave(&self.name, created).await;
    }

    pub(crate) async fn close(self) {
        self.bare.clone().close().await;
    }
}

impl Drop for Contender {
    fn drop(&mut self) {
        self.watching.abort();
    }
}
