//! Authentication: tokens end, and it is turned on while clients run.

use std::time::Duration;

use etcd_lock_core::ErrorKind;
use etcd_lock_core::kv::PutRequest;
use etcd_lock_grpc::{ConnectOptions, TlsOptions};
use etcd_lock_testkit::certificates::Authority;
use tokio::time::{Instant, sleep, timeout};

use crate::support::{PATIENCE, hold_through, write_until_success};
use crate::{Fault, History, Report, Stage, Version};

scenarios! {
    simple_token_ended_during_a_wait_and_a_hold_write_release_and_grant_succeed
    jwt_token_ended_during_a_wait_and_a_hold_write_release_and_grant_succeed
    member_killed_that_knew_the_token_as_used_session_lives_on
    auth_enabled_under_running_clients_the_one_with_a_login_goes_on_and_the_other_is_told
    leader_stopped_with_tls_and_a_login_session_of_10_s_lives_on
}

/// May do all that locks below "a" need.
const WORKER: (&str, &str) = ("worker", "w-secret");

/// The life of a token: several of them pass during a wait.
const TOKEN: Duration = Duration::from_secs(2);

async fn simple_token_ended_during_a_wait_and_a_hold_write_release_and_grant_succeed(
    version: Version,
) {
    let report = Report::of("simple token ended during a wait and a hold", version);
    let stage = guarded(version, &["--auth-token-ttl", "2"]).await;
    outlive_tokens(&stage, report).await;
}

async fn jwt_token_ended_during_a_wait_and_a_hold_write_release_and_grant_succeed(
    version: Version,
) {
    let report = Report::of("JWT ended during a wait and a hold", version);
    let key = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(key.path(), "a key that only members know").unwrap();
    let token = format!(
        "jwt,sign-method=HS256,ttl=2s,priv-key={}",
        key.path().display()
    );
    let stage = guarded(version, &["--auth-token", &token]).await;
    outlive_tokens(&stage, report).await;
}

/// Lets several tokens end while one caller holds the lock and another waits for it.
async fn outlive_tokens(stage: &Stage, report: Report) {
    let (holder, waiter) = (stage.caller().await, stage.caller().await);
    let (holding, first) = holder.mutex("a").await;
    let (waiting, second) = waiter.mutex("a").await;
    let history = History::default();
    let held = history.granted(first.lock().await.unwrap());
    let wait = tokio::spawn(async move { second.lock().await });
    stage.has_entries("a", 2).await;
    sleep(5 * TOKEN).await;

    let began = Instant::now();
    let write = PutRequest::new("a-written", "x");
    let written = held.guard.fenced_txn().and_then(write).commit().await;
    assert!(written.unwrap().succeeded);
    held.unlock().await.unwrap();
    let granted = timeout(PATIENCE, wait).await.unwrap().unwrap().unwrap();
    let recovery = began.elapsed();

    history.granted(granted).unlock().await.unwrap();
    history.check();
    assert!(holding.is_alive() && waiting.is_alive());
    stage.has_entries("a", 0).await;
    report.recovered("wrote, released, and granted in turn", recovery);
}

async fn member_killed_that_knew_the_token_as_used_session_lives_on(version: Version) {
    let report = Report::of("member killed after the others let the token end", version);
    let mut stage = guarded(version, &["--auth-token-ttl", "2"]).await;
    let fault = Fault::Kill(stage.follower().await);
    let holder = stage.caller_on(fault.member()).await;
    let (session, mutex) = holder.mutex("a").await;
    let guard = mutex.lock().await.unwrap();
    // Only the member that a token is used on keeps it.
    let used = Instant::now();
    while used.elapsed() < 2 * TOKEN {
        write_until_success(&guard, Instant::now()).await;
        sleep(TOKEN / 10).await;
    }

    stage.begin(fault);
    let recovery = write_until_success(&guard, Instant::now()).await;

    assert!(guard.is_held());
    guard.unlock().await.unwrap();
    session.close().await.unwrap();
    stage.has_entries("a", 0).await;
    report.recovered("logged in again; the next write succeeded", recovery);
}

async fn auth_enabled_under_running_clients_the_one_with_a_login_goes_on_and_the_other_is_told(
    version: Version,
) {
    let report = Report::of("auth enabled under running clients", version);
    let mut stage = Stage::start(version).await;
    let stranger = stage.caller().await;
    stage.options = ConnectOptions::new().with_login(WORKER.0, WORKER.1);
    let worker = stage.caller().await;
    let (session, mutex) = worker.mutex("a").await;
    let (_strange, other) = stranger.mutex("a-other").await;
    let guard = mutex.lock().await.unwrap();
    let strange = other.lock().await.unwrap();

    stage.etcd.enable_auth(&[WORKER], "a").await;
    let recovery = write_until_success(&guard, Instant::now()).await;

    let write = PutRequest::new("a-written", "x");
    let refused = strange.fenced_txn().and_then(write).commit().await;
    let kind = refused.unwrap_err().kind();
    assert_eq!(kind, ErrorKind::Unauthenticated);
    // Longer than the lease lives that isn't renewed.
    sleep(Duration::from_secs(12)).await;
    assert!(guard.is_held());
    guard.unlock().await.unwrap();
    drop(mutex.lock().await.unwrap());
    session.close().await.unwrap();
    stage.has_entries("a", 0).await;
    let callers =
        "with a login: held all the time, the next write succeeded; without: unauthenticated";
    report.recovered(callers, recovery);
}

/// Connecting takes a handshake and a login: neither may wait for the member that never answers.
async fn leader_stopped_with_tls_and_a_login_session_of_10_s_lives_on(version: Version) {
    let report = Report::of("leader stopped, with TLS and a login", version);
    let authority = Authority::new();
    let (server, identity) = (authority.server(), authority.client(WORKER.0));
    let setup = version.setup().tls(&authority, &server);
    let mut stage = guard(Stage::with(setup).await).await;
    let tls = TlsOptions::new()
        .with_ca_file(authority.ca_file())
        .with_identity_files(identity.certificate_file(), identity.key_file());
    stage.options = stage.options.with_tls(tls);
    let fault = Fault::Stop(stage.leader().await);
    hold_through(&mut stage, fault, Duration::from_secs(12), report).await;
}

/// A cluster with authentication on, for callers that log in.
async fn guarded(version: Version, flags: &[&str]) -> Stage {
    guard(Stage::with(version.setup().flags(flags)).await).await
}

/// Turns authentication on, for callers that log in.
async fn guard(mut stage: Stage) -> Stage {
    stage.etcd.enable_auth(&[WORKER], "a").await;
    stage.options = ConnectOptions::new().with_login(WORKER.0, WORKER.1);
    stage
}
