//! The timelines of `docs/how-it-works.md`: each is drawn from the record of a run, and the committed file must be the one
//! that is drawn now. `cargo xtask pictures` draws them anew.
//!
//! | module | what is in it |
//! | --- | --- |
//! | `queue`, `session`, `hand_over`, `fencing` | a run, and its picture |
//! | `stage`, `link` | an etcd and processes on a paused clock, and the messages between them |
//! | `run` | what the record says of waits, holds and entries |
//! | `drawing` | rows, bars, marks and arrows as SVG |

#![allow(clippy::unwrap_used, reason = "it is test code, helpers included")]

mod drawing;
mod fencing;
mod hand_over;
mod link;
mod queue;
mod run;
mod session;
mod stage;
