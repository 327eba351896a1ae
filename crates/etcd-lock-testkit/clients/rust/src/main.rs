//! Rust's `etcd-client` against the etcd whose address is the first argument. It locks by the `Lock` service.
//!
//! Each case is a function; a line `ok name` or `FAILED name: why` is printed for each, after one of the version.

mod leases;
mod locks;
mod watches;

use std::process::ExitCode;
use std::time::Duration;

use etcd_client::Client;

/// No case may take longer.
const PATIENCE: Duration = Duration::from_secs(30);

type Result<T = ()> = std::result::Result<T, Box<dyn std::error::Error + Send + Sync>>;

/// Runs cases, each with a client of its own, and counts those that failed.
macro_rules! run {
    ($($module:ident::$case:ident)+) => {{
        let mut failed = 0;
        $(match tokio::time::timeout(PATIENCE, async { $module::$case(connect().await?).await }).await {
            Ok(Ok(())) => println!("ok {}", stringify!($case)),
            Ok(Err(error)) => {
                failed += 1;
                println!("FAILED {}: {error}", stringify!($case));
            }
            Err(_) => {
                failed += 1;
                println!("FAILED {}: not done after {PATIENCE:?}", stringify!($case));
            }
        })+
        failed
    }};
}

#[tokio::main]
async fn main() -> ExitCode {
    println!("version {}", version());
    let failed = run! {
        locks::without_the_lock_updates_are_lost
        locks::contenders_exclude_each_other
        locks::waiters_are_served_in_order
        locks::a_dropped_wait_leaves_the_queue
        locks::an_ended_lease_frees_the_lock
        leases::a_lease_ends_with_its_keys
        leases::keep_alive_outlives_the_ttl
        leases::a_revoked_lease_takes_its_keys
        leases::an_unknown_lease_is_refused
        watches::a_watch_sees_puts_and_deletes
        watches::a_watch_starts_in_the_past
        watches::a_cancelled_watch_says_so
        watches::a_transaction_takes_the_branch_that_holds
    };
    if failed == 0 {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

/// The crate doesn't tell; what has been built from says it.
fn version() -> &'static str {
    let lock = include_str!("../Cargo.lock");
    let (_, after) = lock
        .split_once("name = \"etcd-client\"\nversion = \"")
        .unwrap_or_default();
    after.split('"').next().unwrap_or_default()
}

async fn connect() -> Result<Client> {
    let address = std::env::args()
        .nth(1)
        .ok_or("the first argument is an address")?;
    Ok(Client::connect([address], None).await?)
}

/// What a key holds.
async fn value(client: &mut Client, key: &str) -> Result<Option<String>> {
    let reply = client.get(key, None).await?;
    Ok(match reply.kvs().first() {
        Some(kv) => Some(kv.value_str()?.to_owned()),
        None => None,
    })
}

/// An error where two values differ.
fn expect<T: PartialEq + std::fmt::Debug>(what: &str, got: T, wanted: T) -> Result {
    if got == wanted {
        Ok(())
    } else {
        Err(format!("{what}: {got:?} instead of {wanted:?}").into())
    }
}
