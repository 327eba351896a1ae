//! Leases: etcd's `Lease` service.

use std::collections::{BTreeSet, HashMap};
use std::time::Duration;

use bytes::Bytes;
use etcd_lock_proto::etcdserverpb as pb;

use super::Model;
use crate::status::{Code, Status};

/// The longest time to live, in seconds (`maxLeaseTTL` in etcd's `lessor.go`).
const MAX_TTL: i64 = 9_000_000_000;

/// Below all numbers that are picked for leases.
const FIRST_ID: i64 = 0x694d_0e7c_d10c_0000;

impl Model {
    /// Grants a lease: at least two seconds, as etcd does with its default election timeout.
    ///
    /// # Errors
    /// For a time to live that is too long, and for a number that is taken.
    pub fn lease_grant(
        &mut self,
        request: &pb::LeaseGrantRequest,
    ) -> Result<pb::LeaseGrantResponse, Status> {
        if request.ttl > MAX_TTL {
            return Err(Status::new(
                Code::OutOfRange,
                "etcdserver: too large lease TTL",
            ));
        }
        let id = if request.id == 0 {
            self.leases.free_id()
        } else {
            request.id
        };
        if self.leases.contains(id) {
            return Err(Status::new(
                Code::FailedPrecondition,
                "etcdserver: lease already exists",
            ));
        }
        let ttl = request.ttl.max(self.options.min_ttl);
        self.leases.add(id, ttl, self.now);
        Ok(pb::LeaseGrantResponse {
            header: self.header(),
            id,
            ttl,
            error: String::new(),
        })
    }

    /// Ends a lease: its keys are deleted in one revision.
    ///
    /// # Errors
    /// When there is no such lease.
    pub fn lease_revoke(
        &mut self,
        request: &pb::LeaseRevokeRequest,
    ) -> Result<pb::LeaseRevokeResponse, Status> {
        if !self.leases.contains(request.id) {
            return Err(Status::lease_not_found());
        }
        self.end_lease(request.id);
        Ok(pb::LeaseRevokeResponse {
            header: self.header(),
        })
    }

    /// Renews a lease; a time to live of 0 says that it is gone.
    pub fn lease_keep_alive(
        &mut self,
        request: &pb::LeaseKeepAliveRequest,
    ) -> pb::LeaseKeepAliveResponse {
        // etcd lets the renewal of a lease whose time is up wait for its end.
        if self.leases.is_due(request.id, self.now) {
            self.end_lease(request.id);
        }
        let ttl = self.leases.renew(request.id, self.now).unwrap_or(0);
        pb::LeaseKeepAliveResponse {
            header: self.header(),
            id: request.id,
            ttl,
        }
    }

    /// Tells how long a lease has left, in whole seconds; -1 says that it is gone.
    #[must_use]
    pub fn lease_time_to_live(
        &self,
        request: &pb::LeaseTimeToLiveRequest,
    ) -> pb::LeaseTimeToLiveResponse {
        let reply = pb::LeaseTimeToLiveResponse {
            header: self.header(),
            id: request.id,
            ttl: -1,
            ..pb::LeaseTimeToLiveResponse::default()
        };
        let Some(lease) = self.leases.by_id.get(&request.id) else {
            return reply;
        };
        let left = lease.deadline.saturating_sub(self.now).as_secs();
        pb::LeaseTimeToLiveResponse {
            ttl: i64::try_from(left).unwrap_or(i64::MAX),
            granted_ttl: lease.ttl,
            keys: if request.keys {
                lease.keys.iter().cloned().collect()
            } else {
                Vec::new()
            },
            ..reply
        }
    }

    /// Lists the leases, the next to end first.
    #[must_use]
    pub fn lease_leases(&self) -> pb::LeaseLeasesResponse {
        let ids = self.leases.by_deadline.iter();
        let leases = ids.map(|&(_, id)| pb::LeaseStatus { id }).collect();
        pb::LeaseLeasesResponse {
            header: self.header(),
            leases,
        }
    }

    /// When the next lease ends.
    pub(super) fn next_expiry(&self) -> Option<Duration> {
        let (deadline, _) = self.leases.by_deadline.first()?;
        Some(round_up(*deadline, self.options.expiry_checks))
    }

    /// Ends the leases whose time is up, if this is a time at which that is looked for.
    pub(super) fn end_due_leases(&mut self) {
        if self.next_expiry().is_none_or(|due| due > self.now) {
            return;
        }
        while let Some(&(deadline, id)) = self.leases.by_deadline.first()
            && deadline <= self.now
        {
            self.end_lease(id);
        }
    }

    pub(super) fn end_lease(&mut self, id: i64) {
        let Some(lease) = self.leases.remove(id) else {
            return;
        };
        let mut changes = Vec::new();
        self.delete_keys(lease.keys.into_iter().collect(), &mut changes);
        self.commit(changes);
    }
}

/// All leases.
#[derive(Clone, Debug, Default)]
pub(super) struct Leases {
    /// By hash, since nobody goes through them.
    by_id: HashMap<i64, Lease>,
    by_deadline: BTreeSet<(Duration, i64)>,
    last_id: i64,
}

#[derive(Clone, Debug)]
struct Lease {
    ttl: i64,
    deadline: Duration,
    keys: BTreeSet<Bytes>,
}

impl Leases {
    pub(super) fn contains(&self, id: i64) -> bool {
        self.by_id.contains_key(&id)
    }

    /// Gives every lease its whole time anew, and as much more.
    pub(super) fn extend(&mut self, now: Duration, more: Duration) {
        self.by_deadline.clear();
        for (id, lease) in &mut self.by_id {
            lease.deadline = now + seconds(lease.ttl) + more;
            self.by_deadline.insert((lease.deadline, *id));
        }
    }

    /// Attaches a key to another lease; 0 is none.
    pub(super) fn move_key(&mut self, key: &Bytes, from: i64, to: i64) {
        if from == to {
            return;
        }
        if let Some(lease) = self.by_id.get_mut(&from) {
            lease.keys.remove(key);
        }
        if let Some(lease) = self.by_id.get_mut(&to) {
            lease.keys.insert(key.clone());
        }
    }

    fn add(&mut self, id: i64, ttl: i64, now: Duration) {
        let deadline = now + seconds(ttl);
        self.by_id.insert(
            id,
            Lease {
                ttl,
                deadline,
                keys: BTreeSet::new(),
            },
        );
        self.by_deadline.insert((deadline, id));
    }

    fn is_due(&self, id: i64, now: Duration) -> bool {
        self.by_id
            .get(&id)
            .is_some_and(|lease| lease.deadline <= now)
    }

    fn renew(&mut self, id: i64, now: Duration) -> Option<i64> {
        let lease = self.by_id.get_mut(&id)?;
        self.by_deadline.remove(&(lease.deadline, id));
        lease.deadline = now + seconds(lease.ttl);
        self.by_deadline.insert((lease.deadline, id));
        Some(lease.ttl)
    }

    fn remove(&mut self, id: i64) -> Option<Lease> {
        let lease = self.by_id.remove(&id)?;
        self.by_deadline.remove(&(lease.deadline, id));
        Some(lease)
    }

    /// A number like etcd's: large, positive, and greater than those before, so that keys of locks sort as there.
    fn free_id(&mut self) -> i64 {
        loop {
            self.last_id += 1;
            let id = FIRST_ID + self.last_id;
            if !self.contains(id) {
                return id;
            }
        }
    }
}

/// The first multiple of a step that is no less.
pub(super) fn round_up(at: Duration, step: Duration) -> Duration {
    let over = at.as_nanos().checked_rem(step.as_nanos()).unwrap_or(0);
    match u64::try_from(over) {
        Ok(over) if over > 0 => at + step - Duration::from_nanos(over),
        _ => at,
    }
}

fn seconds(ttl: i64) -> Duration {
    Duration::from_secs(ttl.unsigned_abs())
}
