//! The connections between the members of an etcd, each through a proxy.
//!
//! A member has one address for all of its peers, so the proxy in front of it looks up the peer that connects: by the process
//! that owns the source port, as Linux lists it.

use std::fs;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};

use tokio::task::JoinHandle;

use super::proxy::{self, Link};

/// How often the owner of a connection is looked for.
const LOOKS: usize = 20;

/// The links between each two members.
#[derive(Debug)]
pub struct PeerLinks {
    /// By the member that connects, then by the one that is connected to.
    links: Vec<Vec<Link>>,
    ports: Vec<u16>,
    acceptors: Vec<JoinHandle<()>>,
}

impl PeerLinks {
    /// Parts a member from all of its peers, without telling either side. Its clients still reach it.
    pub fn part(&self, member: usize) {
        self.of(member).for_each(Link::hold);
    }

    /// Has a member hear its peers without being heard by them: it still has a leader by its own word.
    pub fn mute(&self, member: usize) {
        for other in (0..self.links.len()).filter(|other| *other != member) {
            // A member reads from those that it connects to, and sends to them what is too large for that.
            self.links[other][member].hold();
            self.links[member][other].hold_requests();
        }
    }

    /// Ends either: connections are made anew, as after a long time without a network.
    pub fn heal(&self, member: usize) {
        self.of(member).for_each(|link| {
            link.cut();
            link.pass();
        });
    }

    /// A proxy in front of each of these ports, for the members with these processes.
    pub(super) async fn start(peer_ports: &[u16], pids: &[Arc<AtomicU32>]) -> Self {
        let size = peer_ports.len();
        let links: Vec<Vec<_>> = (0..size)
            .map(|_| (0..size).map(|_| Link::new()).collect())
            .collect();
        let (mut ports, mut acceptors) = (Vec::new(), Vec::new());
        for (to, port) in peer_ports.iter().enumerate() {
            let target = SocketAddr::from(([127, 0, 0, 1], *port));
            let (links, pids) = (links.clone(), pids.to_vec());
            let choose = move |source: SocketAddr| {
                let from = owner(&pids, source);
                // The member itself is never parted from itself: its link is for those whom nobody knows.
                links[from.unwrap_or(to)][to].clone()
            };
            let (port, acceptor) = proxy::serve(target, Link::new(), choose).await;
            ports.push(port);
            acceptors.push(acceptor);
        }
        Self {
            links,
            ports,
            acceptors,
        }
    }

    /// The addresses that the members advertise.
    pub(super) fn ports(&self) -> Vec<u16> {
        self.ports.clone()
    }

    /// All links from and to a member.
    fn of(&self, member: usize) -> impl Iterator<Item = &Link> {
        let others = (0..self.links.len()).filter(move |other| *other != member);
        others.flat_map(move |other| [&self.links[member][other], &self.links[other][member]])
    }
}

impl Drop for PeerLinks {
    fn drop(&mut self) {
        self.acceptors.iter().for_each(JoinHandle::abort);
    }
}

/// The place of the process that has the socket with this local address. Linux lists sockets piece by piece, and leaves out
/// one now and then as others come and go.
fn owner(pids: &[Arc<AtomicU32>], local: SocketAddr) -> Option<usize> {
    let look = || pids.iter().position(|pid| owns(pid.load(Relaxed), local));
    (0..LOOKS).find_map(|_| look())
}

/// Whether a process has the socket with this local address.
fn owns(pid: u32, local: SocketAddr) -> bool {
    let Some(inode) = inode(local) else {
        return false;
    };
    let wanted = PathBuf::from(format!("socket:[{inode}]"));
    let descriptors = fs::read_dir(format!("/proc/{pid}/fd"));
    descriptors.is_ok_and(|mut descriptors| {
        descriptors.any(|descriptor| {
            descriptor.is_ok_and(|one| fs::read_link(one.path()).is_ok_and(|link| link == wanted))
        })
    })
}

/// The number of the socket with this local address, in Linux' table of TCP sockets.
fn inode(local: SocketAddr) -> Option<u64> {
    let wanted = format!(":{:04X}", local.port());
    let table = fs::read_to_string("/proc/net/tcp").ok()?;
    table.lines().skip(1).find_map(|line| {
        let mut fields = line.split_whitespace().skip(1);
        let is_wanted = fields.next()?.ends_with(&wanted);
        let inode = fields.nth(7)?.parse().ok()?;
        // Sockets that are closing have none.
        (is_wanted && inode != 0).then_some(inode)
    })
}

#[cfg(test)]
mod tests {
    use std::net::{TcpListener, TcpStream};
    use std::process::Command;

    use super::*;

    #[test]
    fn the_source_of_a_connection_belongs_to_the_process_that_opened_it() {
        let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (_server, source) = listener.accept().unwrap();
        assert_eq!(client.local_addr().unwrap(), source);
        assert!(owns(std::process::id(), source));
        let mut other = Command::new("sleep").arg("60").spawn().unwrap();
        assert!(!owns(other.id(), source));
        other.kill().unwrap();
        other.wait().unwrap();
    }
}
