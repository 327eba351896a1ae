//! The other side of a connection.

pub(crate) mod calls;
mod connection;
mod replies;
mod reply;

pub(crate) use self::connection::frames;
pub(crate) use self::replies::{stream_replies, unary_reply};
