//! How bytes get to an endpoint: over TCP, over a Unix socket, or as a user's own connector has it.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use socket2::{SockRef, TcpKeepalive};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, lookup_host};
use tokio::time::timeout;
use tower::util::BoxCloneSyncService;
use tower::{BoxError, Service, ServiceExt};

/// When TCP itself begins to ask whether the other side of an idle connection is still there. etcd takes HTTP/2 pings
/// without a call under way for an attack, so an idle connection has only this.
const TCP_KEEP_ALIVE: Duration = Duration::from_secs(30);

/// Where a connection goes.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub enum Address {
    /// A host by its name or IP address (an IPv6 address without brackets), and a port.
    #[non_exhaustive]
    Tcp {
        /// The host.
        host: String,
        /// The port.
        port: u16,
    },
    /// The path of a Unix socket.
    Unix(PathBuf),
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp { host, port } if host.contains(':') => write!(f, "[{host}]:{port}"),
            Self::Tcp { host, port } => write!(f, "{host}:{port}"),
            Self::Unix(path) => path.display().fmt(f),
        }
    }
}

/// A connection's bytes, over any carrier.
pub(crate) trait Io: AsyncRead + AsyncWrite + Send + Unpin + 'static {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin + 'static> Io for T {}

/// Bytes whose carrier is forgotten.
pub(crate) type BoxIo = Box<dyn Io>;

/// Makes connections.
#[derive(Clone, Debug)]
pub(crate) struct Connector(Kind);

#[derive(Clone, Debug)]
enum Kind {
    Own { silence: Duration },
    Given(BoxCloneSyncService<Address, BoxIo, BoxError>),
}

impl Connector {
    /// Our own connector. A TCP connection ends when data that was sent isn't acknowledged for `silence`.
    pub(crate) const fn own(silence: Duration) -> Self {
        Self(Kind::Own { silence })
    }

    /// A user's own connector.
    pub(crate) fn given<C>(connector: C) -> Self
    where
        C: Service<Address> + Clone + Send + Sync + 'static,
        C::Response: AsyncRead + AsyncWrite + Send + Unpin + 'static,
        C::Error: Into<BoxError>,
        C::Future: Send + 'static,
    {
        let boxed = connector
            .map_response(|io| Box::new(io) as BoxIo)
            .map_err(Into::into);
        Self(Kind::Given(BoxCloneSyncService::new(boxed)))
    }

    /// Makes one connection. Names are looked up each time.
    ///
    /// # Errors
    /// An error of the operating system or of the user's connector.
    ///
    /// # Cancel safety
    /// Nothing is left behind.
    pub(crate) async fn connect(
        &self,
        address: &Address,
        bound: Duration,
    ) -> Result<BoxIo, BoxError> {
        match (&self.0, address) {
            (Kind::Given(connector), _) => connector.clone().oneshot(address.clone()).await,
            (Kind::Own { silence }, Address::Tcp { host, port }) => {
                let stream = tcp(host, *port, bound).await?;
                tune(&stream, *silence)?;
                Ok(Box::new(stream))
            }
            (Kind::Own { .. }, Address::Unix(path)) => Ok(unix(path).await?),
        }
    }
}

/// Tries the addresses of a host in turn. Each has its share of the time, so that one that swallows packets leaves some
/// to the next.
async fn tcp(host: &str, port: u16, bound: Duration) -> io::Result<TcpStream> {
    let addresses: Vec<_> = lookup_host((host, port)).await?.collect();
    let share = bound / u32::try_from(addresses.len().max(1)).unwrap_or(u32::MAX);
    let mut failed = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
    for address in addresses {
        match timeout(share, TcpStream::connect(address)).await {
            Ok(Ok(stream)) => return Ok(stream),
            Ok(Err(error)) => failed = error,
            Err(elapsed) => failed = io::Error::new(io::ErrorKind::TimedOut, elapsed),
        }
    }
    Err(failed)
}

#[cfg(unix)]
async fn unix(path: &Path) -> io::Result<BoxIo> {
    Ok(Box::new(tokio::net::UnixStream::connect(path).await?))
}

#[cfg(not(unix))]
async fn unix(_: &Path) -> io::Result<BoxIo> {
    let text = "this system has no Unix sockets";
    Err(io::Error::new(io::ErrorKind::Unsupported, text))
}

fn tune(stream: &TcpStream, silence: Duration) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let socket = SockRef::from(stream);
    socket.set_tcp_keepalive(&TcpKeepalive::new().with_time(TCP_KEEP_ALIVE))?;
    #[cfg(any(target_os = "android", target_os = "fuchsia", target_os = "linux"))]
    socket.set_tcp_user_timeout(Some(silence))?;
    #[cfg(not(any(target_os = "android", target_os = "fuchsia", target_os = "linux")))]
    let _ = silence;
    Ok(())
}
