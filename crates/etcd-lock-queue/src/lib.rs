//! The lock protocol of `etcd-lock` as a state machine: no I/O, no clock, no tasks.
//!
//! A [`LockQueue`] is one client's part in the queue of one lock. A driver feeds it an [`Input`] and does what the
//! [`Output`]s say: send a request, watch a key, tell a caller that it holds the lock. The machine can be cloned, compared,
//! hashed and printed, so that a test explores the code that runs, and not an abstraction of it.
//!
//! # The invariant
//!
//! An entry is a key `<name>/<lease in hex>`. The oldest live entry is the head, and its client may hold the lock.
//!
//! > A new entry's create revision is greater than that of every existing entry of the queue. So the set of entries older
//! > than a given entry only ever shrinks.
//!
//! An entry that was created at revision *c* is granted when
//!
//! 1. every older entry is known to be deleted, from knowledge that reaches *c*. [`Knowledge`] is the set of live entries,
//!    and the revision up to which that set is complete. Stale reads, late events and duplicates can only delay a grant;
//! 2. the entry itself was seen to exist within the last heartbeat: its predecessors may be gone because somebody removed
//!    the entry first. This part may be wrong for one heartbeat, as every claim to hold something may.
//!
//! A watch makes news arrive sooner. It is never evidence that nothing happened: only replies confirm an entry, and a reply
//! counts from before its request was sent ([`Stamp`]). [`Validity`] says what a stamp is worth at the moment of an input.
//!
//! # The entry of a session
//!
//! A session has at most one entry in a queue. It belongs to the machine and not to a caller: callers come and go, and the
//! session keeps its entry for as long as one of them wants the lock.
//!
//! ```text
//! Idle ──► Entering ──► Waiting ──► Held ──► Releasing ──► Idle
//!             │ ▲          │          │          ▲
//!             ▼ │          │          │          │ withdrawn, or an orphan
//!           InDoubt ───────┼──────────┼──────────┘
//!                          ▼          ▼
//!                     the entry was deleted by somebody else, or its session has
//!                     ended: the caller is told, and the others of the session enter again
//! ```
//!
//! - A request to enter whose outcome is unknown can be executed for as long as its lease lives, and no read proves that it
//!   is not. Its key stays in the [heartbeat](LockQueue::heartbeat), and what appears there is adopted by the next attempt
//!   or deleted.
//! - A deletion compares the create revision, and is sent again until it is answered or the session has ended.
//! - An entry that was released, withdrawn or lost is never held again, in whichever reply it shows up.
//! - The [nonce](EntryValue) in an entry tells this process from another one with the same lease, whose entry is left
//!   alone. No request writes into an entry of another client.
//! - A hold is handed over to the next task of its session, or counts as deleted for the next session of its client, only
//!   if it was valid and confirmed to its end, and every fenced write was answered. [`Limits`] bound how often, once others
//!   may wait.
//!
//! # What the driver does
//!
//! The driver sends each request once, and answers each with exactly one [`Input::Replied`] or [`Input::Failed`]. It reads
//! the [heartbeat](LockQueue::heartbeat) keys of its sessions, many in one transaction, and feeds [`Input::Observed`]. It
//! counts time: timers, the validity of leases and of confirmations, also while the system is suspended. It notices
//! clusters that were restored or replaced and ends their sessions. It checks that a key that a user wants to unlock is an
//! entry, and that its requests to enter are not repeated below it.
//!
//! # A history
//!
//! Session 1 waits behind the entry of another client, and is granted when a watch reports that one's deletion.
//!
//! ```
//! use etcd_lock_core::{LeaseId, LockName, Revision};
//! use etcd_lock_queue::{
//!     CallerId, EntryId, Input, Limits, LockQueue, Mode, Nonce, Output, Reply, Request, Snapshot, Stamp, Ticket, Validity,
//! };
//!
//! /// A clock on which nothing gets old.
//! struct Now;
//!
//! impl Validity for Now {
//!     fn is_fresh(&self, _: LeaseId, _: Stamp) -> bool {
//!         true
//!     }
//!
//!     fn is_valid(&self, _: LeaseId, _: Stamp) -> bool {
//!         true
//!     }
//! }
//!
//! let name = LockName::new("report")?;
//! let (session, caller, nonce) = (LeaseId::new(1)?, CallerId(0), Nonce::new(0x5eed));
//! let mut lock = LockQueue::new(name.clone());
//!
//! // A caller wants the lock: the machine enters the queue.
//! let (mode, limits) = (Mode::Wait, Limits::new(512));
//! lock.handle(Input::Acquire { session, caller, mode, nonce, limits }, &Now);
//! let Some(Output::Send(request)) = lock.poll_output() else { panic!() };
//! assert!(matches!(request, Request::Enter { .. }));
//! let txn = request.txn(&name, b"host-7"); // what the driver sends
//! assert_eq!(txn.compare.len(), 1);
//!
//! // The transaction created the entry at revision 8, and read it with the one before it.
//! let own = EntryId::new(name.key(session), Revision::new(8)?);
//! let older = EntryId::new(name.key(LeaseId::new(2)?), Revision::new(5)?);
//! let at = own.created;
//! let newest = Some(Snapshot::new(at, at, true, [own.clone(), older.clone()]));
//! let reply = Reply::Entered { created: at, nonce: Some(nonce), revision: at, newest };
//! lock.handle(Input::Replied { request: Ticket::Enter(session), sent: Stamp(0), reply }, &Now);
//! assert_eq!(lock.poll_output(), Some(Output::Watch(older.key.clone())));
//!
//! // The other client releases the lock. Nothing needs to be read.
//! lock.handle(Input::Deleted(older.key, Revision::new(9)?), &Now);
//! let granted = Output::Granted { session, caller, created: at, handover: 0 };
//! assert_eq!(lock.poll_output(), Some(granted));
//! # Ok::<(), etcd_lock_core::Error>(())
//! ```
//!
//! | module | what is in it |
//! | --- | --- |
//! | `io` | [`Input`], [`Output`], and the types in them |
//! | `machine` | [`LockQueue`]: which input does what |
//! | `callers` | who wants the lock |
//! | `entry` | the states of the entry of one session |
//! | `replies` | what replies and failures say of own entries |
//! | `settle`, `watching` | after each input: grants, reads, watches |
//! | `knowledge`, `admission` | the live entries of the queue, the verdict on one, the rule of admission |
//! | `handover` | the end of a hold |
//! | `request`, `value` | requests as transactions, and the value of an entry |

mod admission;
mod attach;
mod callers;
mod entry;
mod handover;
mod io;
mod knowledge;
mod machine;
mod replies;
mod request;
mod settle;
mod value;
mod watching;

pub use attach::DetachedEntry;
pub use entry::Stage;
pub use handover::Limits;
pub use io::{CallerId, Failure, Input, Mode, Output, RequestFailure, Stamp, Timer, Validity};
pub use knowledge::{EntryId, Knowledge, Snapshot, Verdict};
pub use machine::LockQueue;
pub use request::{Observation, Reply, Request, Ticket};
pub use value::{EntryValue, Nonce};
