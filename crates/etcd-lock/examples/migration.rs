//! Migration steps that run once, in their order, although each instance of a service starts them.

mod support;

use std::time::Duration;

use etcd_lock::kv::{Compare, PutRequest, RangeRequest};
use etcd_lock::{Client, Error, ErrorKind, LockGuard, Mutex, Result, Revision, Session, Timeout};

const VERSION: &str = "schema/version";

/// Steps must bear to be done twice: a process may die between a step and the note of it.
const STEPS: [&str; 3] = ["create the table", "add the column", "build the index"];

#[tokio::main]
async fn main() -> Result<()> {
    let client = support::client()?;
    let (one, other) = tokio::join!(migrate(&client, "one"), migrate(&client, "other"));
    one.and(other)
}

async fn migrate(client: &Client, name: &str) -> Result<()> {
    let session = Session::open(client, Duration::from_secs(10)).await?;
    let mutex = Mutex::new(&session, "schema")?;
    let guard = match mutex.lock_timeout(Duration::from_secs(60)).await {
        Ok(guard) => guard,
        Err(error) if error.is_timeout() => {
            let text = "another instance is migrating for more than a minute";
            return Err(Error::new(ErrorKind::Timeout, text).with_source(error));
        }
        Err(error) => return Err(error),
    };
    let done = guard.run(steps(client, &guard)).await??;
    println!("{name} did {done} steps");
    guard.unlock().await?;
    session.close().await
}

async fn steps(client: &Client, guard: &LockGuard) -> Result<usize> {
    let mut done = 0;
    loop {
        let (version, revision) = version(client).await?;
        let Some(step) = STEPS.get(version) else {
            return Ok(done);
        };
        println!("step {version}: {step}");
        let next = PutRequest::new(VERSION, (version + 1).to_string());
        let unchanged = Compare::mod_revision(VERSION, revision);
        let noted = guard.fenced_txn().when(unchanged).and_then(next);
        match noted.commit().await {
            Ok(reply) if reply.succeeded => done += 1,
            Ok(_) => eprintln!("the version has changed, reading it again"),
            // Executed or not: the version says which. A transaction that comes late is refused by its compare.
            Err(error) if error.is_outcome_unknown() => eprintln!("{error}, reading it again"),
            // The lock is lost: the next holder goes on from here.
            Err(error) => return Err(error),
        }
    }
}

/// The number of steps that are done, and the revision that says so.
async fn version(client: &Client) -> Result<(usize, Revision)> {
    let read = RangeRequest::key(VERSION);
    let reply = client
        .transport()
        .range(read, Timeout::DEFAULT.into())
        .await?;
    let Some(kv) = reply.kvs.first() else {
        return Ok((0, Revision::ZERO));
    };
    let version = String::from_utf8_lossy(&kv.value).parse();
    let version =
        version.map_err(|_| Error::invalid_argument(format!("{VERSION} is no number")))?;
    Ok((version, kv.mod_revision))
}
