//! Bytes from the other side of a connection, once it has said that it speaks HTTP/2 and a request was sent to it.

use std::convert::Infallible;
use std::time::Duration;

use etcd_lock_core::Transport;
use etcd_lock_grpc::{ConnectOptions, GrpcTransport};
use tokio::io::{AsyncWriteExt, DuplexStream, duplex};
use tokio::time::sleep;

use super::calls::{is_by_a_server, options, read, run, watched, write};

/// Settings that say nothing, and the consent to those of the client.
const GREETING: [u8; 18] = [0, 0, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 4, 1, 0, 0, 0, 0];

pub(crate) fn frames(bytes: &[u8]) {
    run(asked(bytes))
}

async fn asked(bytes: &[u8]) {
    if let Err(error) = transport(bytes).range(read(), options()).await {
        is_by_a_server(&error, true);
    }
    if let Err(error) = transport(bytes).txn(write(), options()).await {
        is_by_a_server(&error, false);
    }
    for told in watched(&transport(bytes)).await {
        if let Err(error) = told {
            is_by_a_server(&error, true);
        }
    }
}

fn transport(bytes: &[u8]) -> GrpcTransport {
    let bytes = bytes.to_vec();
    let connector = move |_| {
        let (ours, theirs) = duplex(64 * 1024);
        tokio::spawn(serve(theirs, bytes.clone()));
        async { Ok::<_, Infallible>(ours) }
    };
    GrpcTransport::builder(ConnectOptions::new().with_max_attempts(1))
        .connector(tower::service_fn(connector))
        .build()
        .unwrap()
}

/// The clock stands still until the client waits for an answer.
async fn serve(mut client: DuplexStream, bytes: Vec<u8>) {
    let pause = Duration::from_millis(1);
    if client.write_all(&GREETING).await.is_ok() {
        sleep(pause).await;
        // A client that has seen enough hangs up.
        let _ = client.write_all(&bytes).await;
        sleep(pause).await;
    }
}
