//! The lock protocol.
mod admission;
mod entry;
mod handover;
mod io;
mod knowledge;
mod machine;
mod replies;
mod request;
mod settle;
mod value;

pub use handover::Limits;
pub use io::{CallerId, Failure, Input, Mode, Output, RequestFailure, Stamp, Timer, Validity};
pub use knowledge::{EntryId, Knowledge, Snapshot, Verdict};
pub use machine::LockQueue;
pub use request::{Observation, Reply, Request, Ticket};
pub use value::{EntryValue, Nonce};
