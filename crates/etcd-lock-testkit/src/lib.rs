//! What the tests of this workspace share: one list of checks for every transport, and a real etcd to run them on.
//!
//! A check is an async function over a [`Lab`]. [`conformance!`] makes a module of named tests of all checks for one
//! [`Backend`], so that a failure says which check failed on which backend:
//!
//! ```text
//! etcd_lock_testkit::conformance!(memory, Paused, etcd_lock_testkit::backends::memory);
//! ```
//!
//! | module | what is in it |
//! | --- | --- |
//! | [`backend`], [`backends`] | what a check runs on: the trait, and the ones that we have |
//! | [`certificates`] | a certificate authority, for servers and clients with TLS |
//! | [`mod@conformance`] | the checks, by what they are about |
//! | [`differential`] | whether the small etcd answers as a real one does |
//! | [`explorer`] | the state machine of the lock, explored exhaustively |
//! | [`faults`] | what may go wrong, and a transport over the in-memory etcd where it does |
//! | [`lab`], [`party`], [`store`], [`watcher`], [`poll`] | what checks are written with |
//! | [`sim`] | a simulated world of processes, faults and a checker |
//! | [`real_etcd`] | an etcd process of our own, to be paused, killed and restarted |
#![allow(
    clippy::unwrap_used,
    reason = "it is test code: a panic is how it reports"
)]

pub mod backend;
pub mod backends;
pub mod certificates;
pub mod conformance;
pub mod differential;
pub mod explorer;
pub mod faults;
pub mod lab;
pub mod party;
pub mod poll;
pub mod real_etcd;
pub mod sim;
pub mod store;
pub mod watcher;

pub use backend::{Backend, NestedNames, Profile};
pub use lab::{Clock, Lab};
pub use party::Party;
pub use real_etcd::RealEtcd;
pub use watcher::Watcher;
