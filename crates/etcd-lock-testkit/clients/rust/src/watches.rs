//! Watches and transactions.

use etcd_client::{
    Client, Compare, CompareOp, Txn, TxnOp, TxnOpResponse, WatchOptions, WatchStream,
};

use crate::{Result, expect};

pub async fn a_watch_sees_puts_and_deletes(mut client: Client) -> Result {
    let options = WatchOptions::new().with_prefix();
    let mut watch = client.watch("seen/", Some(options)).await?;
    client.put("seen/a", "1", None).await?;
    client.delete("seen/a", None).await?;
    expect(
        "events",
        events(&mut watch, 2).await?,
        vec!["Put seen/a".to_owned(), "Delete seen/a".to_owned()],
    )
}

pub async fn a_watch_starts_in_the_past(mut client: Client) -> Result {
    let put = client.put("past", "1", None).await?;
    client.delete("past", None).await?;
    let revision = put.header().ok_or("no header")?.revision();
    let options = WatchOptions::new().with_start_revision(revision);
    let mut watch = client.watch("past", Some(options)).await?;
    expect(
        "events",
        events(&mut watch, 2).await?,
        vec!["Put past".to_owned(), "Delete past".to_owned()],
    )
}

pub async fn a_cancelled_watch_says_so(mut client: Client) -> Result {
    let mut watch = client.watch("cancelled", None).await?;
    let created = watch.message().await?.ok_or("the stream ended")?;
    expect("created", created.created(), true)?;
    watch.cancel(created.watch_id()).await?;
    let cancelled = watch.message().await?.ok_or("the stream ended")?;
    expect("cancelled", cancelled.canceled(), true)
}

/// Reads as many events as are wanted, in one reply or several.
async fn events(watch: &mut WatchStream, wanted: usize) -> Result<Vec<String>> {
    let mut events = Vec::new();
    while events.len() < wanted {
        let reply = watch.message().await?.ok_or("the stream ended")?;
        for event in reply.events() {
            let kv = event.kv().ok_or("an event without a key")?;
            events.push(format!("{:?} {}", event.event_type(), kv.key_str()?));
        }
    }
    Ok(events)
}

pub async fn a_transaction_takes_the_branch_that_holds(mut client: Client) -> Result {
    let take = |value: &str| {
        Txn::new()
            .when([Compare::create_revision("once", CompareOp::Equal, 0)])
            .and_then([TxnOp::put("once", value, None)])
            .or_else([TxnOp::get("once", None)])
    };
    expect("first", client.txn(take("first")).await?.succeeded(), true)?;
    let second = client.txn(take("second")).await?;
    expect("second", second.succeeded(), false)?;
    match &second.op_responses()[..] {
        [TxnOpResponse::Get(reply)] => expect("value", reply.kvs()[0].value_str()?, "first"),
        other => Err(format!("replies {other:?}").into()),
    }
}
