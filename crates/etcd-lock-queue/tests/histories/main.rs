//! Worked histories: each feeds the machine what happened, input by input, and states what it does then.
#![allow(
    clippy::unwrap_used,
    reason = "it is test code: a panic is how it reports"
)]

mod attach;
mod doubt;
mod handover;
mod holds;
mod script;
mod waits;
