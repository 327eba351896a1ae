//! `etcd-lock list`: all locks below a prefix.

use std::collections::BTreeMap;
use std::fmt;
use std::process::ExitCode;

use etcd_lock::kv::{KeyValue, RangeRequest};
use etcd_lock::{LockKey, LockName, Owner, Result, Revision};
use serde_json::{Value, json};

use crate::args::{Common, List};
use crate::connection::Connected;
use crate::exit::Failure;
use crate::live;
use crate::print::{View, Who, print, raw};

/// How many keys are read at a time.
const PAGE: u32 = 1_000;

/// Prints a line for each lock.
pub(crate) async fn run(common: &Common, args: &List) -> Result<ExitCode, Failure> {
    let etcd = common.connection.open()?;
    let read = async || {
        let locks = read(&etcd, &args.prefix).await?;
        let values: Vec<_> = locks.iter().map(json).collect();
        Ok(View::new(&Text(&locks), values.into()))
    };
    if args.watch {
        let prefix = args.prefix.clone().into();
        match live::watch(&etcd.client, prefix, args.output.output, read).await? {}
    }
    print(args.output, &read().await?)?;
    Ok(ExitCode::SUCCESS)
}

/// What is known of a lock by its keys.
#[derive(Default)]
struct Queue {
    /// Of the oldest entry: the holder.
    created: Option<Revision>,
    owner: Option<Owner>,
    entries: u64,
}

type Locks = BTreeMap<LockName, Queue>;

/// Reads page by page, all as of one revision.
async fn read(etcd: &Connected, prefix: &str) -> Result<Locks> {
    let transport = etcd.client.transport();
    let mut locks = Locks::new();
    let mut next = RangeRequest::prefix(prefix.to_owned()).with_limit(PAGE);
    loop {
        let reply = transport.range(next.clone(), etcd.options()).await?;
        for kv in &reply.kvs {
            note(&mut locks, kv);
        }
        let Some(last) = reply.kvs.last().filter(|_| reply.more) else {
            return Ok(locks);
        };
        let revision = next.revision.unwrap_or(reply.header.revision);
        // The first possible key after the last one.
        next.key = last.key.iter().copied().chain([0]).collect();
        next = next.at_revision(revision);
    }
}

/// A key that is no entry of a lock is somebody else's.
fn note(locks: &mut Locks, kv: &KeyValue) {
    let Ok(key) = LockKey::new(kv.key.clone()) else {
        return;
    };
    let Some((name, _)) = key.parts() else {
        return;
    };
    let queue = locks.entry(name).or_default();
    queue.entries += 1;
    if queue
        .created
        .is_none_or(|created| kv.create_revision < created)
    {
        queue.created = Some(kv.create_revision);
        queue.owner = Owner::from_entry(&kv.value);
    }
}

fn json((name, queue): (&LockName, &Queue)) -> Value {
    json!({
        "name": raw(name.as_bytes()),
        "token": queue.created.map(Revision::get),
        "host": queue.owner.as_ref().map(|owner| &owner.host),
        "pid": queue.owner.as_ref().map(|owner| owner.pid),
        "user": queue.owner.as_ref().map(|owner| &owner.user),
        "note": queue.owner.as_ref().map(|owner| &owner.note),
        "waiters": queue.entries - 1,
    })
}

/// The locks for people.
struct Text<'a>(&'a Locks);

impl fmt::Display for Text<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (name, queue) in self.0 {
            write!(f, "{name}: held by {}", Who(queue.owner.as_ref()))?;
            match queue.entries - 1 {
                0 => writeln!(f)?,
                1 => writeln!(f, ", 1 waits")?,
                count => writeln!(f, ", {count} wait")?,
            }
        }
        Ok(())
    }
}
