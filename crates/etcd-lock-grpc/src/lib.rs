//! The gRPC transport of `etcd-lock`: tonic's stubs over connections of our own, tower layers above them.
//!
//! ```
//! use std::time::Duration;
//!
//! use etcd_lock_grpc::{ConnectOptions, EndpointChoice, GrpcTransport};
//!
//! let options = ConnectOptions::new()
//!     .with_endpoints(["10.0.0.1:2379", "10.0.0.2:2379"])
//!     .with_endpoint_choice(EndpointChoice::RoundRobin)
//!     .with_connect_timeout(Duration::from_secs(1));
//! let transport = GrpcTransport::connect(options)?;
//! # Ok::<(), etcd_lock_core::Error>(())
//! ```
//!
//! From the outside in, a request of a [`GrpcTransport`] passes
//!
//! 1. the layers that a [`Builder`] was given;
//! 2. [**trace**](layers::TraceLayer): one span an RPC, at level debug;
//! 3. [**deadline**](layers::DeadlineLayer): everything that follows ends in time, and the server is told;
//! 4. [**retry**](layers::RetryPolicy): which failures lead to another attempt;
//! 5. [**wire**](layers::Wire): one attempt at one endpoint, within a bound of its own, with an event at level debug.
//!
//! The layers work on any transport: [`layers::Layered`] puts them over the one in memory, for tests.
//!
//! # Endpoints
//!
//! One endpoint is asked as long as it is healthy; [`EndpointChoice`] says which. It is left when it can't be reached, has no
//! leader, belongs to another cluster than the first that answered a request, or leaves a request unanswered for
//! [an attempt's bound](ConnectOptions::with_attempt_timeout), whether its caller is still there or not. Meanwhile it is probed, with
//! pauses that grow to 5 s, until it is well. A caller's own short timeout and the wait for a lock that somebody else holds
//! are no evidence. [`GrpcTransport::info`] tells how each is doing.
//!
//! # Connections
//!
//! Short calls, waiting calls (`Lock`), and streams (watches, keep-alives) have connections of their own. Short calls share one;
//! the others get as many as they need, with at most 100 calls on each, or as many as the server permits. Connections belong to
//! the runtime that they were made on, so a client can be used from several runtimes, and after one of them has ended.
//!
//! # What can go wrong below
//!
//! | hazard | here |
//! | --- | --- |
//! | a dead endpoint is dialed with every call | dials have pauses that grow to 1 s, and other endpoints are asked meanwhile |
//! | a listener accepts and says nothing | a connection counts as made when the server has sent its HTTP/2 settings, and nothing is sent before; another endpoint is tried beside it after 300 ms |
//! | a server hangs with requests under way | each attempt has a bound; an endpoint that is silent for as long ends everything on it |
//! | a code says little: `Unknown` for a killed connection, `Unavailable` for nearly everything else | a failure is told by the types and texts of its causes, the code comes last |
//! | a timeout that starts late, or twice | only the deadline layer counts the caller's time, and only the wire the attempt's; tonic's own timers are not used |
//! | more streams than the server permits wait unseen | what waits gets another connection |
//! | pings that etcd takes for an attack | at most one every 10 s, and none without a call under way |
//! | a dropped stream stays open for as long as its request side does | the request side ends with it |
//! | a watch that is read slowly stalls its connection | watches share no connection with calls, and have a window of 16 MiB |
//! | a reset stream looks like one that ended well | a stream that ends without an error ends with one here |
//! | a name is resolved once | it is looked up at each dial, and its addresses are tried in turn |
//! | a connection's task ends with its runtime | the connection is made again on the runtime that asks |
//!
//! # TLS, login, configuration
//!
//! An `https://` endpoint has TLS ([`TlsOptions`]). With [`ConnectOptions::with_login`] the transport logs in, and again when the
//! token has ended. [`ConnectOptions::from_env`] reads all of that from the environment variables of
//! `etcdctl`.
//!
//! # Features
//!
//! | feature | what it brings |
//! | --- | --- |
//! | `tls-ring` | TLS, with the cryptography of ring |
//! | `tls-aws-lc` | TLS, with the cryptography of AWS-LC; with both, ring is used |
//! | `tls-native-roots` | trust in the system's root certificates, where no CA certificate is given |
//! | `tls-webpki-roots` | trust in Mozilla's root certificates, where no CA certificate is given |
//!
//! None is on by default: cryptography is the program's choice.

#![cfg_attr(docsrs, feature(doc_cfg))]

mod attempt;
mod auth;
mod builder;
mod cluster;
mod connection;
mod connector;
mod endpoint;
mod endpoints;
mod health;
mod held_up;
mod http2;
mod info;
pub mod layers;
mod ledger;
mod lock;
mod member_status;
mod members;
mod monitor;
mod options;
mod own_key;
mod pool;
mod status;
mod stream;
mod streams;
mod target;
mod tls;
mod transport;
mod wire;

pub use builder::Builder;
pub use connector::Address;
pub use info::{EndpointInfo, EndpointState, Info};
pub use member_status::MemberStatus;
pub use options::{ConnectOptions, EndpointChoice, parse_duration};
pub use secrecy::{ExposeSecret, SecretString};
pub use tls::TlsOptions;
pub use transport::GrpcTransport;
