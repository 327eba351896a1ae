//! Group commit: transactions that wait at the same time are sent to etcd as one request.
//!
//! etcd executes nested transactions, each with its own comparisons, in one proposal. A proposal costs etcd far more than
//! the transactions in it, so a process with many locks gets several times more of them taken and released in a second.
//!
//! [`GroupCommit`] is a transport over another one:
//!
//! ```
//! use etcd_lock_core::{CallOptions, Transport};
//! use etcd_lock_core::kv::{PutRequest, TxnRequest};
//! use etcd_lock_group::GroupCommit;
//! use etcd_lock_memory::MemoryEtcd;
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> etcd_lock_core::Result<()> {
//! let transport = GroupCommit::new(MemoryEtcd::new());
//! let put = |key: &'static str| TxnRequest::new().and_then(PutRequest::new(key, "value"));
//! // Where the transport takes its time, as a connection to an etcd does, these share requests.
//! let (a, b, c) = tokio::join!(
//!     transport.txn(put("a"), CallOptions::default()),
//!     transport.txn(put("b"), CallOptions::default()),
//!     transport.txn(put("c"), CallOptions::default()),
//! );
//! assert!(a?.succeeded && b?.succeeded && c?.succeeded);
//! # Ok(())
//! # }
//! ```
//!
//! # Which transactions share a request
//!
//! A transaction that finds no other on its way is sent alone, at once, from the task of its caller. Others wait until the
//! callers that are ready have had their turn, and for a [slot](#slots), and those that wait then share a request, as far as
//! etcd's limits allow. So only a process that has several transactions to send pays for a wait, and a wait lasts no longer
//! than a request takes.
//!
//! - Only small writes share: puts, deletes and reads with a limit. A transaction that only reads is sent alone, since a nested
//!   read would have to go through raft; so are large ones and those with transactions nested in them.
//! - The keys of transactions that share don't overlap, not even one's reads with another's writes, in any branch. etcd
//!   decides about all comparisons before it executes anything, so two transactions on one key would both see what was there
//!   before. A transaction that conflicts with another that waits or is on its way is sent alone, at once.
//! - Sessions take turns: a session with thousands of transactions delays another session's by one turn.
//!
//! # Slots
//!
//! A slot is a request on its way. How many there are is found by trial: where etcd is busy, few requests with many
//! transactions each are faster; where requests take long (a slow disk, a far member), more requests are. A request
//! that takes much longer than usual gives its slot up, so that a member that hangs stops only its own transactions.
//!
//! # What a caller can rely on
//!
//! - **Permissions.** etcd does not check permissions for what is inside a nested transaction (3.4.23 and 3.5.1; advisory
//!   GHSA-rfx7-8w68-q57q is about this). The outer transaction has no comparison, so its failure branch is never taken, but etcd checks it: it
//!   names every key that a member reads or writes. A transaction that etcd refuses alone is refused here.
//! - **Refusals.** Where etcd refuses a request because of one of the transactions in it, nothing of it was executed. Its
//!   halves are sent, and their halves, until the one stands alone. It gets the error, the others succeed.
//! - **Unknown outcomes.** Where no answer comes, each caller gets an error with
//!   [unknown outcome](etcd_lock_core::Error::is_outcome_unknown), and nothing is sent again: also an
//!   [idempotent](etcd_lock_core::kv::TxnRequest::idempotent) transaction isn't, which its caller may do.
//! - **Deadlines.** Each caller waits for its own timeout. The request may take as long as the most patient one allows.
//! - **Cancellation.** A transaction that is dropped while it waits is never sent. One that is dropped later goes on: its
//!   request belongs to no caller.
//! - **Revisions.** Transactions that shared a request have the same revision. Keys that they create have the same create
//!   revision, so fencing tokens of different locks can be equal. Those of one lock can't: its transactions never share.

#![cfg_attr(docsrs, feature(doc_cfg))]

mod access;
mod batch;
mod claims;
mod commit;
mod group;
mod interval;
mod member;
mod metrics;
mod slots;
mod transport;
mod turns;

pub use transport::GroupCommit;
