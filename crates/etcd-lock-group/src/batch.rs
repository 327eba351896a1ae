//! One request with the transactions of several callers.

use etcd_lock_core::kv::{Op, OpResponse, TxnRequest, TxnResponse};
use etcd_lock_core::{Error, ErrorKind, ResponseHeader, Result};

use crate::access::Access;

/// What fits into one request. etcd tells its limits only by refusing, so they are lowered by what it refuses.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    /// Operations, counted as etcd does: the longest list of the outer transaction and that of the longest nested one together.
    ops: usize,
    bytes: usize,
}

impl Default for Limits {
    /// etcd's own defaults (`--max-txn-ops`, and a third of `--max-request-bytes`).
    fn default() -> Self {
        Self {
            ops: 128,
            bytes: 512 * 1024,
        }
    }
}

/// How many values may be in a reply: each may have as many bytes as etcd takes in a request, 1.5 MiB, and a transport takes
/// replies of 64 MiB.
const MAX_VALUES: usize = 40;

/// The size of a request.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Size {
    members: usize,
    permissions: usize,
    nested_ops: usize,
    bytes: usize,
    values: usize,
}

impl Size {
    /// The size with one more transaction.
    pub(crate) fn plus(self, access: &Access) -> Self {
        Self {
            members: self.members + 1,
            permissions: self.permissions + access.permissions.len(),
            nested_ops: self.nested_ops.max(access.ops),
            bytes: self.bytes + access.bytes * 2,
            values: self.values + access.values,
        }
    }

    fn ops(self) -> usize {
        self.members.max(self.permissions) + self.nested_ops
    }
}

impl Limits {
    /// Whether a request of this size is within them.
    pub(crate) fn allow(self, size: Size) -> bool {
        size.ops() <= self.ops && size.bytes <= self.bytes && size.values <= MAX_VALUES
    }

    /// Learns from a refusal of several transactions in one request.
    pub(crate) fn learn(&mut self, size: Size, why: &Error) {
        match why.server_text().unwrap_or_default() {
            text if text.contains("too many operations") => self.ops = size.ops() / 2,
            text if text.contains("too large") => self.bytes = size.bytes / 2,
            _ => {}
        }
    }
}

/// The outer transaction. It has no comparison, so that the first branch is always taken; the other one has etcd check the
/// permissions of what is nested in the first.
pub(crate) fn outer<'a>(members: impl Iterator<Item = (&'a TxnRequest, &'a Access)>) -> TxnRequest {
    let mut outer = TxnRequest::new();
    for (txn, access) in members {
        outer.success.push(Op::Txn(txn.clone()));
        outer.failure.extend_from_slice(&access.permissions);
    }
    outer
}

/// Whether a request that was refused with this error was refused because of one of its transactions: sent by themselves,
/// the others may be executed.
pub(crate) fn is_fault_of_one(error: &Error) -> bool {
    let kind = error.kind();
    !error.is_outcome_unknown()
        && matches!(
            kind,
            ErrorKind::LeaseNotFound
                | ErrorKind::PermissionDenied
                | ErrorKind::InvalidArgument
                | ErrorKind::ResourceExhausted
        )
}

/// The replies of the nested transactions, in order.
///
/// # Errors
/// `Protocol`, with unknown outcome, where there are not as many as were asked for.
pub(crate) fn replies(reply: TxnResponse, members: usize) -> Result<Vec<OpResponse>> {
    if !reply.succeeded || reply.responses.len() != members {
        return Err(odd());
    }
    Ok(reply.responses)
}

/// The reply of a nested transaction, as if it had been sent alone.
///
/// # Errors
/// `Protocol`, with unknown outcome, where it does not answer this transaction.
pub(crate) fn unpack(
    reply: OpResponse,
    header: ResponseHeader,
    txn: &TxnRequest,
) -> Result<TxnResponse> {
    let OpResponse::Txn(mut reply) = reply else {
        return Err(odd());
    };
    let branch = match reply.succeeded {
        true => &txn.success,
        false => &txn.failure,
    };
    let is_complete = branch.len() == reply.responses.len();
    let mut pairs = branch.iter().zip(&reply.responses);
    if !is_complete || !pairs.all(|(op, reply)| answers(op, reply)) {
        return Err(odd());
    }
    reply.header = header;
    Ok(reply)
}

fn answers(op: &Op, reply: &OpResponse) -> bool {
    matches!(
        (op, reply),
        (Op::Delete(_), OpResponse::Delete { .. })
            | (Op::Put(_), OpResponse::Put { .. })
            | (Op::Range(_), OpResponse::Range(_))
    )
}

fn odd() -> Error {
    let text = "the server's reply does not answer the transactions that were sent together";
    Error::new(ErrorKind::Protocol, text).with_outcome_unknown()
}
