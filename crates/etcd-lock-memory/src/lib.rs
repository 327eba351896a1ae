//! An etcd in memory, for development and tests of programs that use `etcd-lock`. It is no database: it keeps nothing
//! on disk, and there is one of it.
//!
//! ```
//! use std::time::Duration;
//!
//! use etcd_lock_core::{Client, lease, lock_with, unlock};
//! use etcd_lock_memory::MemoryEtcd;
//!
//! # #[tokio::main(flavor = "current_thread", start_paused = true)]
//! # async fn main() -> Result<(), etcd_lock_core::Error> {
//! let client = Client::new(MemoryEtcd::new());
//! let lease = lease::grant(&client, Duration::from_secs(60)).await?;
//! let held = lock_with(&client, "report", lease.id).await?;
//! unlock(&client, held.key.as_bytes().clone()).await?;
//! # Ok(())
//! # }
//! ```
//!
//! On a paused clock the end of a lease is waited for in no time, and comes at the same moment in every run:
//!
//! ```
//! use std::time::Duration;
//!
//! use etcd_lock_core::{Client, Timeout, lease, lock, lock_with, new};
//! use etcd_lock_memory::MemoryEtcd;
//! use tokio::time::Instant;
//!
//! # #[tokio::main(flavor = "current_thread", start_paused = true)]
//! # async fn main() -> Result<(), etcd_lock_core::Error> {
//! let client = Client::new(MemoryEtcd::new());
//! let dead = lease::grant(&client, Duration::from_secs(60)).await?;
//! lock_with(&client, "report", dead.id).await?;
//!
//! let began = Instant::now();
//! let next = lease::grant(&client, Duration::from_secs(600)).await?;
//! let wait = new(&client).with_name("report").with_lease(next.id);
//! lock(wait.with_timeout(Timeout::Infinity)).await?;
//! assert_eq!(began.elapsed().as_secs(), 60);
//! # Ok(())
//! # }
//! ```
//!
//! | part | what it is |
//! | --- | --- |
//! | [`model`] | the state machine: no clock, no async, no chance |
//! | [`MemoryEtcd`] | a [`Transport`](etcd_lock_core::Transport) over it, on tokio's clock, which tests may pause |
//! | `Server` | the same served over gRPC (feature `server`) |
//!
//! # What is modelled
//!
//! Keys with revisions, history and compaction; ranges, puts, deletes and transactions with every comparison; leases;
//! watches, in pieces where a client takes them; locks as the `Lock` service has them; the size of requests. Where etcd 3.4
//! and 3.5 differ, [`Version`](model::Version) says which to be like.
//!
//! Two things hold it to that. Facts that clients stumble over are tests that run on the in-memory etcd and on etcd 3.4 and
//! 3.5 (`etcd-lock-testkit`, `tests/facts`). And sequences of requests made up by chance are asked of the model and of both,
//! and the answers compared (`cargo xtask differential`).
//!
//! # What is not modelled
//!
//! Members, elections of a leader, users, TLS, alarms, snapshots, the disk. Knowingly different are:
//!
//! | what | etcd | here |
//! | --- | --- | --- |
//! | the end of a lease | up to half a second after its deadline, or more | at its deadline, to the nanosecond, unless [`with_expiry_checks`](model::ModelOptions::with_expiry_checks) asks for etcd's way |
//! | watches | are up to 100 ms late where a write overtook their creation, where they start in the past, or where their stream is read slowly; may be cancelled when their member catches up by a snapshot | told at once, unless [a fault](#faults) is asked for |
//! | an answer to a request for progress, while a watch of the stream is behind | given, before 3.4.25 and 3.5.8 | none |
//! | reports of progress to watches that want them | every ten minutes, or up to a tenth later | every ten minutes |
//! | an unknown target to sort by, with any known order | the server ends (3.4.23, 3.5.1) | not sorted |
//! | a watch numbered -1, after another was refused on its stream | silent on 3.5.1 | goes on, as on 3.5.16 |
//! | a watch from a revision below zero | refused as it is created (3.5.30) | created, and cancelled as compacted |
//! | a watch from -1, before the first compaction | told of nothing until etcd visits it, which takes 100 ms | from now on |
//! | all keys from one on deleted and one of them put, in a transaction | changed twice at one revision | refused |
//! | a login token, where there are no users | refused, as any token that it has not issued | overlooked |
//! | what one client may make it hold | memory | see `Server` |
//!
//! # Faults
//!
//! A model is an etcd at rest, until it is told otherwise. These have it do what etcds under load, of older versions or in
//! trouble do:
//!
//! | call | what happens |
//! | --- | --- |
//! | [`delay_watches`](model::Model::delay_watches), [`delay_new_watches`](model::Model::delay_new_watches) | the watches of a stream, or those created on it from now on, are told of events at etcd's next visit only, up to 100 ms late |
//! | [`restart_watches`](model::Model::restart_watches) | they go on from where they were last told of something, or are cancelled if that is compacted |
//! | [`refuse_watches`](model::Model::refuse_watches) | watches are refused at their creation, with the reasons of the [`Version`](model::Version) |
//! | [`drop_events`](model::Model::drop_events) | events are lost while the stream lives |
//! | [`change_leader`](model::Model::change_leader) | every lease has its whole time again |
//! | [`restore`](model::Model::restore) | keys, leases and the revision go back to those of a backup |
//! | [`with_expiry_checks`](model::ModelOptions::with_expiry_checks) | leases end late |
//!
//! # Memory
//!
//! History is compacted by itself: the last 10,000 revisions are kept at least, and 20,000 at most, unless
//! [`with_kept_revisions`](model::ModelOptions::with_kept_revisions) says otherwise. So a day of 100,000 locks, each with a
//! lease of its own, takes no more than the first hours of it: some 7 MiB. Each waiter of a lock takes less than 2 KiB, and
//! what an operation costs hardly depends on how many there are.

#![cfg_attr(docsrs, feature(doc_cfg))]

mod etcd;
pub mod model;
#[cfg(feature = "server")]
mod server;
mod status;
mod transport;

pub use etcd::MemoryEtcd;
#[cfg(feature = "server")]
pub use server::Server;
pub use status::{Code, Status};
