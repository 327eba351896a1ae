//! Conversions between the messages and the types of `etcd-lock-core`: requests one way, replies the other.
//!
//! A request always converts. A reply is what a server sent, and a server may send anything: what no etcd would say
//! becomes an error of kind `Protocol`.

mod kv;
mod lease;
mod lock;
mod watch;

use etcd_lock_core::{Error, ErrorKind, LeaseId, ResponseHeader, Result, Revision};

use crate::etcdserverpb as pb;

impl TryFrom<pb::ResponseHeader> for ResponseHeader {
    type Error = Error;

    fn try_from(header: pb::ResponseHeader) -> Result<Self> {
        let pb::ResponseHeader {
            cluster_id,
            member_id,
            revision: at,
            raft_term,
        } = header;
        Ok(Self::new(cluster_id, member_id, revision(at)?, raft_term))
    }
}

fn header(header: Option<pb::ResponseHeader>) -> Result<ResponseHeader> {
    header
        .ok_or_else(|| odd("a reply without a header"))?
        .try_into()
}

/// Replies inside a transaction may come without a header, and on some servers do.
fn inner_header(header: Option<pb::ResponseHeader>) -> Result<ResponseHeader> {
    header.map_or_else(|| Ok(ResponseHeader::default()), TryFrom::try_from)
}

fn revision(revision: i64) -> Result<Revision> {
    Revision::new(revision)
        .map_err(|error| odd("a reply with a negative revision").with_source(error))
}

fn lease_id(id: i64) -> Result<LeaseId> {
    LeaseId::new(id).map_err(|error| odd("a reply with an impossible lease").with_source(error))
}

fn count(count: i64) -> Result<u64> {
    u64::try_from(count).map_err(|_| odd("a reply with a negative count"))
}

fn odd(what: &str) -> Error {
    Error::new(
        ErrorKind::Protocol,
        format!("the server sent {what}: is it an etcd?"),
    )
}
