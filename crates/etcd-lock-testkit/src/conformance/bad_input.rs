//! Requests that can't be right: each gets an error that lets a person fix it, and the client goes on working.

use std::time::Duration;

use etcd_lock_core::{Client, Context, Error, ErrorKind, LeaseId, Registry, lease, new};
use tokio::time::timeout;

use crate::{Contender, TestContext};

/// A lock without a name.
pub async fn empty_name_is_refused(test: &TestContext) {
    let contender = test.contender().await;
    lock_is_refused(
        &contender,
        contender.context(&test.name("x")).with_name(""),
        "empty",
    )
    .await;
}

/// A name of 2 MiB, more than any request to etcd may have.
pub async fn name_of_2_mib_is_refused(test: &TestContext) {
    let contender = test.contender().await;
    let long = contender
        .context(&test.name("x"))
        .with_name(vec![b'x'; 2 << 20]);
    lock_is_refused(&contender, long, "2097152").await;
}

/// Lease 0: etcd would grant a hidden one that ends by itself.
pub async fn lease_zero_is_refused(test: &TestContext) {
    let contender = test.contender().await;
    lock_is_refused(
        &contender,
        contender.context(&test.name("x")).with_lease(0),
        "lease",
    )
    .await;
}

/// A lease below zero, of which etcd would make a key like any other.
pub async fn negative_lease_is_refused(test: &TestContext) {
    let contender = test.contender().await;
    lock_is_refused(
        &contender,
        contender.context(&test.name("x")).with_lease(-1),
        "-1",
    )
    .await;
}

/// A request that lacks what it needs says what to add.
pub async fn missing_parts_are_named(test: &TestContext) {
    let contender = test.contender().await;
    lock_is_refused(
        &contender,
        new(contender.client()).with_lease(1),
        "with_name",
    )
    .await;
    lock_is_refused(
        &contender,
        new(contender.client()).with_name("x"),
        "with_lease",
    )
    .await;
    let error = new(contender.client()).unlock().await.unwrap_err();
    is_invalid(&error, "with_key");
}

/// A key that is empty.
pub async fn empty_key_is_refused(test: &TestContext) {
    let contender = test.contender().await;
    let error = etcd_lock_core::unlock(contender.client(), "")
        .await
        .unwrap_err();
    is_invalid(&error, "empty");
    is_usable(&contender).await;
}

/// A timeout of zero can't see any answer.
pub async fn zero_timeout_is_refused(test: &TestContext) {
    let contender = test.contender().await;
    let hasty = |ctx: Context| ctx.with_timeout(Duration::ZERO);
    lock_is_refused(
        &contender,
        hasty(contender.context(&test.name("x"))),
        "zero",
    )
    .await;
    let unlock = hasty(new(contender.client())).with_key("x/1");
    is_invalid(&unlock.unlock().await.unwrap_err(), "zero");
    let grant = lease::grant(hasty(new(contender.client())), Duration::from_secs(9));
    is_invalid(&grant.await.unwrap_err(), "zero");
}

/// A connection name that nobody opened.
pub async fn unknown_connection_is_refused(test: &TestContext) {
    let lease = test.contender().await.lease();
    let ctx = new("never opened").with_name("x").with_lease(lease);
    let error = ctx.lock().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotOpen, "{error:?}");
    assert!(error.to_string().contains("never opened"), "{error}");
}

/// A connection name is opened once: who has it keeps it, and it works until it is closed.
pub async fn connection_name_is_opened_once(test: &TestContext) {
    let connection = format!("conformance-{}", fastrand::u64(..));
    let (client, registry) = (test.client().await, Registry::global());
    registry.open(&connection, client.clone()).unwrap();

    let error = registry.open(&connection, test.client().await).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::AlreadyOpen, "{error:?}");
    assert!(error.to_string().contains(&connection), "{error}");
    lock_and_unlock(
        new(connection.as_str()),
        test.contender_on(&client).await.lease(),
    )
    .await;

    registry.close(&connection).unwrap();
    let error = new(connection.as_str()).client().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotOpen, "{error:?}");
}

/// Times to live that no lease can have.
pub async fn impossible_times_to_live_are_refused(test: &TestContext) {
    let client = test.client().await;
    for ttl in [Duration::ZERO, Duration::MAX] {
        let error = lease::grant(&client, ttl).await.unwrap_err();
        is_invalid(&error, "time to live");
    }
    is_usable(&test.contender_on(&client).await).await;
}

async fn lock_is_refused(contender: &Contender, ctx: Context, hint: &str) {
    is_invalid(&ctx.lock().await.unwrap_err(), hint);
    is_usable(contender).await;
}

fn is_invalid(error: &Error, hint: &str) {
    assert_eq!(error.kind(), ErrorKind::InvalidArgument, "{error:?}");
    assert!(error.to_string().contains(hint), "{hint:?} not in: {error}");
    assert!(!error.is_outcome_unknown(), "{error:?}");
}

async fn is_usable(contender: &Contender) {
    let client: &Client = contender.client();
    lock_and_unlock(new(client), contender.lease()).await;
}

async fn lock_and_unlock(ctx: Context, lease: LeaseId) {
    let works = async {
        let held = etcd_lock_core::lock_with(&ctx, "still usable", lease).await;
        let key = held.unwrap().key;
        etcd_lock_core::unlock(&ctx, key.as_bytes().clone())
            .await
            .unwrap();
    };
    timeout(Duration::from_secs(9), works).await.unwrap();
}
