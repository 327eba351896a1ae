//! Who stands before us.

use bytes::Bytes;
use etcd_lock_core::kv::KeyValue;
use etcd_lock_core::{ResponseHeader, Revision};

/// Up to this many entries before us are all watched, so that the last one to go is the grant, without asking again. In
/// a longer queue only the predecessor is watched: nobody is woken for every hand-over.
pub(super) const NEAR: usize = 4;

/// The entries before ours, as of one revision.
#[derive(Debug)]
pub(crate) struct Line {
    /// The reply that told of it.
    pub(crate) header: ResponseHeader,
    /// Key and create revision, the nearest first.
    pub(crate) ahead: Vec<(Bytes, Revision)>,
    /// Whether nobody stands before those.
    pub(crate) complete: bool,
    /// Whether nobody stands between those and us.
    pub(crate) adjacent: bool,
}

impl Line {
    /// The line as far as one key tells that was read with the put of our own entry: `None` where it isn't there.
    pub(crate) fn behind(header: ResponseHeader, key: &Bytes, kvs: &[KeyValue]) -> Option<Self> {
        let kv = kvs.first().filter(|kv| kv.key == *key)?;
        Some(Self {
            header,
            ahead: vec![(kv.key.clone(), kv.create_revision)],
            complete: false,
            adjacent: false,
        })
    }

    /// In a long line, who stands right before us.
    pub(crate) fn neighbour(&self) -> Option<&Bytes> {
        let (key, _) = self.ahead.first().filter(|_| !self.complete)?;
        Some(key)
    }

    /// Nobody stands before us: the lock is ours.
    pub(crate) fn is_empty(&self) -> bool {
        self.ahead.is_empty() && self.complete
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_key_tells_nothing_of_the_others() {
        let key = Bytes::from("a/8");
        let kvs = [KeyValue::new("a/8", "")];
        let line = Line::behind(ResponseHeader::default(), &key, &kvs).unwrap();
        assert!(!line.is_empty() && !line.complete && !line.adjacent);
        assert!(Line::behind(ResponseHeader::default(), &key, &[]).is_none());
    }
}
