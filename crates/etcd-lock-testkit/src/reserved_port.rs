//! Ports that stay a test's own while no server listens on them.

use std::net::SocketAddr;

use tokio::net::TcpSocket;

/// A port of the loopback interface, for servers that a test stops and starts again.
///
/// For as long as this value lives, Linux gives the port to no connection and to no socket that asks for any free port. A
/// listener that names it gets it, if it sets `SO_REUSEADDR`, as those of tokio and of Go do, and no other one listens there.
#[derive(Debug)]
pub struct ReservedPort(TcpSocket);

impl ReservedPort {
    /// Reserves a port that no socket has.
    ///
    /// # Panics
    /// When there is none left on this machine.
    #[must_use]
    #[expect(
        clippy::new_without_default,
        reason = "a default value takes nothing from the machine"
    )]
    pub fn new() -> Self {
        let socket = TcpSocket::new_v4().unwrap();
        // Only a socket that doesn't share its port is given one that no other socket has. It shares it from then on.
        socket.bind(([127, 0, 0, 1], 0).into()).unwrap();
        socket.set_reuseaddr(true).unwrap();
        Self(socket)
    }

    /// Its address, where nothing listens yet.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.0.local_addr().unwrap()
    }

    /// Its number.
    #[must_use]
    pub fn number(&self) -> u16 {
        self.address().port()
    }
}

#[cfg(test)]
mod tests {
    use std::io::ErrorKind;
    use std::net::{TcpListener, TcpStream};

    use super::*;

    #[test]
    fn a_listener_that_names_a_reserved_port_gets_it_as_often_as_it_is_started() {
        let port = ReservedPort::new();
        for _ in 0..3 {
            let listener = TcpListener::bind(port.address()).unwrap();
            let client = TcpStream::connect(port.address()).unwrap();
            let (server, _) = listener.accept().unwrap();
            // Closed by the server first, so that its side of the connection keeps the port for a while.
            drop((server, listener, client));
        }
    }

    #[test]
    fn a_second_listener_on_a_reserved_port_is_refused() {
        let port = ReservedPort::new();
        let _listener = TcpListener::bind(port.address()).unwrap();
        let second = TcpListener::bind(port.address());
        assert_eq!(second.unwrap_err().kind(), ErrorKind::AddrInUse);
    }

    #[tokio::test]
    async fn a_socket_that_shares_no_port_is_refused_a_reserved_one() {
        let port = ReservedPort::new();
        let other = TcpSocket::new_v4().unwrap();
        let bound = other.bind(port.address());
        assert_eq!(bound.unwrap_err().kind(), ErrorKind::AddrInUse);
    }

    #[test]
    fn a_connection_to_a_reserved_port_without_a_listener_is_refused() {
        let port = ReservedPort::new();
        let refused = TcpStream::connect(port.address());
        assert_eq!(refused.unwrap_err().kind(), ErrorKind::ConnectionRefused);
    }
}
