//! `etcd-lock lock` and `etcd-lock unlock`: a lock that is held over several commands.

use std::io::{self, Write};
use std::process::ExitCode;

use etcd_lock::core::CallOptions;
use etcd_lock::core::LockRequest;
use etcd_lock::{
    Client, Error, ErrorKind, LockKey, LockName, LockResponse, Queue, Timeout, lease, new,
};
use serde_json::json;

use crate::args::{Common, Lock, Output, Unlock};
use crate::connection::Connected;
use crate::exit::Failure;
use crate::signals::Signals;

/// Takes a lock with a lease of its own, which nobody keeps alive, and prints what gives it back.
pub(crate) async fn lock(common: &Common, args: &Lock) -> Result<ExitCode, Failure> {
    let mut signals = Signals::catch()?;
    let Connected { client, timeout } = common.connection.open()?;
    let ctx = new(&client).with_timeout(timeout);
    let granted = lease::grant(&ctx, args.ttl).await?;
    let result = tokio::select! {
        result = take(&client, LockRequest::new(args.name.clone(), granted.id), args) => {
            result.map_err(|error| Failure::waiting(&args.name, &error, args.wait.conflict_exit_code))
        }
        signal = signals.next() => Err(Failure::signal(signal as i32)),
    };
    // A lock whose key nobody has seen could not be given back.
    let told = result.and_then(|held| Ok(print(common.output, &args.name, &granted, &held)?));
    if told.is_err() {
        // Ends the wait, too, whatever has become of it; if etcd doesn't answer, the lease ends by itself.
        let _ = lease::revoke(ctx, granted.id).await;
    }
    told.map(|()| ExitCode::SUCCESS)
}

/// Gives a lock back, and ends its lease if it was for this lock alone.
pub(crate) async fn unlock(common: &Common, args: &Unlock) -> Result<ExitCode, Failure> {
    let Connected { client, timeout } = common.connection.open()?;
    let key = LockKey::new(args.key.clone())?;
    let Some((_, id)) = key.parts() else {
        return Err(Error::new(
            ErrorKind::InvalidArgument,
            format!("{key} is not a lock's key"),
        )
        .into());
    };
    let ctx = new(&client).with_timeout(timeout);
    ctx.clone()
        .with_key(key.as_bytes().clone())
        .unlock()
        .await?;
    let left = lease::time_to_live(ctx.clone(), id).await?;
    if left.remaining.is_some() && left.keys.is_empty() {
        // Somebody else may have ended it meanwhile.
        let _ = lease::revoke(ctx, id).await;
    }
    Ok(ExitCode::SUCCESS)
}

async fn take(client: &Client, request: LockRequest, args: &Lock) -> Result<LockResponse, Error> {
    if args.wait.no_wait {
        let queue = Queue::over(client.transport().clone());
        return queue.try_lock(request, CallOptions::default()).await;
    }
    let limit = args.wait.limit.map_or(Timeout::Infinity, Timeout::After);
    client
        .transport()
        .lock(request, CallOptions::new(limit))
        .await
}

fn print(
    output: Output,
    name: &LockName,
    lease: &lease::LeaseGrantResponse,
    held: &LockResponse,
) -> io::Result<()> {
    let mut stdout = io::stdout().lock();
    let seconds = lease.ttl.as_secs();
    match output {
        Output::Text => {
            writeln!(stdout, "key   {}", held.key)?;
            writeln!(stdout, "lease {}", lease.id)?;
            writeln!(stdout, "token {}", held.create_revision)?;
            writeln!(
                stdout,
                "held for {seconds} s at the most: nothing keeps it alive"
            )?;
        }
        Output::Json => {
            // The bytes as they are, where the text for people escapes some: names are UTF-8 here.
            let held = json!({
                "name": String::from_utf8_lossy(name.as_bytes()),
                "key": String::from_utf8_lossy(held.key.as_bytes()),
                "lease": lease.id.to_string(),
                "token": held.create_revision.get(),
                "ttl_seconds": seconds,
            });
            writeln!(stdout, "{held}")?;
        }
    }
    stdout.flush()
}
