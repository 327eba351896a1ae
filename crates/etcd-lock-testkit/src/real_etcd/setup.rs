//! How an etcd is to be started.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicU32;
use std::time::Duration;

use super::member::{Member, Plan, Ports};
use super::peer_links::PeerLinks;
use super::{Admin, RealEtcd, data, default_program};
use crate::certificates::{Authority, Pair};

/// An etcd that is yet to be started: one member, without TLS, of the program that is found by itself.
///
/// ```no_run
/// use etcd_lock_testkit::real_etcd::{Setup, program_35};
///
/// # async fn start() {
/// let etcd = Setup::new().members(3).program(program_35()).start().await;
/// # }
/// ```
#[derive(Clone, Debug)]
#[must_use]
pub struct Setup {
    size: usize,
    program: Option<PathBuf>,
    flags: Vec<String>,
    tls: Option<Tls>,
    has_peer_links: bool,
    parent: Option<PathBuf>,
    slower_sync: Option<Duration>,
}

#[derive(Clone, Debug)]
struct Tls {
    authority: PathBuf,
    server: Pair,
    admin: Pair,
}

impl Setup {
    /// One member at etcd's defaults.
    pub const fn new() -> Self {
        Self {
            size: 1,
            program: None,
            flags: Vec::new(),
            tls: None,
            has_peer_links: false,
            parent: None,
            slower_sync: None,
        }
    }

    /// How many members there are. 1 by default.
    pub const fn members(mut self, size: usize) -> Self {
        self.size = size;
        self
    }

    /// The etcd to run. [`default_program`] by default.
    pub fn program(mut self, program: impl Into<PathBuf>) -> Self {
        self.program = Some(program.into());
        self
    }

    /// More flags for etcd.
    pub fn flags(mut self, flags: &[&str]) -> Self {
        self.flags
            .extend(flags.iter().map(|flag| (*flag).to_owned()));
        self
    }

    /// TLS for clients, which must present a certificate of this authority. Members talk to each other without it.
    ///
    /// The members read the files of `server` again for each connection that they accept.
    pub fn tls(mut self, authority: &Authority, server: &Pair) -> Self {
        self.tls = Some(Tls {
            authority: authority.ca_file().to_owned(),
            server: server.clone(),
            // The common name is no user of etcd: with authentication on, the operator logs in with a password.
            admin: authority.client(""),
        });
        self
    }

    /// Members reach each other through proxies, so that [`RealEtcd::peer_links`] can part them.
    pub const fn with_peer_links(mut self) -> Self {
        self.has_peer_links = true;
        self
    }

    /// Keeps data and logs in a new directory in this one. In memory by default, where that is possible.
    pub fn data_in(mut self, parent: impl Into<PathBuf>) -> Self {
        self.parent = Some(parent.into());
        self
    }

    /// Each sync to the disk takes this much longer. A member then runs under strace, which must be on `PATH`.
    pub const fn slower_syncs(mut self, by: Duration) -> Self {
        self.slower_sync = Some(by);
        self
    }

    /// Starts it, and returns when all its members answer.
    ///
    /// # Panics
    /// When there is no etcd on this machine, saying how to get one; or when it doesn't start.
    pub async fn start(self) -> RealEtcd {
        let parent = self.parent.clone();
        let dir = data::directory(&parent.unwrap_or_else(data::default_parent));
        let ports: Vec<_> = (0..self.size).map(|_| Ports::reserve()).collect();
        let pids: Vec<_> = (0..self.size)
            .map(|_| Arc::new(AtomicU32::new(0)))
            .collect();
        let own: Vec<_> = ports.iter().map(|ports| ports.peer.number()).collect();
        let links = match self.has_peer_links {
            true => Some(PeerLinks::start(&own, &pids).await),
            false => None,
        };
        let advertised = links.as_ref().map_or(own, PeerLinks::ports);
        let mut members: Vec<_> = ports
            .into_iter()
            .enumerate()
            .map(|(index, ports)| Plan {
                program: self.program.clone().unwrap_or_else(default_program),
                slower_sync: self.slower_sync,
                data: dir.path().join(name(index)),
                scheme: if self.tls.is_some() { "https" } else { "http" },
                ports,
                advertised_peer_port: advertised[index],
                initial_cluster: initial_cluster(&advertised),
                flags: self.all_flags(),
            })
            .zip(pids)
            .map(|(plan, pid)| Member::spawn(plan, pid))
            .collect();
        for member in &mut members {
            member.wait_until_healthy().await;
        }
        RealEtcd {
            members,
            links,
            admin: self.admin(),
            dir,
        }
    }

    fn all_flags(&self) -> Vec<String> {
        let mut flags = self.flags.clone();
        if let Some(tls) = &self.tls {
            flags.push("--client-cert-auth".to_owned());
            for (flag, file) in [
                ("--trusted-ca-file", tls.authority.as_path()),
                ("--cert-file", tls.server.certificate_file()),
                ("--key-file", tls.server.key_file()),
            ] {
                flags.extend([flag.to_owned(), file.to_string_lossy().into_owned()]);
            }
        }
        flags
    }

    fn admin(&self) -> Admin {
        let mut admin = Admin::default();
        if let Some(tls) = &self.tls {
            for (flag, file) in [
                ("--cacert", tls.authority.as_path()),
                ("--cert", tls.admin.certificate_file()),
                ("--key", tls.admin.key_file()),
            ] {
                admin.add(flag, &file.to_string_lossy());
            }
        }
        admin
    }
}

impl Default for Setup {
    fn default() -> Self {
        Self::new()
    }
}

fn name(index: usize) -> String {
    format!("m{index}")
}

/// etcd's own notation: the name and peer URL of every member.
fn initial_cluster(peer_ports: &[u16]) -> String {
    let members: Vec<_> = peer_ports
        .iter()
        .enumerate()
        .map(|(index, port)| format!("{}=http://127.0.0.1:{port}", name(index)))
        .collect();
    members.join(",")
}
