//! Requests that can't be right: each gets an error that lets a person fix it, and the client goes on working.

use std::time::Duration;

use etcd_lock_core::{Client, Context, Error, ErrorKind, LeaseId, Registry, Timeout, lease, new};
use tokio::time::timeout;

use crate::lab::name;
use crate::{Lab, Party};

/// A lock without a name.
pub async fn empty_name_is_refused(lab: &Lab) {
    let party = lab.party().await;
    lock_is_refused(&party, party.context(&name("x")).with_name(""), "empty").await;
}

/// A name of 2 MiB, more than any request to etcd may have.
pub async fn name_of_2_mib_is_refused(lab: &Lab) {
    let party = lab.party().await;
    let long = party.context(&name("x")).with_name(vec![b'x'; 2 << 20]);
    lock_is_refused(&party, long, "2097152").await;
}

/// The longest name that we allow works: what is refused is refused by us, and not by a server's limit.
pub async fn longest_name_works(lab: &Lab) {
    let party = lab.party().await;
    let longest = name(vec![b'x'; etcd_lock_core::LockName::MAX_LEN]);
    let held = party.lock(&longest).await;
    party.unlock(&held).await;
    lab.queue_has(&longest, 0).await;
}

/// Lease 0: etcd would grant a hidden one that ends by itself.
pub async fn lease_zero_is_refused(lab: &Lab) {
    let party = lab.party().await;
    lock_is_refused(&party, party.context(&name("x")).with_lease(0), "lease").await;
}

/// A lease below zero, of which etcd would make a key like any other.
pub async fn negative_lease_is_refused(lab: &Lab) {
    let party = lab.party().await;
    lock_is_refused(&party, party.context(&name("x")).with_lease(-1), "-1").await;
}

/// A request that lacks what it needs says what to add.
pub async fn missing_parts_are_named(lab: &Lab) {
    let party = lab.party().await;
    lock_is_refused(&party, new(party.client()).with_lease(1), "with_name").await;
    lock_is_refused(&party, new(party.client()).with_name("x"), "with_lease").await;
    let error = new(party.client()).unlock().await.unwrap_err();
    is_invalid(&error, "with_key");
}

/// A key that is empty.
pub async fn empty_key_is_refused(lab: &Lab) {
    let party = lab.party().await;
    let error = etcd_lock_core::unlock(party.client(), "")
        .await
        .unwrap_err();
    is_invalid(&error, "empty");
    is_usable(&party).await;
}

/// A timeout of zero can't see any answer.
pub async fn zero_timeout_is_refused(lab: &Lab) {
    let party = lab.party().await;
    let hasty = |ctx: Context| ctx.with_timeout(Duration::ZERO);
    lock_is_refused(&party, hasty(party.context(&name("x"))), "zero").await;
    let unlock = hasty(new(party.client())).with_key("x/1");
    is_invalid(&unlock.unlock().await.unwrap_err(), "zero");
    let grant = lease::grant(hasty(new(party.client())), Duration::from_secs(9));
    is_invalid(&grant.await.unwrap_err(), "zero");
}

/// A timeout that is over before anything can be answered ends, one way or the other, and leaves nothing behind.
pub async fn least_timeout_ends(lab: &Lab) {
    let (party, name) = (lab.party().await, name("least"));
    match party.lock_within(&name, Duration::from_nanos(1)).await {
        Ok(held) => party.unlock(&held).await,
        Err(error) => assert!(error.is_timeout(), "{error:?}"),
    }
    lab.queue_has(&name, 0).await;
    is_usable(&party).await;
    lab.queue_has(&name, 0).await;
}

/// A timeout longer than any clock goes works: it is no overflow.
pub async fn greatest_timeout_works(lab: &Lab) {
    let (party, name) = (lab.party().await, name("greatest"));
    for bound in [Timeout::After(Duration::MAX), Timeout::Infinity] {
        let held = party
            .context(&name)
            .with_timeout(bound)
            .lock()
            .await
            .unwrap();
        let unlock = new(party.client()).with_key(held.key.as_bytes().clone());
        unlock.with_timeout(bound).unlock().await.unwrap();
    }
}

/// A wait without a bound is granted when its time comes.
pub async fn endless_wait_is_granted(lab: &Lab) {
    let (holder, waiter) = (lab.party().await, lab.party().await);
    let name = name("endless");
    let held = holder.lock(&name).await;
    let endless = waiter.context(&name).with_timeout(Timeout::Infinity);
    let wait = tokio::spawn(async move { endless.lock().await });
    lab.queued(&name, waiter.lease()).await;

    holder.unlock(&held).await;

    wait.await.unwrap().unwrap();
}

/// A connection name that nobody opened.
pub async fn unknown_connection_is_refused(lab: &Lab) {
    let lease = lab.party().await.lease();
    let ctx = new("never opened").with_name("x").with_lease(lease);
    let error = ctx.lock().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotOpen, "{error:?}");
    assert!(error.to_string().contains("never opened"), "{error}");
}

/// A connection name is opened once: who has it keeps it, and it works until it is closed.
pub async fn connection_name_is_opened_once(lab: &Lab) {
    let connection = format!("conformance-{}", fastrand::u64(..));
    let (client, registry) = (lab.client().await, Registry::global());
    registry.open(&connection, client.clone()).unwrap();

    let error = registry.open(&connection, lab.client().await).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::AlreadyOpen, "{error:?}");
    assert!(error.to_string().contains(&connection), "{error}");
    lock_and_unlock(
        new(connection.as_str()),
        lab.party_on(&client).await.lease(),
    )
    .await;

    registry.close(&connection).unwrap();
    let error = new(connection.as_str()).client().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotOpen, "{error:?}");
}

/// Times to live that no lease can have.
pub async fn impossible_times_to_live_are_refused(lab: &Lab) {
    let client = lab.client().await;
    for ttl in [Duration::ZERO, Duration::MAX] {
        let error = lease::grant(&client, ttl).await.unwrap_err();
        is_invalid(&error, "time to live");
    }
    is_usable(&lab.party_on(&client).await).await;
}

async fn lock_is_refused(party: &Party, ctx: Context, hint: &str) {
    is_invalid(&ctx.lock().await.unwrap_err(), hint);
    is_usable(party).await;
}

fn is_invalid(error: &Error, hint: &str) {
    assert_eq!(error.kind(), ErrorKind::InvalidArgument, "{error:?}");
    assert!(error.to_string().contains(hint), "{hint:?} not in: {error}");
    assert!(!error.is_outcome_unknown(), "{error:?}");
}

async fn is_usable(party: &Party) {
    let client: &Client = party.client();
    lock_and_unlock(new(client), party.lease()).await;
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
