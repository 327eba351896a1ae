//! Asking a member over plain HTTP how it does: none of the code under test is needed for that.

use std::io;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

/// A member that has no leader yet answers late or not at all.
const PATIENCE: Duration = Duration::from_secs(1);

/// Whether the member on this port says that it is healthy: it has a leader and can commit.
pub(super) async fn is_healthy(port: u16) -> bool {
    match timeout(PATIENCE, ask(port, "health")).await {
        Ok(Ok(answer)) => answer.contains(r#""health":"true""#),
        Ok(Err(_)) | Err(_) => false,
    }
}

/// The metrics of the member on this port.
pub(super) async fn metrics(port: u16) -> io::Result<String> {
    ask(port, "metrics").await
}

/// In the old version of HTTP, which has no chunks.
async fn ask(port: u16, page: &str) -> io::Result<String> {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).await?;
    let request = format!("GET /{page} HTTP/1.0\r\nHost: localhost\r\n\r\n");
    stream.write_all(request.as_bytes()).await?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await?;
    Ok(answer)
}
