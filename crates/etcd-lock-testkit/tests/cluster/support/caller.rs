//! A client of its own, with a proxy on each of its links.

use std::time::Duration;

use etcd_lock_core::kv::RangeRequest;
use etcd_lock_core::{CallOptions, Client, Result};
use etcd_lock_grpc::{ConnectOptions, GrpcTransport};
use etcd_lock_session::{Mutex, Queue, Session};
use etcd_lock_testkit::real_etcd::proxy::{Link, Proxy};

/// The time to live of sessions: at the default, and the one that must survive one member's end.
const TTL: Duration = Duration::from_secs(10);

/// How many bytes a request has whose way is looked for: more than background traffic has.
const LONG: usize = 16 * 1024;

/// How often another client is made until one starts at the wanted member: it chooses by chance.
const ATTEMPTS: usize = 60;

/// A client, and its links to the members.
pub(crate) struct Caller {
    pub(crate) client: Client,
    proxies: Vec<Proxy>,
}

impl Caller {
    pub(crate) async fn connect(members: &[String], options: ConnectOptions) -> Self {
        Self::connect_listing(0, members, options).await
    }

    /// A client that was seen to send its requests to this member, which is also the first that it was told of.
    pub(crate) async fn connect_on(
        member: usize,
        members: &[String],
        options: &ConnectOptions,
    ) -> Self {
        for _ in 0..ATTEMPTS {
            let caller = Self::connect_listing(member, members, options.clone()).await;
            if caller.member().await == member {
                return caller;
            }
        }
        panic!("none of {ATTEMPTS} clients began with member {member}");
    }

    /// A client that is told of this member first.
    pub(crate) async fn connect_listing(
        first: usize,
        members: &[String],
        options: ConnectOptions,
    ) -> Self {
        let mut proxies = Vec::new();
        for member in members {
            proxies.push(Proxy::to(member).await);
        }
        let mut endpoints: Vec<_> = proxies.iter().map(Proxy::endpoint).collect();
        endpoints.rotate_left(first);
        let transport = GrpcTransport::connect(options.with_endpoints(&endpoints)).unwrap();
        let client = Queue::new(transport).into_client();
        Self { client, proxies }
    }

    /// The member that answers requests of this client: found by a long one.
    pub(crate) async fn member(&self) -> usize {
        let before: Vec<_> = self.links().map(Link::requested).collect();
        let key = format!("a/{}", "x".repeat(LONG));
        let request = RangeRequest::key(key);
        let transport = self.client.transport();
        let answer = transport.range(request, CallOptions::default()).await;
        answer.unwrap();
        // Sent last to the one that answered.
        let grown = self
            .links()
            .zip(before)
            .map(|(link, before)| link.requested() - before);
        let (member, bytes) = grown.enumerate().max_by_key(|(_, bytes)| *bytes).unwrap();
        assert!(bytes >= LONG as u64, "a request went another way");
        member
    }

    pub(crate) fn links(&self) -> impl Iterator<Item = &Link> {
        self.proxies.iter().map(Proxy::link)
    }

    /// Cuts all connections, and lets new ones pass.
    pub(crate) fn cut(&self) {
        self.links().for_each(|link| {
            link.cut();
            link.pass();
        });
    }

    /// A lock, in a session of 10 s of its own.
    pub(crate) async fn mutex(&self, name: &str) -> (Session, Mutex) {
        self.try_mutex(name).await.unwrap()
    }

    /// As [`mutex`](Self::mutex), where a fault may be in the way.
    pub(crate) async fn try_mutex(&self, name: &str) -> Result<(Session, Mutex)> {
        let session = Session::open(&self.client, TTL).await?;
        let mutex = Mutex::new(&session, name.to_owned())?;
        Ok((session, mutex))
    }
}
