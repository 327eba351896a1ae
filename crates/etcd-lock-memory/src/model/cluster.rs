//! The incidents of a whole cluster: its leader changes, or a backup is restored.

use std::time::Duration;

use super::Model;

/// The time that etcd adds to every lease when a leader takes over (`Lessor.Promote` in `lessor.go`): its election timeout.
const ELECTION: Duration = Duration::from_secs(1);

impl Model {
    /// Another member becomes the leader: every lease has its whole time to live again, and one election timeout more.
    pub fn change_leader(&mut self) {
        self.raft_term += 1;
        self.leases.extend(self.now, ELECTION);
    }

    /// Brings back the keys and leases of an earlier [clone](Clone) of this model, as the restore of a backup does: the
    /// revision goes back, and every lease has its whole time to live again. All watch streams are closed and all calls of
    /// `Lock` forgotten, since restoring ends every member.
    pub fn restore(&mut self, backup: &Self) {
        self.raft_term += 1;
        self.history = backup.history.clone();
        self.leases = backup.leases.clone();
        self.leases.extend(self.now, ELECTION);
        self.watches.close_all();
        self.locks.clear();
    }
}
