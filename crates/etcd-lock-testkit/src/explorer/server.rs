//! The server of the explorer: the keys of one queue, their leases, and the transactions that the machine sends.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use etcd_lock_core::kv::{
    Compare, CompareTarget, KeyValue, Op, OpResponse, RangeRequest, RangeResponse, TxnRequest,
    TxnResponse,
};
use etcd_lock_core::{LeaseId, LockKey, ResponseHeader, Revision};
use etcd_lock_queue::EntryId;

/// A store that has queue entries only.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub(super) struct Server {
    revision: i64,
    keys: BTreeMap<Bytes, Stored>,
    ended: BTreeSet<LeaseId>,
}

#[derive(Clone, Debug, Eq, Hash, PartialEq)]
struct Stored {
    created: i64,
    value: Bytes,
    lease: Option<LeaseId>,
}

/// A deletion, for the watches.
#[derive(Clone, Debug)]
pub(super) struct Deletion {
    pub(super) entry: EntryId,
    pub(super) revision: Revision,
}

/// A put named a lease that has ended.
#[derive(Clone, Copy, Debug)]
pub(super) struct LeaseNotFound;

impl Server {
    pub(super) const fn new() -> Self {
        Self {
            revision: 1,
            keys: BTreeMap::new(),
            ended: BTreeSet::new(),
        }
    }

    pub(super) fn revision(&self) -> Revision {
        number(self.revision)
    }

    /// The live entries, the oldest first.
    pub(super) fn entries(&self) -> BTreeSet<EntryId> {
        let keys = self.keys.iter();
        keys.filter_map(|(key, stored)| entry(key, stored))
            .collect()
    }

    pub(super) fn is_live(&self, entry: &EntryId) -> bool {
        let stored = self.keys.get(entry.key.as_bytes());
        stored.is_some_and(|stored| number(stored.created) == entry.created)
    }

    pub(super) fn has_lease(&self, lease: LeaseId) -> bool {
        !self.ended.contains(&lease)
    }

    /// Executes a transaction, and returns what it deleted along with the answer.
    pub(super) fn execute(
        &mut self,
        txn: &TxnRequest,
    ) -> Result<(TxnResponse, Vec<Deletion>), LeaseNotFound> {
        let succeeded = txn.compare.iter().all(|compare| self.holds(compare));
        let ops = if succeeded {
            &txn.success
        } else {
            &txn.failure
        };
        let puts = ops.iter().filter_map(|op| match op {
            Op::Put(put) => put.lease,
            _ => None,
        });
        if puts.into_iter().any(|lease| !self.has_lease(lease)) {
            return Err(LeaseNotFound);
        }
        let mut deletions = Vec::new();
        let responses = ops.iter().map(|op| self.apply(op, &mut deletions));
        let responses = responses.collect();
        let header = ResponseHeader::new(1, 1, self.revision(), 1);
        Ok((TxnResponse::new(header, succeeded, responses), deletions))
    }

    /// Creates the entry of a stranger, unless there is one of that key.
    pub(super) fn put(
        &mut self,
        key: &LockKey,
        value: Bytes,
        lease: Option<LeaseId>,
    ) -> Option<EntryId> {
        if self.has(key) || lease.is_some_and(|lease| !self.has_lease(lease)) {
            return None;
        }
        self.revision += 1;
        let created = self.revision;
        let stored = Stored {
            created,
            value,
            lease,
        };
        self.keys.insert(key.as_bytes().clone(), stored);
        Some(EntryId::new(key.clone(), number(created)))
    }

    pub(super) fn has(&self, key: &LockKey) -> bool {
        self.keys.contains_key(key.as_bytes())
    }

    pub(super) fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }

    /// Deletes an entry, whoever's it is.
    pub(super) fn delete(&mut self, key: &LockKey) -> Vec<Deletion> {
        let mut deletions = Vec::new();
        self.remove(key.as_bytes(), &mut deletions);
        deletions
    }

    pub(super) fn end_lease(&mut self, lease: LeaseId) -> Vec<Deletion> {
        self.ended.insert(lease);
        let keys = self.keys.iter();
        let attached = keys.filter(|(_, stored)| stored.lease == Some(lease));
        let attached: Vec<_> = attached.map(|(key, _)| key.clone()).collect();
        let mut deletions = Vec::new();
        for key in attached {
            self.remove(&key, &mut deletions);
        }
        deletions
    }

    fn holds(&self, compare: &Compare) -> bool {
        let created = self
            .keys
            .get(&compare.key)
            .map_or(0, |stored| stored.created);
        match compare.target {
            CompareTarget::CreateRevision(revision) => number(created) == revision,
            _ => unreachable!("the machine compares create revisions only: {compare:?}"),
        }
    }

    fn apply(&mut self, op: &Op, deletions: &mut Vec<Deletion>) -> OpResponse {
        match op {
            Op::Put(put) => {
                self.revision += 1;
                let stored = Stored {
                    created: self.revision,
                    value: put.value.clone(),
                    lease: put.lease,
                };
                let prev = self.keys.insert(put.key.clone(), stored);
                assert!(prev.is_none(), "the machine never writes an entry twice");
                OpResponse::Put { prev_kv: None }
            }
            Op::Delete(delete) => {
                assert!(delete.range_end.is_empty(), "the machine deletes one key");
                self.remove(&delete.key, deletions);
                OpResponse::Delete {
                    deleted: 1,
                    prev_kvs: Vec::new(),
                }
            }
            Op::Range(range) => OpResponse::Range(self.range(range)),
            _ => unreachable!("the machine knows no other operation: {op:?}"),
        }
    }

    fn remove(&mut self, key: &Bytes, deletions: &mut Vec<Deletion>) {
        let Some(stored) = self.keys.remove(key) else {
            return;
        };
        self.revision += 1;
        let revision = self.revision();
        let entry = entry(key, &stored);
        deletions.extend(entry.map(|entry| Deletion { entry, revision }));
    }

    fn range(&self, range: &RangeRequest) -> RangeResponse {
        let is_meant = |key: &Bytes| match &range.range_end {
            end if end.is_empty() => *key == range.key,
            end => *key >= range.key && key < end,
        };
        let keys = self.keys.iter().filter(|(key, _)| is_meant(key));
        let mut kvs: Vec<_> = keys.map(|(key, stored)| kv(key, stored)).collect();
        let count = kvs.len() as u64;
        if let Some(max) = range.max_create_revision {
            kvs.retain(|kv| kv.create_revision <= max);
        }
        if range.sort.is_some() {
            kvs.sort_by_key(|kv| std::cmp::Reverse(kv.create_revision));
        }
        let limit = match range.limit {
            0 => kvs.len(),
            limit => limit as usize,
        };
        let more = kvs.len() > limit;
        kvs.truncate(limit);
        RangeResponse::new(ResponseHeader::default(), kvs, more, count)
    }
}

fn kv(key: &Bytes, stored: &Stored) -> KeyValue {
    let mut kv = KeyValue::new(key.clone(), stored.value.clone());
    kv.create_revision = number(stored.created);
    kv
}

fn entry(key: &Bytes, stored: &Stored) -> Option<EntryId> {
    let key = LockKey::new(key.clone()).ok()?;
    Some(EntryId::new(key, number(stored.created)))
}

fn number(revision: i64) -> Revision {
    Revision::new(revision).expect("revisions count up")
}

#[cfg(test)]
mod tests {
    use etcd_lock_core::lease::LeaseGrantRequest;
    use etcd_lock_core::{CallOptions, ErrorKind, Transport, Ttl};
    use etcd_lock_memory::MemoryEtcd;
    use etcd_lock_queue::{Nonce, Request};
    use proptest::prelude::*;

    use super::super::lock_name;
    use super::*;

    fn lease(number: i64) -> LeaseId {
        LeaseId::new(number).unwrap()
    }

    /// A request of the machine, or the end of a lease.
    fn requests() -> impl Strategy<Value = Option<Request>> {
        let session = (1..4_i64).prop_map(lease);
        // 0 is no bound to etcd, and no entry was created then.
        let revision = (1..12_i64).prop_map(number);
        prop_oneof![
            (session.clone(), any::<bool>()).prop_map(|(session, reads_newest)| {
                let nonce = Nonce::new(session.get().unsigned_abs());
                Some(Request::Enter {
                    session,
                    nonce,
                    reads_newest,
                })
            }),
            (session.clone(), revision.clone())
                .prop_map(|(session, created)| Some(Request::Delete { session, created })),
            revision.prop_map(|up_to| Some(Request::Snapshot { up_to })),
            session.clone().prop_map(|session| {
                let keys = vec![lock_name().key(session), lock_name().key(lease(1))];
                Some(Request::Check { keys })
            }),
            session.prop_map(|session| Some(Request::Others { session })),
            Just(None),
        ]
    }

    async fn compare(requests: Vec<Option<Request>>) {
        let (mut server, etcd, name) = (Server::new(), MemoryEtcd::new(), lock_name());
        for number in 1..4 {
            let ttl = Ttl::from_secs(60).unwrap();
            let grant = LeaseGrantRequest::new(ttl).with_id(lease(number));
            etcd.lease_grant(grant, CallOptions::default())
                .await
                .unwrap();
        }
        for request in requests {
            let Some(request) = request else {
                server.end_lease(lease(3));
                etcd.expire_lease(lease(3));
                continue;
            };
            let txn = request.txn(&name, b"owner");
            let theirs = etcd.txn(txn.clone(), CallOptions::default()).await;
            match (server.execute(&txn), theirs) {
                (Ok((ours, _)), Ok(theirs)) => {
                    let ours = request.reply(&name, &ours);
                    assert!(ours.is_some());
                    assert_eq!(ours, request.reply(&name, &theirs), "{request:?}");
                }
                (Err(LeaseNotFound), Err(error)) => {
                    assert_eq!(error.kind(), ErrorKind::LeaseNotFound);
                }
                differ => panic!("{request:?}: {differ:?}"),
            }
        }
    }

    proptest! {
        #[test]
        fn it_answers_the_machine_as_the_in_memory_etcd_does(
            requests in proptest::collection::vec(requests(), 1..40),
        ) {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_time()
                .start_paused(true)
                .build()
                .unwrap();
            runtime.block_on(compare(requests));
        }
    }
}
