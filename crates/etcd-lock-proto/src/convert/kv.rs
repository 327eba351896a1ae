//! Ranges and transactions.

use etcd_lock_core::kv::{
    Compare, CompareOp, CompareTarget, DeleteRequest, KeyValue, Op, OpResponse, PutRequest,
    RangeRequest, RangeResponse, SortOrder, SortTarget, TxnRequest, TxnResponse,
};
use etcd_lock_core::{Error, ErrorKind, LeaseId, ResponseHeader, Result};

use super::{count, header, inner_header, odd, revision};
use crate::etcdserverpb as pb;
use crate::mvccpb;
use pb::compare::{CompareResult, CompareTarget as Target, TargetUnion};
use pb::range_request::{SortOrder as Order, SortTarget as Sort};
use pb::request_op::Request;
use pb::response_op::Response;

impl From<RangeRequest> for pb::RangeRequest {
    fn from(request: RangeRequest) -> Self {
        let (target, order) = match request.sort {
            Some((target, order)) => (sort_target(target), sort_order(order)),
            None => (Sort::Key, Order::None),
        };
        Self {
            key: request.key,
            range_end: request.range_end,
            limit: request.limit.into(),
            revision: request.revision.map_or(0, |at| at.get()),
            sort_order: order.into(),
            sort_target: target.into(),
            serializable: request.serializable,
            keys_only: request.keys_only,
            count_only: request.count_only,
            max_create_revision: request.max_create_revision.map_or(0, |at| at.get()),
            ..Self::default()
        }
    }
}

impl TryFrom<pb::RangeResponse> for RangeResponse {
    type Error = Error;

    fn try_from(reply: pb::RangeResponse) -> Result<Self> {
        let header = header(reply.header)?;
        Ok(Self::new(
            header,
            kvs(reply.kvs)?,
            reply.more,
            count(reply.count)?,
        ))
    }
}

/// Fails for what this version doesn't know: left out, a condition would no longer guard its writes.
impl TryFrom<TxnRequest> for pb::TxnRequest {
    type Error = Error;

    fn try_from(request: TxnRequest) -> Result<Self> {
        let ops = |ops: Vec<Op>| ops.into_iter().map(request_op).collect::<Result<_>>();
        let compare = request.compare.into_iter().map(compare);
        Ok(Self {
            compare: compare.collect::<Result<_>>()?,
            success: ops(request.success)?,
            failure: ops(request.failure)?,
        })
    }
}

impl TryFrom<pb::TxnResponse> for TxnResponse {
    type Error = Error;

    fn try_from(reply: pb::TxnResponse) -> Result<Self> {
        let header = header(reply.header)?;
        txn_response(header, reply.succeeded, reply.responses)
    }
}

impl TryFrom<mvccpb::KeyValue> for KeyValue {
    type Error = Error;

    fn try_from(kv: mvccpb::KeyValue) -> Result<Self> {
        let mut converted = Self::new(kv.key, kv.value);
        converted.create_revision = revision(kv.create_revision)?;
        converted.mod_revision = revision(kv.mod_revision)?;
        converted.version = kv.version;
        converted.lease = LeaseId::of_stored_key(kv.lease);
        Ok(converted)
    }
}

const fn sort_target(target: SortTarget) -> Sort {
    match target {
        SortTarget::CreateRevision => Sort::Create,
        SortTarget::Key => Sort::Key,
        SortTarget::ModRevision => Sort::Mod,
        SortTarget::Value => Sort::Value,
        SortTarget::Version => Sort::Version,
    }
}

const fn sort_order(order: SortOrder) -> Order {
    match order {
        SortOrder::Ascending => Order::Ascend,
        SortOrder::Descending => Order::Descend,
    }
}

fn compare(compare: Compare) -> Result<pb::Compare> {
    let result = match compare.op {
        CompareOp::Equal => CompareResult::Equal,
        CompareOp::Greater => CompareResult::Greater,
        CompareOp::Less => CompareResult::Less,
        CompareOp::NotEqual => CompareResult::NotEqual,
    };
    let (target, union) = match compare.target {
        CompareTarget::CreateRevision(at) => {
            (Target::Create, TargetUnion::CreateRevision(at.get()))
        }
        CompareTarget::ModRevision(at) => (Target::Mod, TargetUnion::ModRevision(at.get())),
        CompareTarget::Value(value) => (Target::Value, TargetUnion::Value(value)),
        CompareTarget::Version(version) => (Target::Version, TargetUnion::Version(version)),
        CompareTarget::Lease(lease) => (Target::Lease, TargetUnion::Lease(number(lease))),
        other => return Err(unknown(&other)),
    };
    Ok(pb::Compare {
        result: result.into(),
        target: target.into(),
        key: compare.key,
        target_union: Some(union),
        ..pb::Compare::default()
    })
}

fn request_op(op: Op) -> Result<pb::RequestOp> {
    let request = match op {
        Op::Delete(request) => Request::RequestDeleteRange(delete(request)),
        Op::Put(request) => Request::RequestPut(put(request)),
        Op::Range(request) => Request::RequestRange(request.into()),
        Op::Txn(request) => Request::RequestTxn(request.try_into()?),
        other => return Err(unknown(&other)),
    };
    let request = Some(request);
    Ok(pb::RequestOp { request })
}

fn unknown(part: &dyn std::fmt::Debug) -> Error {
    Error::new(
        ErrorKind::Unsupported,
        format!("this version can't send {part:?} in a transaction"),
    )
}

fn put(request: PutRequest) -> pb::PutRequest {
    pb::PutRequest {
        key: request.key,
        value: request.value,
        lease: number(request.lease),
        prev_kv: request.prev_kv,
        ..pb::PutRequest::default()
    }
}

/// etcd writes 0 for no lease.
fn number(lease: Option<LeaseId>) -> i64 {
    lease.map_or(0, LeaseId::get)
}

fn delete(request: DeleteRequest) -> pb::DeleteRangeRequest {
    let DeleteRequest {
        key,
        range_end,
        prev_kv,
        ..
    } = request;
    pb::DeleteRangeRequest {
        key,
        range_end,
        prev_kv,
    }
}

fn txn_response(
    header: ResponseHeader,
    succeeded: bool,
    responses: Vec<pb::ResponseOp>,
) -> Result<TxnResponse> {
    let responses = responses
        .into_iter()
        .map(response_op)
        .collect::<Result<_>>()?;
    Ok(TxnResponse::new(header, succeeded, responses))
}

fn response_op(op: pb::ResponseOp) -> Result<OpResponse> {
    match op.response {
        Some(Response::ResponseRange(reply)) => {
            let header = inner_header(reply.header)?;
            let kvs = kvs(reply.kvs)?;
            Ok(OpResponse::Range(RangeResponse::new(
                header,
                kvs,
                reply.more,
                count(reply.count)?,
            )))
        }
        Some(Response::ResponsePut(reply)) => Ok(OpResponse::Put {
            prev_kv: reply.prev_kv.map(TryFrom::try_from).transpose()?,
        }),
        Some(Response::ResponseDeleteRange(reply)) => Ok(OpResponse::Delete {
            deleted: count(reply.deleted)?,
            prev_kvs: kvs(reply.prev_kvs)?,
        }),
        Some(Response::ResponseTxn(reply)) => {
            let header = inner_header(reply.header)?;
            let reply = txn_response(header, reply.succeeded, reply.responses)?;
            Ok(OpResponse::Txn(reply))
        }
        None => Err(odd("an answer to an operation without an answer in it")),
    }
}

fn kvs(kvs: Vec<mvccpb::KeyValue>) -> Result<Vec<KeyValue>> {
    kvs.into_iter().map(TryFrom::try_from).collect()
}

#[cfg(test)]
mod tests {
    use etcd_lock_core::Revision;

    use super::*;

    #[test]
    fn a_request_keeps_everything() {
        let at = Revision::new(7).unwrap();
        let request = RangeRequest::prefix("a/")
            .with_limit(3)
            .sorted_by(SortTarget::CreateRevision, SortOrder::Descending)
            .with_max_create_revision(at)
            .keys_only();
        let message = pb::RangeRequest::from(request);
        assert_eq!(
            (&*message.key, &*message.range_end),
            (&b"a/"[..], &b"a0"[..])
        );
        assert_eq!((message.limit, message.max_create_revision), (3, 7));
        assert_eq!(
            (message.sort_target(), message.sort_order()),
            (Sort::Create, Order::Descend)
        );
        assert!(message.keys_only && !message.count_only && !message.serializable);
    }

    #[test]
    fn what_no_etcd_says_is_an_error() {
        let header = Some(pb::ResponseHeader {
            revision: 3,
            ..pb::ResponseHeader::default()
        });
        let negative = mvccpb::KeyValue {
            create_revision: -1,
            ..mvccpb::KeyValue::default()
        };
        let replies = [
            pb::RangeResponse::default(),
            pb::RangeResponse {
                header,
                count: -1,
                ..pb::RangeResponse::default()
            },
            pb::RangeResponse {
                header,
                kvs: vec![negative],
                ..pb::RangeResponse::default()
            },
        ];
        for reply in replies {
            let error = RangeResponse::try_from(reply).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Protocol);
        }
        let empty = vec![pb::ResponseOp::default()];
        let reply = pb::TxnResponse {
            header,
            succeeded: true,
            responses: empty,
        };
        assert_eq!(
            TxnResponse::try_from(reply).unwrap_err().kind(),
            ErrorKind::Protocol
        );
    }
}
