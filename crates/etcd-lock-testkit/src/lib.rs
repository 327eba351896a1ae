//! The parts that the tests of this workspace share: one list of checks for every transport, and a real etcd to run them on.
//!
//! A check is an async function over a [`TestContext`]. [`conformance!`] makes a module of named tests for one [`Backend`],
//! of the checks of locks or of those of keys, so that a failure says which check failed on which backend:
//!
//! ```text
//! etcd_lock_testkit::conformance!(locks, served, Real, etcd_lock_testkit::backends::served);
//! ```
//!
//! | module | what is in it |
//! | --- | --- |
//! | [`backend`], [`backends`] | what a check runs on: the trait, and the ones that we have |
//! | [`certificates`] | a certificate authority, for servers and clients with TLS |
//! | [`mod@conformance`] | the checks, by what they are about |
//! | [`differential`] | whether the in-memory etcd answers as a real one does |
//! | [`explorer`] | the state machine of the lock, explored exhaustively |
//! | [`faults`] | what may go wrong, and a transport over the in-memory etcd where it does |
//! | [`test_context`], [`contender`], [`store`], [`watcher`], [`poll`] | what checks are written with |
//! | [`history`], [`checker`] | what happened, from any source, and the rules that judge it |
//! | [`recorder`] | histories of real etcds |
//! | [`seeds`] | where random tests begin |
//! | [`sim`] | a simulated world of processes and faults |
//! | [`real_etcd`] | etcd processes of our own, to be paused, killed, restarted and cut off by proxies |
//! | [`reserved_port`] | ports for servers that are stopped and started again |
#![allow(
    clippy::unwrap_used,
    reason = "it is test code: a panic is how it reports"
)]

pub mod backend;
pub mod backends;
pub mod certificates;
pub mod checker;
pub mod conformance;
pub mod contender;
pub mod differential;
pub mod explorer;
pub mod faults;
pub mod history;
pub mod poll;
pub mod real_etcd;
pub mod recorder;
pub mod reserved_port;
pub mod seeds;
pub mod sim;
pub mod store;
pub mod test_context;
pub mod watcher;

pub use backend::{Backend, NestedNames};
pub use contender::Contender;
pub use real_etcd::RealEtcd;
pub use reserved_port::ReservedPort;
pub use test_context::{Clock, TestContext};
pub use watcher::Watcher;

/// The programs in the book are built, too.
#[cfg(doctest)]
mod book {
    #[doc = include_str!("../../../docs/first-lock.md")]
    mod first_lock {}

    #[doc = include_str!("../../../docs/testing-your-code.md")]
    mod testing_your_code {}
}
