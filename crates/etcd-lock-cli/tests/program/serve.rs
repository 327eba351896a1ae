//! `etcd-lock serve`.

use std::time::Duration;

use nix::sys::signal::Signal;
use tokio::time::timeout;

use crate::etcd::Etcd;
use crate::program::{Program, end_of, etcd_lock};

/// How long it is waited whether something comes.
const A_MOMENT: Duration = Duration::from_millis(100);

#[tokio::test]
async fn a_signal_ends_it_also_with_a_watch_open() {
    for signal in [Signal::SIGTERM, Signal::SIGINT] {
        let etcd = Etcd::served().await;
        let mut watch = Program::start(etcd.etcdctl(["watch", "some"]));
        let _holder = etcd.hold("serve", &[]).await;
        let _waiter = etcd.start(["run", "serve", "true"]);
        etcd.queue_has("serve", 2).await;
        until_open(&etcd, &mut watch).await;

        let end = etcd.stop(signal).await.with(0);
        assert_eq!(end.stdout, "");
    }
}

/// It waits for clients to take their last replies, but not for ever.
#[tokio::test]
async fn a_signal_ends_it_also_with_a_client_that_hangs() {
    for signal in [Signal::SIGTERM, Signal::SIGINT] {
        let etcd = Etcd::served().await;
        let mut watch = Program::start(etcd.etcdctl(["watch", "some"]));
        until_open(&etcd, &mut watch).await;
        watch.signal(Signal::SIGSTOP);

        let end = etcd.stop(signal).await.with(0);

        assert_eq!(end.stdout, "");
    }
}

/// A watch of `some` is open when it has shown something. The first put may come before that.
async fn until_open(etcd: &Etcd, watch: &mut Program) {
    let mut shown = std::pin::pin!(watch.line());
    while timeout(A_MOMENT, &mut shown).await.is_err() {
        let put = Program::start(etcd.etcdctl(["put", "some", "value"]));
        put.end().await.with(0);
    }
}

#[tokio::test]
async fn nobody_has_to_listen() {
    let (reader, deaf) = std::io::pipe().unwrap();
    drop(reader);
    let mut command = etcd_lock();
    command.args(["serve", "--listen", "127.0.0.1:0"]);
    command.stdout(deaf.try_clone().unwrap()).stderr(deaf);
    let mut server = command.kill_on_drop(true).spawn().unwrap();
    let ended = timeout(Duration::from_millis(500), server.wait()).await;
    assert!(ended.is_err(), "{ended:?}");
}

#[tokio::test]
async fn an_address_that_is_taken_ends_with_71() {
    let etcd = Etcd::served().await;
    let address = etcd.endpoint().replace("http://", "");
    let end = end_of(["serve", "--listen", &address]).await;
    end.with(71).saying(&address);
}

#[tokio::test]
async fn an_address_that_is_none_ends_with_71() {
    for address in ["", "127.0.0.1", "127.0.0.1:99999"] {
        let end = end_of(["serve", "--listen", address]).await;
        end.with(71).saying("can't listen");
    }
}
