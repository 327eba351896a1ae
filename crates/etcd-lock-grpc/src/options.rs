//! How a connection to an etcd is made.

mod checks;
mod environment;
#[cfg(test)]
mod test;
mod variables;

use std::time::Duration;

use secrecy::SecretString;

use crate::TlsOptions;
pub use variables::parse_duration;

/// The shortest time between two pings of a connection. etcd closes one that pings more often than every 5 s.
const SHORTEST_KEEP_ALIVE: Duration = Duration::from_secs(10);

/// How often a request is sent at most where nobody says otherwise.
pub(crate) const MAX_ATTEMPTS: usize = 5;

/// Where an etcd is, and how to connect to it.
///
/// ```
/// use std::time::Duration;
///
/// use etcd_lock_grpc::{ConnectOptions, GrpcTransport};
///
/// let options = ConnectOptions::new()
///     .with_endpoints(["https://10.0.0.1:2379", "https://10.0.0.2:2379"])
///     .with_login("worker", "its password")
///     .with_connect_timeout(Duration::from_secs(1));
/// # let options = options.with_endpoints(["127.0.0.1:2379"]);
/// let transport = GrpcTransport::connect(options)?;
/// # Ok::<(), etcd_lock_core::Error>(())
/// ```
///
/// A list of endpoints stands for options with all other defaults, and [`from_env`](Self::from_env) reads the variables that
/// `etcdctl` reads.
#[derive(Clone, Debug)]
#[must_use]
#[non_exhaustive]
pub struct ConnectOptions {
    pub(crate) endpoints: Vec<String>,
    pub(crate) connect_timeout: Duration,
    pub(crate) keep_alive_interval: Duration,
    pub(crate) keep_alive_timeout: Duration,
    pub(crate) max_attempts: usize,
    pub(crate) login: Option<Login>,
    pub(crate) tls: Option<TlsOptions>,
    pub(crate) endpoint_choice: EndpointChoice,
    pub(crate) attempt_timeout: Duration,
    pub(crate) member_sync: Option<Duration>,
    server_side_locks: bool,
    group_commit: bool,
    command_timeout: Option<Duration>,
}

/// A user's name and password. The password isn't printed, and is overwritten in memory when it is dropped.
#[derive(Clone, Debug)]
pub(crate) struct Login {
    pub(crate) name: String,
    pub(crate) password: SecretString,
}

impl ConnectOptions {
    /// The defaults.
    pub fn new() -> Self {
        Self {
            endpoints: vec!["127.0.0.1:2379".to_owned()],
            connect_timeout: Duration::from_secs(2),
            keep_alive_interval: SHORTEST_KEEP_ALIVE,
            keep_alive_timeout: Duration::from_secs(5),
            max_attempts: MAX_ATTEMPTS,
            login: None,
            tls: None,
            endpoint_choice: EndpointChoice::Random,
            attempt_timeout: Duration::from_secs(2),
            member_sync: None,
            server_side_locks: false,
            group_commit: true,
            command_timeout: None,
        }
    }

    /// The client addresses of the etcd's members: URLs like `https://10.0.0.1:2379`, `host:port`, or `unix:/path` for a Unix
    /// socket. Default: `127.0.0.1:2379`. An empty list is refused.
    pub fn with_endpoints(mut self, endpoints: impl IntoIterator<Item = impl AsRef<str>>) -> Self {
        let endpoints = endpoints.into_iter();
        self.endpoints = endpoints.map(|it| it.as_ref().to_owned()).collect();
        self
    }

    /// Which endpoint is asked while several are healthy. [`EndpointChoice::Random`] by default.
    pub const fn with_endpoint_choice(mut self, choice: EndpointChoice) -> Self {
        self.endpoint_choice = choice;
        self
    }

    /// How long an endpoint may leave a request unanswered before it is taken for dead, and another one is asked. 2 s by
    /// default.
    ///
    /// It bounds each attempt of a request, the look-up of a name, the connection and the login included; a request whose
    /// own timeout is short has attempts of a third of that, but of at least 500 ms. A request that can't be repeated safely
    /// is not ended by it as long as its endpoint gives other signs of life.
    pub const fn with_attempt_timeout(mut self, timeout: Duration) -> Self {
        self.attempt_timeout = timeout;
        self
    }

    /// How often the endpoints are replaced by the client URLs that the cluster lists for its members. Never by default.
    ///
    /// The URLs must be such that this client can reach them. The endpoints stay as they are while the list can't be had.
    pub const fn with_member_sync(mut self, every: Duration) -> Self {
        self.member_sync = Some(every);
        self
    }

    /// Bounds each attempt to connect, the TLS handshake included. Default: 2 s. Zero is refused.
    pub const fn with_connect_timeout(mut self, timeout: Duration) -> Self {
        self.connect_timeout = timeout;
        self
    }

    /// Idle time before an HTTP/2 ping is sent while calls are in flight. Default and minimum: 10 s (etcd closes
    /// connections that ping more often than every 5 s).
    pub const fn with_keep_alive_interval(mut self, interval: Duration) -> Self {
        self.keep_alive_interval = interval;
        self
    }

    /// How long to wait for the answer to a ping, and on Linux for the acknowledgement of anything sent, before the connection
    /// is closed. Default: 5 s. Zero is refused.
    pub const fn with_keep_alive_timeout(mut self, timeout: Duration) -> Self {
        self.keep_alive_timeout = timeout;
        self
    }

    /// How often a request is sent at most, where it may be retried at all. Default: 5. Zero is refused.
    pub const fn with_max_attempts(mut self, attempts: usize) -> Self {
        self.max_attempts = attempts;
        self
    }

    /// Logs in as this user, for an etcd with authentication on. With it off, nothing changes. Default: no user.
    ///
    /// A password goes to `https://` endpoints, to Unix sockets and to loopback addresses only: other endpoints are
    /// refused with it. The password isn't printed, and is overwritten in memory when it is dropped; copies that are
    /// made to send it are not.
    pub fn with_login(
        mut self,
        user: impl Into<String>,
        password: impl Into<SecretString>,
    ) -> Self {
        self.login = Some(Login {
            name: user.into(),
            password: password.into(),
        });
        self
    }

    /// Which servers are trusted, and the client certificate. Default: [`TlsOptions::new`].
    ///
    /// They are for `https://` endpoints, and an endpoint `host:port` means `https://host:port` with them. There must be
    /// such an endpoint. TLS needs the feature `tls-ring` or `tls-aws-lc`.
    pub fn with_tls(mut self, tls: TlsOptions) -> Self {
        self.tls = Some(tls);
        self
    }

    /// Takes locks by etcd's own `Lock` RPC instead of by the wait queue: slower, and with hazards that a client can only
    /// soften. Default: the wait queue.
    ///
    /// This is for `lock` and `unlock` with a lease alone; sessions always use the queue. A
    /// [`GrpcTransport`](crate::GrpcTransport) by itself has no queue, and always uses the RPC.
    pub const fn with_server_side_locks(mut self) -> Self {
        self.server_side_locks = true;
        self
    }

    /// Sends each transaction as a request of its own. Default: transactions that wait at the same time share requests, which
    /// makes many locks of one process several times faster (the crate `etcd-lock-group`).
    ///
    /// A [`GrpcTransport`](crate::GrpcTransport) by itself never shares requests.
    pub const fn without_group_commit(mut self) -> Self {
        self.group_commit = false;
        self
    }

    /// The endpoints.
    #[must_use]
    pub fn endpoints(&self) -> &[String] {
        &self.endpoints
    }

    /// Whether locks are taken by etcd's own `Lock` RPC.
    #[must_use]
    pub const fn has_server_side_locks(&self) -> bool {
        self.server_side_locks
    }

    /// Whether transactions that wait at the same time share requests.
    #[must_use]
    pub const fn has_group_commit(&self) -> bool {
        self.group_commit
    }

    /// How long a call may take, where the variable `ETCDCTL_COMMAND_TIMEOUT` said so. No connection uses it: it is for the
    /// timeouts that calls and sessions are given.
    #[must_use]
    pub const fn command_timeout(&self) -> Option<Duration> {
        self.command_timeout
    }
}

impl Default for ConnectOptions {
    fn default() -> Self {
        Self::new()
    }
}

impl From<&str> for ConnectOptions {
    /// One endpoint.
    fn from(endpoint: &str) -> Self {
        Self::new().with_endpoints([endpoint])
    }
}

impl<T: AsRef<str>, const N: usize> From<[T; N]> for ConnectOptions {
    fn from(endpoints: [T; N]) -> Self {
        Self::new().with_endpoints(endpoints)
    }
}

impl<T: AsRef<str>, const N: usize> From<&[T; N]> for ConnectOptions {
    fn from(endpoints: &[T; N]) -> Self {
        endpoints.as_slice().into()
    }
}

impl<T: AsRef<str>> From<&[T]> for ConnectOptions {
    fn from(endpoints: &[T]) -> Self {
        Self::new().with_endpoints(endpoints)
    }
}

impl<T: AsRef<str>> From<Vec<T>> for ConnectOptions {
    fn from(endpoints: Vec<T>) -> Self {
        Self::new().with_endpoints(endpoints)
    }
}

impl<T: AsRef<str>> From<&Vec<T>> for ConnectOptions {
    fn from(endpoints: &Vec<T>) -> Self {
        endpoints.as_slice().into()
    }
}

/// Which endpoint is asked while several are healthy.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub enum EndpointChoice {
    /// The first that is healthy, in the order in which they were given: for members of which one is near.
    Listed,
    /// One at random, and the same one for as long as it is healthy, so that many clients are spread over the members.
    #[default]
    Random,
    /// Each in turn, as `connect_all` of eetcd.
    RoundRobin,
}
