//! `etcd-lock break`: a hold that its holder will not give back.

use std::process::ExitCode;

use etcd_lock::kv::{Compare, DeleteRequest, TxnRequest};
use etcd_lock::session::QueueEntry;
use etcd_lock::{Context, LockKey, Result, lease, queue};
use serde_json::json;

use crate::args::{Break, Common};
use crate::exit::{BUSY, Failure};
use crate::print::{View, entry, print, raw, shell};

/// Removes exactly the entry of the holder that is named.
pub(crate) async fn run(common: &Common, args: &Break) -> Result<ExitCode, Failure> {
    let etcd = common.connection.open()?;
    let ctx = etcd.context();
    let view = queue(ctx.clone(), &args.name).await?;
    let holder = view.entries.into_iter().next();
    let Some(holder) = holder.filter(|holder| holder.lease == args.holder) else {
        let text = format!("{} is not held with the lease {}", args.name, args.holder);
        let advice = format!("see its holder: etcd-lock status {}", shell(&args.name));
        return Err(Failure::new(BUSY, text).advice(advice));
    };
    let others = others(&ctx, &holder).await?;
    let key = holder.key.as_bytes().clone();
    let delete = TxnRequest::new()
        .when(Compare::create_revision(
            key.clone(),
            holder.create_revision,
        ))
        .and_then(DeleteRequest::key(key))
        .idempotent();
    // Where it does not succeed the hold is gone as well: given back meanwhile, or removed by a request whose answer was lost.
    let transport = etcd.client.transport();
    transport.txn(delete, etcd.options()).await?;
    if args.revoke {
        lease::revoke(ctx, holder.lease).await?;
    }
    let mut text = format!("the hold with the lease {} is gone\n", holder.lease);
    if !others.is_empty() {
        let fate = if args.revoke {
            "ended with it"
        } else {
            "are still held"
        };
        text += &format!("other locks on the same lease {fate}:\n");
    }
    for other in &others {
        text += &format!("  {other}\n");
    }
    let json = json!({
        "removed": entry(&holder),
        "revoked": args.revoke,
        "on_the_same_lease": others.iter().map(|key| raw(key.as_bytes())).collect::<Vec<_>>(),
    });
    print(args.output, &View { text, json })?;
    Ok(ExitCode::SUCCESS)
}

/// The other locks that hang on the holder's lease.
async fn others(ctx: &Context, holder: &QueueEntry) -> Result<Vec<LockKey>> {
    let on_lease = lease::time_to_live(ctx.clone(), holder.lease).await?;
    let others = on_lease
        .keys
        .into_iter()
        .filter(|key| *key != *holder.key.as_bytes());
    Ok(others.filter_map(|key| LockKey::new(key).ok()).collect())
}
