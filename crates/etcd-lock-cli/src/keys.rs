//! `etcd-lock lock`, `renew` and `unlock`: a lock that is held over several commands.

use std::io::{self, Write};
use std::process::ExitCode;

use etcd_lock::core::CallOptions;
use etcd_lock::core::LockRequest;
use etcd_lock::{
    Client, Context, Error, ErrorKind, LeaseId, LockKey, LockResponse, Queue, Timeout, Ttl, lease,
    new,
};
use serde_json::json;

use crate::args::{Common, Lock, LockOutput, Renew, Unlock};
use crate::connection::Connected;
use crate::exit::Failure;
use crate::print::{self, raw};
use crate::signals::Signals;

/// Takes a lock with a lease of its own and prints what gives it back. The lease is kept alive while the lock is waited for,
/// and its time begins when the lock is granted: from then on nobody keeps it alive.
pub(crate) async fn lock(common: &Common, args: &Lock) -> Result<ExitCode, Failure> {
    let mut signals = Signals::catch()?;
    let Connected { client, timeout } = common.connection.open()?;
    let ctx = new(&client).with_timeout(timeout);
    let lease = lease::grant(&ctx, args.ttl).await?.id;
    let taking = async {
        let kept = lease::keep_alive(ctx.clone(), lease).await?;
        let held = take(&client, LockRequest::new(args.name.clone(), lease), args).await?;
        drop(kept);
        Ok((held, renewed(&ctx, lease).await?))
    };
    let result = tokio::select! {
        result = taking => {
            result.map_err(|error| Failure::waiting(&args.name, &error, args.wait.conflict_exit_code))
        }
        signal = signals.next() => Err(Failure::signal(signal as i32)),
    };
    // A lock whose key nobody has seen could not be given back.
    let told = result.and_then(|(held, ttl)| Ok(print(args, lease, &held, ttl)?));
    if told.is_err() {
        // Ends the wait, too, whatever has become of it; if etcd doesn't answer, the lease ends by itself.
        let _ = lease::revoke(ctx, lease).await;
    }
    told.map(|()| ExitCode::SUCCESS)
}

/// Begins the time of a lock anew.
pub(crate) async fn renew(common: &Common, args: &Renew) -> Result<ExitCode, Failure> {
    let Connected { client, timeout } = common.connection.open()?;
    let (key, lease) = parse(&args.key)?;
    let ctx = new(&client).with_timeout(timeout);
    let left = lease::time_to_live(ctx.clone(), lease).await?;
    if !left.keys.contains(key.as_bytes()) {
        return Err(gone(&key).into());
    }
    let ttl = renewed(&ctx, lease).await?;
    let seconds = ttl.as_secs();
    let text = format!("held for {seconds} s at the most: nothing keeps it alive\n");
    let value = json!({ "key": raw(key.as_bytes()), "ttl_seconds": seconds });
    print::print(args.output, text, &value)?;
    Ok(ExitCode::SUCCESS)
}

/// Gives a lock back, and ends its lease if it was for this lock alone.
pub(crate) async fn unlock(common: &Common, args: &Unlock) -> Result<ExitCode, Failure> {
    let Connected { client, timeout } = common.connection.open()?;
    let (key, lease) = parse(&args.key)?;
    let ctx = new(&client).with_timeout(timeout);
    ctx.clone()
        .with_key(key.as_bytes().clone())
        .unlock()
        .await?;
    let left = lease::time_to_live(ctx.clone(), lease).await?;
    if left.remaining.is_some() && left.keys.is_empty() {
        // Somebody else may have ended it meanwhile.
        let _ = lease::revoke(ctx, lease).await;
    }
    Ok(ExitCode::SUCCESS)
}

fn parse(key: &str) -> Result<(LockKey, LeaseId), Error> {
    let key = LockKey::new(key.to_owned())?;
    match key.parts() {
        Some((_, lease)) => Ok((key, lease)),
        None => Err(Error::new(
            ErrorKind::InvalidArgument,
            format!("{key} is not a lock's key"),
        )),
    }
}

/// Renews a lease, and returns how long it lives from now on.
async fn renewed(ctx: &Context, lease: LeaseId) -> Result<Ttl, Error> {
    let renewed = lease::keep_alive_once(ctx.clone(), lease).await?;
    let ended = || {
        Error::new(
            ErrorKind::LeaseNotFound,
            format!("the lease {lease} has ended"),
        )
    };
    renewed.ttl.ok_or_else(ended)
}

fn gone(key: &LockKey) -> Error {
    Error::new(ErrorKind::Lost, format!("the lock's key {key} is gone"))
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

fn print(args: &Lock, lease: LeaseId, held: &LockResponse, ttl: Ttl) -> io::Result<()> {
    let mut stdout = io::stdout().lock();
    let seconds = ttl.as_secs();
    match args.output {
        LockOutput::Text => {
            writeln!(stdout, "key   {}", held.key)?;
            writeln!(stdout, "lease {lease}")?;
            writeln!(stdout, "token {}", held.create_revision)?;
            writeln!(
                stdout,
                "held for {seconds} s at the most: nothing keeps it alive"
            )?;
        }
        LockOutput::Json => {
            let held = json!({
                "name": raw(args.name.as_bytes()),
                "key": raw(held.key.as_bytes()),
                "lease": lease.to_string(),
                "token": held.create_revision.get(),
                "ttl_seconds": seconds,
            });
            writeln!(stdout, "{held}")?;
        }
        LockOutput::Env => {
            for (name, value) in [
                (
                    "NAME",
                    String::from_utf8_lossy(args.name.as_bytes()).into_owned(),
                ),
                (
                    "KEY",
                    String::from_utf8_lossy(held.key.as_bytes()).into_owned(),
                ),
                ("LEASE", lease.to_string()),
                ("TOKEN", held.create_revision.to_string()),
            ] {
                let value = shlex::try_quote(&value).map_err(io::Error::other)?;
                writeln!(stdout, "export ETCD_LOCK_{name}={value}")?;
            }
        }
    }
    stdout.flush()
}
