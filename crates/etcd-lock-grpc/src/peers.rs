//! The endpoints, and which of them is asked.

use std::fmt;
use std::net::IpAddr;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::Duration;

use etcd_lock_core::{Error, Result};
use http::Uri;
use tonic::transport::{Channel, Endpoint};

use crate::Options;
use crate::auth::Auth;

/// How much may be on its way to us unread on one connection: one slow reader of a watch must not stop the others.
const CONNECTION_WINDOW: u32 = 4 * 1024 * 1024;

/// How many calls may be under way on one connection; more wait in here. etcd takes memory for each that it answers, and
/// does not give it back soon.
const CALLS: usize = 128;

/// All endpoints of one etcd.
#[derive(Debug)]
pub(crate) struct Peers {
    peers: Vec<Peer>,
    /// The one to ask: it stays the same until a request to it fails.
    current: AtomicUsize,
    /// One token for all: etcd shares them between its members.
    auth: Auth,
}

impl Peers {
    /// Checks endpoints: URLs, or `host:port` for plain TCP as etcdctl takes it.
    pub(crate) fn new(
        endpoints: impl IntoIterator<Item = impl AsRef<str>>,
        options: &Options,
    ) -> Result<Self> {
        let peers = endpoints
            .into_iter()
            .map(|endpoint| Peer::new(endpoint.as_ref(), options));
        let peers = peers.collect::<Result<Vec<_>>>()?;
        if peers.is_empty() {
            return Err(Error::invalid("no endpoint: at least one is needed"));
        }
        Ok(Self {
            peers,
            current: AtomicUsize::new(0),
            auth: Auth::new(options.login.clone()),
        })
    }

    /// Who we are to them.
    pub(crate) const fn auth(&self) -> &Auth {
        &self.auth
    }

    /// The number of the endpoint to ask now.
    pub(crate) fn current(&self) -> usize {
        self.current.load(Relaxed)
    }

    /// The endpoint of a number that [`current`](Self::current) gave.
    pub(crate) fn peer(&self, number: usize) -> &Peer {
        &self.peers[number]
    }

    /// Leaves an endpoint that failed, unless somebody has left it already.
    pub(crate) fn leave(&self, number: usize) {
        let next = (number + 1) % self.peers.len();
        // It only changes when nobody was faster.
        let _ = self
            .current
            .compare_exchange(number, next, Relaxed, Relaxed);
    }
}

/// One endpoint, with a connection for short calls and one for those that wait.
pub(crate) struct Peer {
    name: String,
    endpoint: Endpoint,
    short: OnceLock<Channel>,
    waiting: OnceLock<Channel>,
}

impl Peer {
    fn new(given: &str, options: &Options) -> Result<Self> {
        let name = if given.contains("://") {
            given.to_owned()
        } else {
            format!("http://{given}")
        };
        let uri = name
            .parse::<Uri>()
            .map_err(|error| bad(given, "it is no URL").with_source(error))?;
        match uri.scheme_str() {
            Some("http") => {}
            Some("https") => return Err(bad(given, "TLS is not supported yet, use http://")),
            _ => return Err(bad(given, "its scheme must be http")),
        }
        if uri.host().is_none_or(str::is_empty) || uri.port().is_none() {
            return Err(bad(given, "host and port are needed"));
        }
        if options.login.is_some() && !uri.host().is_some_and(is_loopback) {
            return Err(bad(
                given,
                "without TLS a password is sent to a loopback address only",
            ));
        }
        if uri
            .path_and_query()
            .is_some_and(|path| path.as_str() != "/")
        {
            return Err(bad(given, "there must be nothing after the port"));
        }
        Ok(Self {
            name,
            endpoint: endpoint(uri, options),
            short: OnceLock::new(),
            waiting: OnceLock::new(),
        })
    }

    /// The endpoint's URL.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// The connection for calls that are answered at once. It is made when it is first used, since it needs a runtime.
    pub(crate) fn short(&self) -> Channel {
        self.short
            .get_or_init(|| {
                let endpoint = self.endpoint.clone().concurrency_limit(CALLS);
                endpoint.connect_lazy()
            })
            .clone()
    }

    /// The connection for calls that wait and for streams: they must not take the room that short calls need.
    pub(crate) fn waiting(&self) -> Channel {
        self.waiting
            .get_or_init(|| self.endpoint.connect_lazy())
            .clone()
    }
}

impl fmt::Debug for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)
    }
}

fn endpoint(uri: Uri, options: &Options) -> Endpoint {
    Channel::builder(uri)
        .connect_timeout(options.connect_timeout)
        .http2_keep_alive_interval(options.keep_alive_interval)
        .keep_alive_timeout(options.keep_alive_timeout)
        // Pings without a call under way count as an attack: etcd doesn't permit them.
        .keep_alive_while_idle(false)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .tcp_keepalive(Some(Duration::from_secs(30)))
        .tcp_nodelay(true)
}

fn is_loopback(host: &str) -> bool {
    let address = host.trim_start_matches('[').trim_end_matches(']');
    address == "localhost" || address.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

fn bad(given: &str, why: &str) -> Error {
    Error::invalid(format!(
        "{given:?} is no endpoint: {why}, as in http://127.0.0.1:2379"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn peers(endpoints: &[&str]) -> Result<Peers> {
        Peers::new(endpoints, &Options::new())
    }

    #[test]
    fn endpoints_are_urls_or_host_and_port() {
        for good in [
            "http://127.0.0.1:2379",
            "127.0.0.1:2379",
            "localhost:2379",
            "http://[::1]:2379/",
        ] {
            assert!(peers(&[good]).is_ok(), "{good}");
        }
        for bad in [
            "",
            "127.0.0.1",
            "http://",
            "https://a:1",
            "unix:///x",
            "http://a:1/b",
            "a b:1",
            "http://a:99999",
        ] {
            let error = peers(&[bad]).unwrap_err();
            assert_eq!(
                error.kind(),
                etcd_lock_core::ErrorKind::InvalidArgument,
                "{bad}"
            );
        }
        assert!(peers(&[]).is_err());
    }

    #[test]
    fn a_password_is_not_sent_through_the_net() {
        let options = Options::new().with_login("me", "secret");
        for (endpoint, goes) in [
            ("127.0.0.1:1", true),
            ("localhost:1", true),
            ("http://[::1]:1", true),
            ("10.0.0.1:1", false),
            ("http://localhost.example.org:1", false),
        ] {
            assert_eq!(Peers::new([endpoint], &options).is_ok(), goes, "{endpoint}");
        }
        assert!(!format!("{options:?}").contains("secret"));
    }

    #[test]
    fn a_failed_endpoint_is_left_once() {
        let peers = peers(&["a:1", "b:1", "c:1"]).unwrap();
        peers.leave(0);
        peers.leave(0);
        assert_eq!(peers.peer(peers.current()).name(), "http://b:1");
        peers.leave(1);
        peers.leave(2);
        assert_eq!(peers.peer(peers.current()).name(), "http://a:1");
    }
}
