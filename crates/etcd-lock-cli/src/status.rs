//! `etcd-lock status`: the holder of a lock and those that wait for it.

use std::fmt;
use std::process::ExitCode;

use etcd_lock::{LockName, QueueView, queue};
use serde_json::{Value, json};

use crate::args::{Common, Status};
use crate::exit::Failure;
use crate::live;
use crate::print::{Line, View, entry, print, raw};

/// Prints the queue of a lock.
pub(crate) async fn run(common: &Common, args: &Status) -> Result<ExitCode, Failure> {
    let etcd = common.connection.open()?;
    let read = async || {
        let view = &queue(etcd.context(), &args.name).await?;
        let name = &args.name;
        Ok(View::new(&Text { name, view }, json(name, view)))
    };
    if args.watch {
        let prefix = args.name.queue_prefix();
        match live::watch(&etcd.client, prefix, args.output.output, read).await? {}
    }
    print(args.output, &read().await?)?;
    Ok(ExitCode::SUCCESS)
}

fn json(name: &LockName, view: &QueueView) -> Value {
    let mut entries = view.entries.iter().map(entry);
    let holder = entries.next();
    json!({
        "name": raw(name.as_bytes()),
        "revision": view.revision.get(),
        "holder": holder,
        "waiters": entries.collect::<Vec<_>>(),
        "unrelated_keys": view.unrelated_keys.iter().map(|key| raw(key)).collect::<Vec<_>>(),
    })
}

/// The queue for people.
struct Text<'a> {
    name: &'a LockName,
    view: &'a QueueView,
}

impl fmt::Display for Text<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { name, view } = self;
        match view.entries.split_first() {
            None => writeln!(f, "{name} is free")?,
            Some((holder, waiters)) => {
                writeln!(f, "{name} is held by")?;
                writeln!(f, "  {}", Line(holder))?;
                match waiters.len() {
                    0 => writeln!(f, "nobody waits")?,
                    1 => writeln!(f, "1 waits")?,
                    count => writeln!(f, "{count} wait")?,
                }
                for (number, waiter) in waiters.iter().enumerate() {
                    writeln!(f, "  {}. {}", number + 1, Line(waiter))?;
                }
            }
        }
        for key in &view.unrelated_keys {
            writeln!(
                f,
                "{} is no entry: etcdctl and the Lock RPC wait for it all the same",
                key.escape_ascii()
            )?;
        }
        Ok(())
    }
}
