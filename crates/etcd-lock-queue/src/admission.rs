//! The admission to the lock: the one rule that another kind of lock would replace.

use crate::knowledge::EntryId;

/// Whether an entry with these live predecessors is granted. The caller vouches that it knows all of them.
///
/// The lock is exclusive, so none may be left. A lock for readers and writers would look at the modes of the entries
/// here, a semaphore at their number.
pub(crate) fn admits<'a>(mut predecessors: impl Iterator<Item = &'a EntryId>) -> bool {
    predecessors.next().is_none()
}
