//! The transport over real sockets: to good servers with bad input, to bad servers, and as a server sees it.

#![allow(clippy::unwrap_used, reason = "it is test code, helpers included")]

mod calls;

mod bad_input;
mod bad_servers;
mod endpoints;
mod hung_members;
mod isolation;
mod leaders;
mod logins;
mod long_times;
mod lost_replies;
mod metadata;
mod own_parts;
mod proxy;
