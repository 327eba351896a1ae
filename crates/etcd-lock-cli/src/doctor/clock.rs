//! Whether the clocks of this machine and of others agree, as far as that can be seen.

use std::time::{Duration, SystemTime};

use etcd_lock::core::CallOptions;
use etcd_lock::kv::RangeRequest;
use etcd_lock::{LockName, Owner};

use super::Etcd;
use super::check::{Check, Report};

/// What is less is the time that a request takes.
const TOLERATED: Duration = Duration::from_secs(1);

/// How many entries are looked at.
const ENTRIES: u32 = 100;

/// etcd does not tell the time. Entries of a lock have the time at which they were made, by the clock of their client: where
/// that is in the future, the client's clock is ahead of ours.
pub(super) async fn check(etcd: &Etcd<'_>, name: Option<&LockName>, report: &mut Report) {
    const NEEDLESS: &str = "locks don't depend on it, only the times in `etcd-lock status` do";
    let owners = match name {
        Some(name) => owners(etcd, name).await,
        None => Vec::new(),
    };
    let now = SystemTime::now();
    let ahead = owners.iter().filter_map(|owner| {
        let ahead = owner.since?.duration_since(now).ok()?;
        (ahead > TOLERATED).then_some((ahead, &owner.host))
    });
    let (seen, worst) = (owners.len(), ahead.max());
    report.add(match worst {
        Some((ahead, host)) => Check::warn(
            "clock",
            format!(
                "that of {host} is at least {} s ahead of ours: {NEEDLESS}",
                ahead.as_secs()
            ),
            "let both machines take their time from NTP",
        ),
        None if seen > 0 => {
            let text = format!(
                "none of {seen} entries was made in our future; etcd tells no time: {NEEDLESS}"
            );
            Check::ok("clock", text)
        }
        None => Check::ok(
            "clock",
            format!("can't be compared, since etcd tells no time: {NEEDLESS}"),
        ),
    });
}

/// The owners of a lock's entries, where they can be read.
async fn owners(etcd: &Etcd<'_>, name: &LockName) -> Vec<Owner> {
    let request = RangeRequest::prefix(name.queue_prefix()).with_limit(ENTRIES);
    let options = CallOptions::new(etcd.timeout.into());
    let Ok(reply) = etcd.transport.range(request, options).await else {
        return Vec::new();
    };
    let owners = reply
        .kvs
        .iter()
        .filter_map(|kv| Owner::from_entry(&kv.value));
    owners.collect()
}
