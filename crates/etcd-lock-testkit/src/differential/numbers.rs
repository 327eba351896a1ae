//! The numbers of a sequence: as symbols where it is made up, as the model has them, and as etcd has them.
//!
//! | what | symbol | model | etcd |
//! | --- | --- | --- | --- |
//! | revision | 0 and below: itself; 1, 2, 3…: three ahead of now, two, one, now, one back… | as numbered | plus an offset |
//! | lease of our own number | 1 to 9 | `OWN` and up | the same |
//! | lease that the server numbered | `PICKED` and up, in order | as numbered | as numbered |
//! | ids in headers | | the model's | its own |

use bytes::Bytes;
use etcd_lock_memory::model::Model;
use etcd_lock_proto::etcdserverpb as pb;

use super::mapping::Mapper;

/// How far ahead of now the first symbol of a revision is.
pub(super) const AHEAD: i64 = 4;
/// Our own leases. In hex they sort behind those that an etcd numbers, which fill up to 63 bits.
pub(super) const OWN: i64 = 0xf_fff0;
/// The first symbol of a lease that the server numbered.
pub(super) const PICKED: i64 = 100;

/// The meaning of numbers in the sequence under way.
#[derive(Debug, Default)]
pub(super) struct Numbers {
    /// From the model's revisions to etcd's.
    pub(super) offset: i64,
    /// The numbers that etcd puts into every header.
    pub(super) etcd: pb::ResponseHeader,
    /// The leases that both have numbered, the model's numbers first.
    pub(super) picked: Vec<(i64, i64)>,
}

/// From symbols to the model's numbers.
#[derive(Debug)]
pub(super) struct FromSymbols<'a> {
    pub(super) numbers: &'a Numbers,
    pub(super) revision: i64,
}

impl Mapper for FromSymbols<'_> {
    fn revision(&self, revision: &mut i64) {
        if (1..i64::from(u8::MAX)).contains(revision) {
            *revision = (self.revision + AHEAD - *revision).max(0);
        }
    }

    fn lease(&self, lease: &mut i64) {
        if (1..10).contains(lease) {
            *lease += OWN;
        } else if let Ok(index) = usize::try_from(*lease - PICKED)
            && let Some((picked, _)) = self.numbers.picked.get(index)
        {
            *lease = *picked;
        }
    }
}

/// From the model's numbers to etcd's.
#[derive(Debug)]
pub(super) struct ToEtcd<'a>(pub(super) &'a Numbers);

impl Mapper for ToEtcd<'_> {
    fn revision(&self, revision: &mut i64) {
        if *revision > 0 {
            *revision = revision.saturating_add(self.0.offset);
        }
    }

    fn lease(&self, lease: &mut i64) {
        if let Some((_, etcd)) = self.0.picked.iter().find(|(model, _)| model == lease) {
            *lease = *etcd;
        }
    }
}

/// From etcd's numbers to the model's.
#[derive(Debug)]
pub(super) struct FromEtcd<'a>(pub(super) &'a Numbers);

impl Mapper for FromEtcd<'_> {
    fn revision(&self, revision: &mut i64) {
        if *revision > 0 {
            *revision -= self.0.offset;
        }
    }

    fn lease(&self, lease: &mut i64) {
        if let Some((model, _)) = self.0.picked.iter().find(|(_, etcd)| etcd == lease) {
            *lease = *model;
        }
    }

    /// A lock's key ends with its lease.
    fn key(&self, key: &mut Bytes) {
        for (model, etcd) in &self.0.picked {
            let end = format!("/{etcd:x}");
            if let Some(start) = key.strip_suffix(end.as_bytes()) {
                *key = [start, format!("/{model:x}").as_bytes()].concat().into();
                return;
            }
        }
    }

    /// Those of a transaction's operations have no ids.
    fn header(&self, header: &mut pb::ResponseHeader) {
        let ids =
            |header: &pb::ResponseHeader| (header.cluster_id, header.member_id, header.raft_term);
        if ids(header) == ids(&self.0.etcd) {
            header.cluster_id = Model::CLUSTER_ID;
            header.member_id = Model::MEMBER_ID;
            header.raft_term = Model::RAFT_TERM;
        }
    }
}
