//! A TCP proxy in front of a member: it delays and holds bytes, and cuts and refuses connections.
//!
//! It doesn't look into the bytes, so TLS passes, too. A proxy lives for as long as its value, on the runtime that it
//! was started on.

use std::future::pending;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, watch};
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::{Instant, sleep_until};

use crate::ReservedPort;

/// A port that leads to another one, and the [`Link`] that says how.
#[derive(Debug)]
pub struct Proxy {
    port: u16,
    scheme: String,
    link: Link,
    acceptor: JoinHandle<()>,
}

impl Proxy {
    /// Starts a proxy in front of an endpoint, which is a URL with a port.
    ///
    /// # Panics
    /// When the endpoint has no port, or there is none left on this machine.
    pub async fn to(endpoint: &str) -> Self {
        let (scheme, address) = endpoint.split_once("://").unwrap();
        let target = address.parse().unwrap();
        let link = Link::new();
        let chosen = link.clone();
        let choose = move |_| chosen.clone();
        let (port, acceptor) = serve(target, link.clone(), choose).await;
        Self {
            port,
            scheme: scheme.to_owned(),
            link,
            acceptor,
        }
    }

    /// The URL of the proxy.
    #[must_use]
    pub fn endpoint(&self) -> String {
        format!("{}://127.0.0.1:{}", self.scheme, self.port)
    }

    /// The link that its connections pass.
    #[must_use]
    pub const fn link(&self) -> &Link {
        &self.link
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.acceptor.abort();
    }
}

/// A link between two programs, with its faults. Clones are one link.
#[derive(Clone, Debug)]
pub struct Link {
    state: Arc<watch::Sender<State>>,
    requested: Arc<AtomicU64>,
}

#[derive(Clone, Copy, Debug)]
struct State {
    requests: Flow,
    replies: Flow,
    is_refusing: bool,
    /// Grows with each cut: a connection ends when it has grown since the connection began.
    cuts: u64,
}

/// The treatment of the bytes of one direction.
#[derive(Clone, Copy, Debug)]
enum Flow {
    Pass,
    Delay(Duration),
    Hold,
}

impl Link {
    pub(super) fn new() -> Self {
        let state = State {
            requests: Flow::Pass,
            replies: Flow::Pass,
            is_refusing: false,
            cuts: 0,
        };
        Self {
            state: Arc::new(watch::Sender::new(state)),
            requested: Arc::default(),
        }
    }

    /// Everything passes at once, held bytes first.
    pub fn pass(&self) {
        self.change(|state| {
            state.requests = Flow::Pass;
            state.replies = Flow::Pass;
            state.is_refusing = false;
        });
    }

    /// Bytes take this much longer, in each direction.
    pub fn delay(&self, by: Duration) {
        self.change(|state| {
            state.requests = Flow::Delay(by);
            state.replies = Flow::Delay(by);
        });
    }

    /// Nothing passes in either direction, and nobody is told: a black hole. Connections are still accepted.
    pub fn hold(&self) {
        self.change(|state| {
            state.requests = Flow::Hold;
            state.replies = Flow::Hold;
        });
    }

    /// Requests pass and replies don't.
    pub fn hold_replies(&self) {
        self.change(|state| state.replies = Flow::Hold);
    }

    /// Replies pass and requests don't.
    pub fn hold_requests(&self) {
        self.change(|state| state.requests = Flow::Hold);
    }

    /// Resets all connections. New ones are accepted.
    pub fn cut(&self) {
        self.change(|state| state.cuts += 1);
    }

    /// Resets all connections and refuses new ones, until [`pass`](Self::pass).
    pub fn refuse(&self) {
        self.change(|state| {
            state.cuts += 1;
            state.is_refusing = true;
        });
    }

    /// How many bytes were sent through it towards the server so far.
    #[must_use]
    pub fn requested(&self) -> u64 {
        self.requested.load(Relaxed)
    }

    fn change(&self, change: impl FnOnce(&mut State)) {
        self.state.send_modify(change);
    }

    /// Returns once it refuses, or once it doesn't.
    async fn refusing(&self, is_refusing: bool) {
        let mut state = self.state.subscribe();
        let reached = state.wait_for(|state| state.is_refusing == is_refusing);
        // The link itself keeps the sender.
        let _ = reached.await;
    }
}

/// Listens on a free port and leads each connection to the target, over the link that is chosen by where it comes from.
/// `gate` refuses all of them.
pub(super) async fn serve(
    target: SocketAddr,
    gate: Link,
    choose: impl Fn(SocketAddr) -> Link + Send + Sync + 'static,
) -> (u16, JoinHandle<()>) {
    let port = ReservedPort::new();
    let number = port.number();
    let mut listener = Some(TcpListener::bind(port.address()).await.unwrap());
    let acceptor = tokio::spawn(async move {
        // Connections end with the acceptor.
        let mut connections = JoinSet::new();
        loop {
            // A port is refused by not listening on it.
            let here = match listener.take() {
                Some(here) => here,
                None => TcpListener::bind(port.address()).await.unwrap(),
            };
            tokio::select! {
                () = gate.refusing(true) => {
                    drop(here);
                    gate.refusing(false).await;
                }
                () = accept(&here, target, &choose, &mut connections) => {}
            }
        }
    });
    (number, acceptor)
}

async fn accept(
    listener: &TcpListener,
    target: SocketAddr,
    choose: &impl Fn(SocketAddr) -> Link,
    connections: &mut JoinSet<()>,
) {
    loop {
        if let Ok((client, source)) = listener.accept().await {
            connections.spawn(carry(client, target, choose(source)));
        }
        while connections.try_join_next().is_some() {}
    }
}

/// Carries a connection until both sides ended it. Where one of them failed or the link is cut, both see a reset: neither may
/// take half of an answer for the whole.
async fn carry(mut client: TcpStream, target: SocketAddr, link: Link) {
    let mut state = link.state.subscribe();
    let cuts = state.borrow_and_update().cuts;
    let cut = async {
        if state.wait_for(|state| state.cuts != cuts).await.is_err() {
            pending().await
        }
    };
    let mut server = TcpStream::connect(target).await.ok();
    let is_whole = match &mut server {
        Some(server) => tokio::select! {
            // Bytes that were held when the link was cut must not slip through as it passes again.
            biased;
            () = cut => false,
            carried = exchange(&mut client, server, &link) => carried.is_ok(),
        },
        None => false,
    };
    if !is_whole {
        for stream in server.iter().chain([&client]) {
            // It fails only where the connection is gone already.
            let _ = stream.set_zero_linger();
        }
    }
}

async fn exchange(client: &mut TcpStream, server: &mut TcpStream, link: &Link) -> io::Result<()> {
    client.set_nodelay(true)?;
    server.set_nodelay(true)?;
    let (from_client, to_client) = client.split();
    let (from_server, to_server) = server.split();
    tokio::try_join!(
        pump(from_client, to_server, link, |state| state.requests, true),
        pump(from_server, to_client, link, |state| state.replies, false),
    )?;
    Ok(())
}

/// Carries one direction to its end. Bytes wait without holding up those that arrive after them.
async fn pump(
    mut from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin,
    link: &Link,
    flow: fn(&State) -> Flow,
    is_request: bool,
) -> io::Result<()> {
    let (sender, mut arrived) = mpsc::channel(64);
    let read = async move {
        let mut buffer = vec![0; 16 * 1024];
        loop {
            let length = from.read(&mut buffer).await?;
            if length == 0 {
                return Ok(());
            }
            if is_request {
                link.requested.fetch_add(length as u64, Relaxed);
            }
            let chunk = (Instant::now(), buffer[..length].to_vec());
            if sender.send(chunk).await.is_err() {
                return Ok(());
            }
        }
    };
    let write = async {
        let mut state = link.state.subscribe();
        while let Some((at, chunk)) = arrived.recv().await {
            let_through(at, &mut state, flow).await;
            to.write_all(&chunk).await?;
        }
        to.shutdown().await
    };
    tokio::try_join!(read, write).map(|_| ())
}

/// Waits for as long as the link holds or delays bytes that arrived at an instant.
async fn let_through(at: Instant, state: &mut watch::Receiver<State>, flow: fn(&State) -> Flow) {
    loop {
        let now = flow(&state.borrow_and_update());
        match now {
            Flow::Pass => return,
            Flow::Delay(by) => return sleep_until(at + by).await,
            Flow::Hold => {
                if state.changed().await.is_err() {
                    return;
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::duplex;
    use tokio::time::sleep;

    use super::*;

    const DELAY: Duration = Duration::from_millis(100);
    const BETWEEN: Duration = Duration::from_millis(10);
    const BYTES: u32 = 7;

    #[tokio::test(start_paused = true)]
    async fn delayed_bytes_arrive_after_the_delay_and_none_waits_for_another() {
        let link = Link::new();
        link.delay(DELAY);
        let ((mut client, from), (to, mut server)) = (duplex(64), duplex(64));
        let began = Instant::now();
        let send = async {
            for _ in 0..BYTES {
                client.write_all(b"x").await.unwrap();
                sleep(BETWEEN).await;
            }
            drop(client);
        };
        let receive = async {
            for index in 0..BYTES {
                server.read_exact(&mut [0]).await.unwrap();
                assert_eq!(began.elapsed(), index * BETWEEN + DELAY);
            }
        };
        let pump = pump(from, to, &link, |state| state.requests, true);
        let ((), (), carried) = tokio::join!(send, receive, pump);
        carried.unwrap();
    }
}
