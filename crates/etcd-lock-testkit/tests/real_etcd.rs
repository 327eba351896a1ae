//! The fixture itself: what it starts answers, and what it started is gone afterwards.

#![allow(clippy::unwrap_used, reason = "it is test code, helpers included")]

use std::future::pending;
use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use etcd_lock_testkit::RealEtcd;
use etcd_lock_testkit::test_context::PATIENCE;
use tokio::net::TcpStream;
use tokio::time::timeout;

#[tokio::test]
async fn each_has_ports_of_its_own_on_which_nothing_listens_after_it_is_dropped() {
    let mut first = RealEtcd::start().await;
    let mut second = RealEtcd::start().await;
    assert_ne!(first.endpoints(), second.endpoints());
    assert!(first.members()[0].is_healthy().await);
    assert!(second.members()[0].is_healthy().await);
    let endpoint = second.endpoints().remove(0);
    let address = endpoint.strip_prefix("http://").unwrap().to_owned();
    assert!(TcpStream::connect(&address).await.is_ok());

    drop(second);

    assert!(TcpStream::connect(&address).await.is_err());
}

#[tokio::test]
async fn a_member_says_nothing_while_it_is_paused_or_killed_and_comes_back_on_the_same_port() {
    let mut etcd = RealEtcd::start().await;
    let endpoints = etcd.endpoints();
    let member = &mut etcd.members()[0];
    member.pause();
    assert!(!member.is_healthy().await);
    member.resume();
    assert!(member.is_healthy().await);

    member.kill();
    assert!(!member.is_healthy().await);
    member.restart().await;
    assert!(member.is_healthy().await);
    assert_eq!(etcd.endpoints(), endpoints);
}

#[tokio::test]
async fn a_cluster_goes_on_without_one_of_its_members() {
    let mut etcd = RealEtcd::cluster(3).await;
    assert_eq!(etcd.endpoints().len(), 3);
    let members = etcd.members();
    members[0].kill();

    // An election may be under way, which takes a second or two.
    for member in &members[1..] {
        eventually(async || member.is_healthy().await).await;
    }

    members[0].restart().await;
    assert!(members[0].is_healthy().await);
}

/// A test process that is killed runs no `Drop`: it leaves no etcd behind either, and the next test removes its data.
#[tokio::test]
async fn a_killed_process_leaves_nothing_behind() {
    if std::env::var_os(VICTIM).is_some() {
        let etcd = RealEtcd::start().await;
        println!("\n{}\n{}", etcd.endpoints()[0], etcd.dir().display());
        return pending().await;
    }
    let (mut victim, address, data) = victim();
    assert!(TcpStream::connect(&address).await.is_ok());

    victim.kill().unwrap();
    victim.wait().unwrap();
    eventually(async || TcpStream::connect(&address).await.is_err()).await;
    assert!(data.exists());

    RealEtcd::start().await;
    assert!(!data.exists());
}

async fn eventually(mut is_so: impl AsyncFnMut() -> bool) {
    let watching = async { while !is_so().await {} };
    timeout(PATIENCE, watching).await.unwrap();
}

const VICTIM: &str = "ETCD_LOCK_TESTKIT_VICTIM";

/// Another process of this program in the middle of the test above, where its etcd listens, and has its data.
fn victim() -> (Child, String, PathBuf) {
    let mut victim = Command::new(std::env::current_exe().unwrap())
        .args([
            "--exact",
            "a_killed_process_leaves_nothing_behind",
            "--nocapture",
        ])
        .env(VICTIM, "1")
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let output = BufReader::new(victim.stdout.take().unwrap());
    let mut lines = output.lines().map(Result::unwrap);
    let address = lines
        .find_map(|line| Some(line.strip_prefix("http://")?.to_owned()))
        .unwrap();
    let data = lines.next().unwrap().into();
    (victim, address, data)
}
