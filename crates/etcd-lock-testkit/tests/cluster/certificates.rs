//! Certificates are replaced while clients run.

use std::fs;
use std::time::Duration;

use etcd_lock_grpc::{ConnectOptions, TlsOptions};
use etcd_lock_testkit::certificates::{Authority, Pair};
use tokio::time::{Instant, sleep};

use crate::support::write_until_success;
use crate::{Report, Stage, Version};

scenarios! {
    certificates_rotated_while_a_lock_is_held_new_connections_use_them_and_the_session_lives_on
}

/// Users of etcd, by the common names of certificates alone: their passwords are never used.
const OLD: &str = "old";
const NEW: &str = "new";

async fn certificates_rotated_while_a_lock_is_held_new_connections_use_them_and_the_session_lives_on(
    version: Version,
) {
    let report = Report::of("certificates of clients and servers rotated", version);
    let (authority, next) = (Authority::new(), Authority::new());
    let (server, identity) = (authority.server(), authority.client(OLD));
    let mut stage = Stage::with(version.setup().tls(&authority, &server)).await;
    let users = [(OLD, "unused"), (NEW, "unused")];
    stage.etcd.enable_auth(&users, "a").await;
    let tls = TlsOptions::new()
        .with_ca_file(authority.ca_file())
        .with_identity_files(identity.certificate_file(), identity.key_file());
    stage.options = ConnectOptions::new().with_tls(tls);
    let holder = stage.caller().await;
    let (session, mutex) = holder.mutex("a").await;
    let guard = mutex.lock().await.unwrap();

    // Members go on trusting client certificates of the first authority: they read only their own pair again.
    fs::write(authority.ca_file(), authority.ca() + &next.ca()).unwrap();
    replace(&identity, &authority.client(NEW));
    replace(&server, &next.server());
    holder.cut();
    let recovery = write_until_success(&guard, Instant::now()).await;
    // The control: under the old name nothing is allowed any more.
    stage.etcd.etcdctl(0, &["user", "delete", OLD]).await;
    // Longer than a session of 10 s lives that isn't kept alive.
    sleep(Duration::from_secs(12)).await;

    assert!(guard.is_held());
    guard.unlock().await.unwrap();
    drop(mutex.lock().await.unwrap());
    session.close().await.unwrap();
    stage.has_entries("a", 0).await;
    report.recovered("held all the time; the next write succeeded", recovery);
}

/// Puts one pair into the files of another.
fn replace(files: &Pair, with: &Pair) {
    fs::write(files.certificate_file(), with.certificate()).unwrap();
    fs::write(files.key_file(), with.key()).unwrap();
}
