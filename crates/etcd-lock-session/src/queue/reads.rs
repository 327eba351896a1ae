//! Transactions that only read, on an etcd whose database is full.
//!
//! Such an etcd may refuse any transaction, by the size of the member's own file. It answers plain reads, which is how holds
//! are confirmed then.

use etcd_lock_core::kv::{Op, OpResponse, RangeRequest, TxnRequest, TxnResponse};
use etcd_lock_core::{CallOptions, Error, ErrorKind, ResponseHeader, Result, Transport};

/// Sends a transaction. If etcd refuses it because it has no room, and it only reads, its reads are sent one by one.
pub(super) async fn send(
    transport: &dyn Transport,
    txn: impl Fn() -> TxnRequest,
    call: CallOptions,
) -> Result<TxnResponse> {
    let result = transport.txn(txn(), call).await;
    if result.as_ref().is_err_and(is_without_room)
        && let Some(reads) = reads_of(txn())
    {
        return one_by_one(transport, reads, call).await;
    }
    result
}

fn reads_of(txn: TxnRequest) -> Option<Vec<RangeRequest>> {
    if !txn.compare.is_empty() {
        return None;
    }
    let reads = txn.success.into_iter().map(|op| match op {
        Op::Range(read) => Some(read),
        _ => None,
    });
    reads.collect()
}

fn is_without_room(error: &Error) -> bool {
    says(error, "database space exceeded")
}

fn says(error: &Error, text: &str) -> bool {
    error.server_text().is_some_and(|said| said.contains(text))
}

/// All as of the revision of the first, so that they show one state of the store as a transaction does.
async fn one_by_one(
    transport: &dyn Transport,
    reads: Vec<RangeRequest>,
    call: CallOptions,
) -> Result<TxnResponse> {
    let mut header: Option<ResponseHeader> = None;
    let mut responses = Vec::with_capacity(reads.len());
    for read in reads {
        let read = match &header {
            None => read,
            Some(first) => read.at_revision(first.revision),
        };
        let reply = transport.range(read, call).await.map_err(may_be_repeated)?;
        header.get_or_insert(reply.header);
        responses.push(OpResponse::Range(reply));
    }
    Ok(TxnResponse::new(
        header.unwrap_or_default(),
        true,
        responses,
    ))
}

/// A member that is behind does not have the revision yet, and after a compaction none has it. Later reads are of another.
fn may_be_repeated(error: Error) -> Error {
    if !says(&error, "required revision") {
        return error;
    }
    let message = "no state of the store could be read as a whole";
    Error::new(ErrorKind::Unavailable, message).with_source(error)
}
