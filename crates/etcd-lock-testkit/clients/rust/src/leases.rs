//! How leases end, and how they don't.

use std::time::Duration;

use etcd_client::{Client, LeaseTimeToLiveOptions, PutOptions};
use tokio::time::sleep;

use crate::{Result, expect, value};

pub async fn a_lease_ends_with_its_keys(mut client: Client) -> Result {
    let lease = leased(&mut client, "ending", 2).await?;
    let with_keys = LeaseTimeToLiveOptions::new().with_keys();
    let left = client.lease_time_to_live(lease, Some(with_keys)).await?;
    expect("granted", left.granted_ttl(), 2)?;
    expect("keys", left.keys(), &[b"ending".to_vec()])?;
    sleep(Duration::from_secs(3)).await;
    expect("key", value(&mut client, "ending").await?, None)?;
    expect(
        "left",
        client.lease_time_to_live(lease, None).await?.ttl(),
        -1,
    )
}

pub async fn keep_alive_outlives_the_ttl(mut client: Client) -> Result {
    let lease = leased(&mut client, "kept", 2).await?;
    let (mut keeper, mut renewals) = client.lease_keep_alive(lease).await?;
    for _ in 0..8 {
        sleep(Duration::from_millis(500)).await;
        keeper.keep_alive().await?;
        let renewal = renewals.message().await?.ok_or("the stream ended")?;
        expect("renewed for", renewal.ttl(), 2)?;
    }
    expect(
        "key",
        value(&mut client, "kept").await?,
        Some("x".to_owned()),
    )
}

pub async fn a_revoked_lease_takes_its_keys(mut client: Client) -> Result {
    let lease = leased(&mut client, "revoked", 60).await?;
    let listed = client
        .leases()
        .await?
        .leases()
        .iter()
        .any(|one| one.id() == lease);
    expect("listed", listed, true)?;
    client.lease_revoke(lease).await?;
    expect("key", value(&mut client, "revoked").await?, None)
}

pub async fn an_unknown_lease_is_refused(mut client: Client) -> Result {
    let options = PutOptions::new().with_lease(77);
    let answer = client.put("orphan", "x", Some(options)).await;
    let Err(etcd_client::Error::GRpcStatus(status)) = answer else {
        return Err(format!("answered with {answer:?}").into());
    };
    expect(
        "refused",
        status.message(),
        "etcdserver: requested lease not found",
    )
}

/// Puts a key with a new lease.
async fn leased(client: &mut Client, key: &str, ttl: i64) -> Result<i64> {
    let lease = client.lease_grant(ttl, None).await?.id();
    let options = PutOptions::new().with_lease(lease);
    client.put(key, "x", Some(options)).await?;
    Ok(lease)
}
