//! Asking a member over plain HTTP whether it serves: none of the code under test is needed for that.

use std::io;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

/// A member that has no leader yet answers late or not at all.
const PATIENCE: Duration = Duration::from_secs(1);

/// Whether the member on this port says that it is healthy: it has a leader and can commit.
pub(super) async fn is_healthy(port: u16) -> bool {
    match timeout(PATIENCE, ask(port)).await {
        Ok(Ok(answer)) => answer.contains(r#""health":"true""#),
        Ok(Err(_)) | Err(_) => false,
    }
}

async fn ask(port: u16) -> io::Result<String> {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).await?;
    stream
        .write_all(b"GET /health HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        .await?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await?;
    Ok(answer)
}
