//! The cluster that all endpoints must belong to.
//!
//! It is the one of the endpoint that first answered a request of a caller. A mere probe decides nothing: where it went to a
//! wrong endpoint, the right ones would be refused although nothing rests on that answer.
//!
//! After that answer locks may rest on it, and no later one may overrule it, not even a majority of the endpoints: a cluster
//! that was restored from a backup looks just like that. It has a new id and may know a session's lease, but not the
//! locks taken since the backup, which would then be held twice.

use std::sync::OnceLock;

use etcd_lock_core::{Error, ErrorKind, Result};
use tokio::sync::watch;

/// The cluster of a client.
#[derive(Debug, Default)]
pub(crate) struct Cluster {
    known: OnceLock<Known>,
    /// The newest term in which it is known to have had a leader.
    pub(crate) term: watch::Sender<u64>,
}

#[derive(Debug)]
struct Known {
    id: u64,
    /// The endpoint that answered first.
    by: String,
}

impl Cluster {
    /// Its id, once a request was answered.
    pub(crate) fn id(&self) -> Option<u64> {
        self.known.get().map(|known| known.id)
    }

    /// Compares it with the one that a request was answered by, and takes that where none has answered before. A header
    /// without an id says nothing.
    ///
    /// # Errors
    /// `Unavailable` where it is another one.
    pub(crate) fn answered(&self, id: u64, endpoint: &str) -> Result<()> {
        if id == 0 {
            return Ok(());
        }
        let by = || Known {
            id,
            by: endpoint.to_owned(),
        };
        self.known.get_or_init(by).check(id, endpoint)
    }

    /// Compares it with the one that a probe was answered by. Returns whether that is known to be the same one.
    ///
    /// # Errors
    /// `Unavailable` where it is another one.
    pub(crate) fn probed(&self, id: u64, endpoint: &str) -> Result<bool> {
        match self.known.get() {
            Some(known) if id != 0 => known.check(id, endpoint).map(|()| true),
            _ => Ok(false),
        }
    }
}

impl Known {
    fn check(&self, id: u64, endpoint: &str) -> Result<()> {
        if id == self.id {
            return Ok(());
        }
        let text = format!(
            "{endpoint} belongs to the cluster {id:x}, and {}, which answered first, to the cluster {:x}: one of the two \
             must leave the list of endpoints",
            self.by, self.id
        );
        Err(Error::new(ErrorKind::Unavailable, text))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_answer_decides_and_a_probe_does_not() {
        let cluster = Cluster::default();
        assert!(!cluster.probed(1, "a").unwrap());
        assert_eq!(cluster.id(), None);
        cluster.answered(0, "a").unwrap();
        cluster.answered(2, "b").unwrap();
        assert_eq!(cluster.id(), Some(2));
        cluster.answered(2, "c").unwrap();
        assert!(cluster.probed(2, "c").unwrap());
        for refused in [cluster.answered(1, "a"), cluster.probed(1, "a").map(drop)] {
            let text = refused.unwrap_err().to_string();
            assert!(text.contains("a belongs to the cluster 1"), "{text}");
            assert!(text.contains("and b, which"), "{text}");
            assert!(text.contains("to the cluster 2"), "{text}");
        }
        cluster.answered(2, "b").unwrap();
    }
}
