//! Transactions: etcd's `KV.Txn`.

use std::collections::BTreeSet;

use bytes::Bytes;
use etcd_lock_proto::etcdserverpb as pb;
use pb::request_op::Request;
use pb::response_op::Response;

use super::history::{Change, History, KeyRange};
use super::{Model, compare, kv, range};
use crate::Status;

impl Model {
    /// Compares, then does one of two lists of operations, at one revision.
    ///
    /// # Errors
    /// For empty keys and operations, too many of them, a key that is written twice, a request that is too large, and
    /// what the operations of the branch taken are refused for: then none of them is done.
    pub fn txn(&mut self, request: &pb::TxnRequest) -> Result<pb::TxnResponse, Status> {
        check(request, self.options.max_txn_ops)?;
        check_once(&request.success)?;
        check_once(&request.failure)?;
        if !only_reads(request) {
            kv::check_size(request)?;
        }
        let path = path(&self.history, request);
        let mut taken = Vec::new();
        branches(request, &mut path.iter().copied(), &mut taken);
        self.check_now(&taken)?;
        let mut changes = Vec::new();
        let mut reply = self.apply(request, &mut path.iter().copied(), &mut changes);
        self.commit(changes);
        reply.header = self.header();
        Ok(reply)
    }

    /// Checks the operations of the branches taken against the state: all puts before all reads (`checkRequests` in etcd's
    /// `apply.go`).
    fn check_now(&self, taken: &[&Request]) -> Result<(), Status> {
        for op in taken {
            if let Request::RequestPut(put) = op {
                self.check_ignored(put)?;
                self.check_lease(put)?;
            }
        }
        for op in taken {
            if let Request::RequestRange(read) = op {
                range::check_revision(&self.history, read)?;
            }
        }
        Ok(())
    }

    fn apply(
        &mut self,
        request: &pb::TxnRequest,
        path: &mut dyn Iterator<Item = bool>,
        changes: &mut Vec<Change>,
    ) -> pb::TxnResponse {
        let succeeded = path.next().unwrap_or(false);
        let ops = if succeeded {
            &request.success
        } else {
            &request.failure
        };
        let responses = ops
            .iter()
            .map(|op| self.apply_op(op, path, changes))
            .collect();
        // Inside a transaction headers have no revision of their own, but for those of single operations.
        pb::TxnResponse {
            header: Some(pb::ResponseHeader::default()),
            succeeded,
            responses,
        }
    }

    fn apply_op(
        &mut self,
        op: &pb::RequestOp,
        path: &mut dyn Iterator<Item = bool>,
        changes: &mut Vec<Change>,
    ) -> pb::ResponseOp {
        let response = match &op.request {
            Some(Request::RequestRange(request)) => {
                let current = self.revision_within(changes);
                let mut reply = range::read(&self.history, request, current);
                reply.header = inner(current);
                Some(Response::ResponseRange(reply))
            }
            Some(Request::RequestPut(request)) => {
                let mut reply = self.apply_put(request, changes);
                reply.header = inner(self.revision_within(changes));
                Some(Response::ResponsePut(reply))
            }
            Some(Request::RequestDeleteRange(request)) => {
                let mut reply = self.apply_delete(request, changes);
                reply.header = inner(self.revision_within(changes));
                Some(Response::ResponseDeleteRange(reply))
            }
            Some(Request::RequestTxn(request)) => {
                Some(Response::ResponseTxn(self.apply(request, path, changes)))
            }
            None => None,
        };
        pb::ResponseOp { response }
    }

    /// The revision that a transaction has come to: it goes up with the first change.
    fn revision_within(&self, changes: &[Change]) -> i64 {
        self.history.revision() + i64::from(!changes.is_empty())
    }
}

/// Which branch is taken, of the transaction and of those nested in the branches taken, in order: decided before
/// anything is written.
fn path(history: &History, request: &pb::TxnRequest) -> Vec<bool> {
    let succeeded = request
        .compare
        .iter()
        .all(|condition| compare::holds(history, condition));
    let mut path = vec![succeeded];
    for op in if succeeded {
        &request.success
    } else {
        &request.failure
    } {
        if let Some(Request::RequestTxn(nested)) = &op.request {
            path.extend(self::path(history, nested));
        }
    }
    path
}

/// The operations of all branches taken.
fn branches<'a>(
    request: &'a pb::TxnRequest,
    path: &mut dyn Iterator<Item = bool>,
    taken: &mut Vec<&'a Request>,
) {
    let ops = if path.next().unwrap_or(false) {
        &request.success
    } else {
        &request.failure
    };
    for op in ops.iter().filter_map(|op| op.request.as_ref()) {
        match op {
            Request::RequestTxn(nested) => branches(nested, path, taken),
            _ => taken.push(op),
        }
    }
}

/// Whether there are only reads in it, on the first level (`isTxnReadonly` in etcd's `v3_server.go`).
fn only_reads(request: &pb::TxnRequest) -> bool {
    let mut ops = request.success.iter().chain(&request.failure);
    ops.all(|op| matches!(op.request, Some(Request::RequestRange(_))))
}

/// Refuses a request that is invalid in any state of the store (`checkTxnRequest` in etcd's `key.go`).
fn check(request: &pb::TxnRequest, max_ops: usize) -> Result<(), Status> {
    let ops = request
        .compare
        .len()
        .max(request.success.len())
        .max(request.failure.len());
    if ops > max_ops {
        return Err(Status::invalid(
            "etcdserver: too many operations in txn request",
        ));
    }
    if request.compare.iter().any(|compare| compare.key.is_empty()) {
        return Err(Status::empty_key());
    }
    for op in request.success.iter().chain(&request.failure) {
        match &op.request {
            Some(Request::RequestRange(read)) => range::check(read)?,
            Some(Request::RequestPut(put)) => kv::check_put(put)?,
            Some(Request::RequestDeleteRange(delete)) => kv::check_delete(delete)?,
            Some(Request::RequestTxn(nested)) => check(nested, max_ops - ops)?,
            None => return Err(Status::key_not_found()),
        }
    }
    Ok(())
}

/// Refuses a list of operations that could write a key twice (`checkIntervals` in etcd's `key.go`), and tells which keys
/// it puts and which ranges it deletes.
fn check_once(ops: &[pb::RequestOp]) -> Result<(BTreeSet<Bytes>, Vec<KeyRange>), Status> {
    let twice = || Status::invalid("etcdserver: duplicate key given in txn request");
    let mut deleted: Vec<_> = ops.iter().filter_map(deletes).collect();
    let mut put = BTreeSet::new();
    for op in ops {
        let Some(Request::RequestTxn(nested)) = &op.request else {
            continue;
        };
        let (put_then, deleted_then) = check_once(&nested.success)?;
        let (put_else, deleted_else) = check_once(&nested.failure)?;
        let is_twice =
            |key: &Bytes| put.contains(key) || deleted.iter().any(|range| range.contains(key));
        // The two branches of one transaction may write the same key: only one of them is taken.
        if put_then.union(&put_else).any(is_twice) {
            return Err(twice());
        }
        put.extend(put_then);
        put.extend(put_else);
        deleted.extend(deleted_then);
        deleted.extend(deleted_else);
    }
    for op in ops {
        let Some(Request::RequestPut(request)) = &op.request else {
            continue;
        };
        let is_deleted = deleted.iter().any(|range| range.contains(&request.key));
        if is_deleted || !put.insert(request.key.clone()) {
            return Err(twice());
        }
    }
    Ok((put, deleted))
}

fn deletes(op: &pb::RequestOp) -> Option<KeyRange> {
    match &op.request {
        Some(Request::RequestDeleteRange(request)) => {
            Some(KeyRange::new(&request.key, &request.range_end))
        }
        _ => None,
    }
}

fn inner(revision: i64) -> Option<pb::ResponseHeader> {
    Some(pb::ResponseHeader {
        revision,
        ..pb::ResponseHeader::default()
    })
}
