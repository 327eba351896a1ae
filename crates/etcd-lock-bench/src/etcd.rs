//! The etcd that a measure runs on, and what it says of itself.

use std::time::Duration;

use etcd_lock_testkit::RealEtcd;

use crate::usage;

/// The members of an etcd.
#[derive(Clone, Debug)]
pub(crate) struct Etcd {
    /// Where clients reach it; with several members, their addresses with commas between them.
    pub(crate) endpoint: String,
    pids: Vec<u32>,
}

impl Etcd {
    pub(crate) fn of(process: &mut RealEtcd) -> Self {
        Self::beginning_with(process, 0)
    }

    /// The address of this member comes first: a client may prefer it.
    pub(crate) fn beginning_with(process: &mut RealEtcd, member: usize) -> Self {
        let mut endpoints = process.endpoints();
        let size = endpoints.len();
        endpoints.rotate_left(member % size);
        Self {
            endpoint: endpoints.join(","),
            pids: process
                .members()
                .iter()
                .map(|member| member.pid())
                .collect(),
        }
    }

    /// Resident memory of all members in bytes.
    pub(crate) fn memory(&self) -> f64 {
        self.pids.iter().copied().map(usage::memory).sum()
    }

    /// Processor time that all members have used so far.
    pub(crate) fn processor(&self) -> Duration {
        self.pids.iter().copied().map(usage::processor).sum()
    }
}

/// How often etcd has written its log to disk so far, and how long it took altogether.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Syncs {
    count: f64,
    seconds: f64,
}

impl Syncs {
    pub(crate) async fn of(process: &RealEtcd) -> Self {
        let metrics = process.metrics().await;
        Self {
            count: metric(&metrics, "etcd_disk_wal_fsync_duration_seconds_count"),
            seconds: metric(&metrics, "etcd_disk_wal_fsync_duration_seconds_sum"),
        }
    }

    /// How long one took, in milliseconds.
    pub(crate) fn mean(self) -> f64 {
        self.seconds * 1e3 / self.count
    }

    /// How long one took since then, in milliseconds.
    pub(crate) fn mean_since(self, before: Self) -> f64 {
        let between = Self {
            count: self.count - before.count,
            seconds: self.seconds - before.seconds,
        };
        between.mean()
    }
}

/// How often etcd has renewed a lease so far.
pub(crate) async fn renewals(process: &RealEtcd) -> f64 {
    metric(
        &process.metrics().await,
        "etcd_debugging_lease_renewed_total",
    )
}

/// One number out of metrics in Prometheus' format.
fn metric(metrics: &str, name: &str) -> f64 {
    let line = |line: &str| line.strip_prefix(name)?.strip_prefix(' ')?.parse().ok();
    let found = metrics.lines().find_map(line);
    found.unwrap_or_else(|| panic!("etcd's metrics have no {name}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_metric_is_found_by_its_whole_name() {
        let metrics = "# TYPE syncs counter\nsyncs_total 7\nsyncs 2.5e+01\n";
        assert_eq!(metric(metrics, "syncs"), 25.0);
    }

    #[test]
    fn the_mean_is_that_of_the_syncs_between() {
        let (count, seconds) = (10.0, 100.0);
        let before = Syncs { count, seconds };
        let after = Syncs {
            count: 14.0,
            seconds: 100.02,
        };
        assert!((after.mean_since(before) - 5.0).abs() < 1e-6);
    }
}
