//! `etcd-lock lock`, `renew` and `unlock`: a lock that is held over several commands.

use std::io::{self, Write};
use std::process::ExitCode;

use etcd_lock::{
    Context, Error, ErrorKind, LeaseId, LockGuard, LockKey, Mutex, Owner, Session, SessionOptions,
    Ttl, lease,
};
use serde_json::json;

use crate::args::{Common, Lock, LockOutput, Renew, Unlock};
use crate::connection::Connected;
use crate::exit::Failure;
use crate::farewell::farewell;
use crate::print::{self, View, raw};
use crate::signals::Signals;
use crate::waiting::Waiting;

/// Takes a lock with a lease of its own and prints what gives it back. The lease is kept alive while the lock is waited for,
/// and its time begins when the lock is granted: from then on nobody keeps it alive.
pub(crate) async fn lock(common: &Common, args: &Lock) -> Result<ExitCode, Failure> {
    let mut signals = Signals::catch()?;
    let etcd = common.connection.open()?;
    let options = SessionOptions::new()
        .with_ttl(args.ttl.as_duration())
        .with_timeout(etcd.timeout)
        .with_owner(Owner::current().with_note(&args.note));
    let session = options.open(&etcd.client).await?;
    let result = tokio::select! {
        result = take(&etcd, &session, args) => result,
        signal = signals.next() => Err(Failure::signal(signal as i32)),
    };
    // A lock whose key nobody has seen could not be given back.
    let told = result.and_then(|held| {
        print(args, session.lease(), &held)?;
        // The hold is the lease's from now on.
        Ok(held.guard.detach()?)
    });
    if told.is_err() {
        // Ends a wait that is still under way, too.
        farewell(session.close()).await;
    }
    told.map(|_| ExitCode::SUCCESS)
}

/// A lock that is held, and for how long.
struct Held {
    guard: LockGuard,
    ttl: Ttl,
}

async fn take(etcd: &Connected, session: &Session, args: &Lock) -> Result<Held, Failure> {
    let mutex = Mutex::new(session, &args.name)?;
    let waiting = Waiting {
        etcd,
        wait: &args.wait,
        quiet: args.quiet,
    };
    let guard = waiting.acquire(&mutex).await?;
    let ttl = renewed(&etcd.context(), session.lease()).await?;
    Ok(Held { guard, ttl })
}

/// Begins the time of a lock anew.
pub(crate) async fn renew(common: &Common, args: &Renew) -> Result<ExitCode, Failure> {
    let ctx = common.connection.open()?.context();
    let (key, lease) = parse(&args.key)?;
    let left = lease::time_to_live(ctx.clone(), lease).await?;
    if !left.keys.contains(key.as_bytes()) {
        let text = format!("the lock's key {key} is gone");
        return Err(Error::new(ErrorKind::Lost, text).into());
    }
    let ttl = renewed(&ctx, lease).await?;
    let seconds = ttl.as_secs();
    let text = format!("held for {seconds} s at the most: nothing keeps it alive\n");
    let json = json!({ "key": raw(key.as_bytes()), "ttl_seconds": seconds });
    print::print(args.output, &View { text, json })?;
    Ok(ExitCode::SUCCESS)
}

/// Gives a lock back, and ends its lease if it was for this lock alone.
pub(crate) async fn unlock(common: &Common, args: &Unlock) -> Result<ExitCode, Failure> {
    let ctx = common.connection.open()?.context();
    let (key, lease) = parse(&args.key)?;
    ctx.clone().with_key(&key).unlock().await?;
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

fn print(args: &Lock, lease: LeaseId, held: &Held) -> io::Result<()> {
    let mut stdout = io::stdout().lock();
    let token = held.guard.token().create_revision();
    let (name, key) = (args.name.as_bytes(), held.guard.key());
    let seconds = held.ttl.as_secs();
    match args.output {
        LockOutput::Text => writeln!(
            stdout,
            "key   {key}\nlease {lease}\ntoken {token}\nheld for {seconds} s at the most: nothing keeps it alive",
        )?,
        LockOutput::Json => {
            let held = json!({
                "name": raw(name),
                "key": raw(key.as_bytes()),
                "lease": lease.to_string(),
                "token": token.get(),
                "ttl_seconds": seconds,
            });
            writeln!(stdout, "{held}")?;
        }
        LockOutput::Env => {
            for (variable, value) in [
                ("NAME", String::from_utf8_lossy(name).into_owned()),
                ("KEY", String::from_utf8_lossy(key.as_bytes()).into_owned()),
                ("LEASE", lease.to_string()),
                ("TOKEN", token.to_string()),
            ] {
                let value = shlex::try_quote(&value).map_err(io::Error::other)?;
                writeln!(stdout, "export ETCD_LOCK_{variable}={value}")?;
            }
        }
    }
    stdout.flush()
}
