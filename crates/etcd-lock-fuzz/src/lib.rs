//! Fuzz targets for all readers of bytes from outside: functions that take any bytes, and panic where a reader does not do what
//! it promises.
//!
//! Each target has a corpus, in `corpora` under its name. The tests of this crate try all of it and some inputs made from it
//! by chance ([`check`]); `cargo xtask fuzz` has libFuzzer look for inputs that reach new code.
//!
//! | targets | what they read |
//! | --- | --- |
//! | `names` | names, keys, tokens and leases, as a user or an etcd has them |
//! | `entries`, `descriptions` | what other clients leave in a queue, and holds that they detach |
//! | `replies` | messages of an etcd |
//! | `server` | replies over HTTP, and the bytes below |
//! | `settings` | endpoints, environment variables, durations and certificates |
//! | `model` | requests to the in-memory etcd |
#![allow(
    clippy::unwrap_used,
    reason = "it is test code: a panic is how it reports"
)]

mod check;
mod descriptions;
mod entries;
mod model;
mod mutation;
mod names;
mod replies;
mod server;
mod settings;

pub use check::check;

/// A function that takes any bytes.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct Target {
    /// Its name, which is that of its corpus.
    pub name: &'static str,
    /// Panics where something is wrong.
    pub run: fn(&[u8]),
}

/// All targets.
pub const TARGETS: &[Target] = &[
    target("certificates", settings::certificates),
    target("detached_hold", descriptions::detached_hold),
    target("duration", settings::duration),
    target("endpoint", settings::endpoint),
    target("entry_value", entries::entry_value),
    target("fencing_token_from_bytes", names::fencing_token_from_bytes),
    target("fencing_token_from_text", names::fencing_token_from_text),
    target("frames", server::frames),
    target("lease_id", names::lease_id),
    target("lease_reply", replies::lease_reply),
    target("lock_key", names::lock_key),
    target("lock_name", names::lock_name),
    target("model", model::model),
    target("owner", descriptions::owner),
    target("range_reply", replies::range_reply),
    target("reply_to_a_request", entries::reply_to_a_request),
    target("stream_replies", server::stream_replies),
    target("txn_reply", replies::txn_reply),
    target("unary_reply", server::unary_reply),
    target("variables", settings::variables),
    target("watch_reply", replies::watch_reply),
];

const fn target(name: &'static str, run: fn(&[u8])) -> Target {
    Target { name, run }
}
