//! The faults of a member, and how they end.

use super::Stage;

/// A fault of one member.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Fault {
    /// Killed, without a chance to close its connections properly; then started again on its data.
    Kill(usize),
    /// Stopped: its connections stay open and nothing answers. Then it goes on where it was.
    Stop(usize),
    /// Parted from the other members, and not from clients.
    Part(usize),
    /// Not heard by the other members, which it hears, and not parted from clients.
    Mute(usize),
}

impl Fault {
    pub(crate) const fn member(self) -> usize {
        match self {
            Self::Kill(member) | Self::Stop(member) | Self::Part(member) | Self::Mute(member) => {
                member
            }
        }
    }
}

impl Stage {
    pub(crate) fn begin(&mut self, fault: Fault) {
        match fault {
            Fault::Kill(member) => self.etcd.members()[member].kill(),
            Fault::Stop(member) => self.etcd.members()[member].pause(),
            Fault::Part(member) => self.etcd.peer_links().part(member),
            Fault::Mute(member) => self.etcd.peer_links().mute(member),
        }
    }

    /// Ends a fault, and waits until the member is one of the cluster again.
    pub(crate) async fn end(&mut self, fault: Fault) {
        let member = fault.member();
        match fault {
            Fault::Kill(_) => self.etcd.members()[member].launch(),
            Fault::Stop(_) => self.etcd.members()[member].resume(),
            Fault::Part(_) | Fault::Mute(_) => self.etcd.peer_links().heal(member),
        }
        self.etcd.members()[member].wait_until_healthy().await;
    }
}
