//! Locks on three real members while members die, hang, restart and are cut off: each fault by real means.
//!
//! Each scenario is a test of its own, on a cluster of its own, and runs on every version of etcd that there is. Whatever
//! the fault, the history of the holds must be right, no entry may be left behind, and a session of 10 s must survive
//! where its lease does. How long callers were without success is recorded, and printed by `cargo xtask test --cluster`.

#![allow(clippy::unwrap_used, reason = "it is test code, helpers included")]

#[macro_use]
mod support;

mod auth;
mod certificates;
mod connection;
mod killed;
mod majority;
mod partition;
mod quota;
mod restart;
mod snapshot;
mod stopped;

use support::{Caller, Fault, History, Report, Stage, Version};
