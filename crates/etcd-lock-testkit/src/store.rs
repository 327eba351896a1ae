//! Keys and transactions without ceremony: what must work panics when it doesn't.

use bytes::Bytes;
use etcd_lock_core::kv::{
    DeleteRequest, KeyValue, Op, OpResponse, PutRequest, RangeRequest, RangeResponse, TxnRequest,
    TxnResponse,
};
use etcd_lock_core::{CallOptions, Client, Error, Result, Revision};

use crate::test_context::PATIENCE;

/// Options with a generous timeout.
#[must_use]
pub fn options() -> CallOptions {
    CallOptions::new(PATIENCE.into())
}

/// Reads.
///
/// # Panics
/// When that fails.
pub async fn range(client: &Client, request: RangeRequest) -> RangeResponse {
    client.transport().range(request, options()).await.unwrap()
}

/// Reads, and must be refused.
///
/// # Panics
/// When it isn't.
pub async fn range_refused(client: &Client, request: RangeRequest) -> Error {
    let refused = client.transport().range(request, options()).await;
    refused.unwrap_err()
}

/// One key, where it exists.
pub async fn get(client: &Client, key: impl Into<Bytes>) -> Option<KeyValue> {
    range(client, RangeRequest::key(key)).await.kvs.pop()
}

/// Runs a transaction.
///
/// # Errors
/// As the transport says.
pub async fn try_txn(client: &Client, request: TxnRequest) -> Result<TxnResponse> {
    client.transport().txn(request, options()).await
}

/// Runs a transaction that must work.
///
/// # Panics
/// When it doesn't.
pub async fn txn(client: &Client, request: TxnRequest) -> TxnResponse {
    try_txn(client, request).await.unwrap()
}

/// Runs a transaction that must be refused.
///
/// # Panics
/// When it isn't.
pub async fn txn_refused(client: &Client, request: TxnRequest) -> Error {
    try_txn(client, request).await.unwrap_err()
}

/// Runs one operation, and returns what it answered and the revision at which it did.
pub async fn run(client: &Client, op: impl Into<Op>) -> (OpResponse, Revision) {
    let mut reply = txn(client, TxnRequest::new().and_then(op)).await;
    (reply.responses.remove(0), reply.header.revision)
}

/// Writes a key, and returns the revision of that.
pub async fn put(client: &Client, key: &str, value: &str) -> Revision {
    let request = PutRequest::new(key.to_owned(), value.to_owned());
    run(client, request).await.1
}

/// Deletes a key, and returns the revision of that.
pub async fn delete(client: &Client, key: impl Into<Bytes>) -> Revision {
    run(client, DeleteRequest::key(key)).await.1
}

/// The keys as text, in the order in which they came.
#[must_use]
pub fn keys(kvs: &[KeyValue]) -> Vec<String> {
    kvs.iter()
        .map(|kv| String::from_utf8_lossy(&kv.key).into_owned())
        .collect()
}
