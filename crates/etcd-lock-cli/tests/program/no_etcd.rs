//! Nobody answers, or somebody who is no etcd.

use nix::sys::signal::Signal;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpListener;

use crate::program::{Program, end_of, etcd_lock};

#[tokio::test]
async fn nobody_listening_ends_with_69() {
    let endpoint = free_endpoint().await;
    for command in [
        &["run", "name", "true"][..],
        &["lock", "name"],
        &["unlock", "name/1f"],
    ] {
        let args = ["--endpoints", &endpoint, "--command-timeout", "2s"];
        let end = end_of(args.iter().chain(command)).await;
        end.with(69).saying(&endpoint);
    }
}

#[tokio::test]
async fn a_silent_listener_ends_with_69() {
    let (silent, endpoint) = listener().await;
    for command in [
        &["run", "name", "true"][..],
        &["lock", "name"],
        &["unlock", "name/1f"],
    ] {
        let args = ["--endpoints", &endpoint, "--command-timeout", "300ms"];
        let end = end_of(args.iter().chain(command)).await;
        end.with(69).saying("no answer").saying(&endpoint);
    }
    drop(silent);
}

#[tokio::test]
async fn another_kind_of_server_ends_with_69() {
    let (listener, endpoint) = listener().await;
    let server = tokio::spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            stream
                .write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n")
                .await
                .unwrap();
        }
    });
    let args = [
        "--endpoints",
        &endpoint,
        "--command-timeout",
        "2s",
        "run",
        "name",
        "true",
    ];
    end_of(args).await.with(69).saying(&endpoint);
    server.abort();
}

/// Nobody has to wait for a timeout to get rid of it.
#[tokio::test]
async fn a_signal_ends_the_search_for_an_etcd() {
    for (signal, status) in [(Signal::SIGINT, 130), (Signal::SIGTERM, 143)] {
        let (listener, endpoint) = listener().await;
        let mut command = etcd_lock();
        command.args(["--endpoints", &endpoint, "--command-timeout", "1h"]);
        command.args(["run", "name", "true"]);
        let program = Program::start(command);
        // It has begun when it connects.
        let (_stream, _) = listener.accept().await.unwrap();
        program.signal(signal);
        program.end().await.with(status);
    }
}

/// `ETCD_LOCK_ENDPOINTS` before `ETCDCTL_ENDPOINTS`, and a flag before both.
#[tokio::test]
async fn endpoints_come_from_flag_or_environment() {
    let (ours, etcdctls) = (free_endpoint().await, free_endpoint().await);
    let start = |ours: &str, flag: &[&str]| {
        let mut command = etcd_lock();
        command
            .env("ETCD_LOCK_ENDPOINTS", ours)
            .env("ETCDCTL_ENDPOINTS", &etcdctls);
        command
            .args(["--command-timeout", "500ms"])
            .args(flag)
            .args(["lock", "name"]);
        Program::start(command)
    };
    start(&ours, &[]).end().await.with(69).saying(&ours);
    start("", &[]).end().await.with(69).saying(&etcdctls);
    start(&ours, &["--embedded"]).end().await.with(0);
    start(&ours, &["--endpoints", "127.0.0.1:1"])
        .end()
        .await
        .with(69)
        .saying("127.0.0.1:1");
}

async fn listener() -> (TcpListener, String) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint = format!("http://{}", listener.local_addr().unwrap());
    (listener, endpoint)
}

async fn free_endpoint() -> String {
    listener().await.1
}
