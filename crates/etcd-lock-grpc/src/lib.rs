//! The gRPC transport of `etcd-lock`: tonic below, tower layers above it.
//!
//! [`GrpcTransport`] carries every request to one of several endpoints. From the outside in, a request passes
//!
//! 1. **trace**: one span an RPC, at level debug;
//! 2. **deadline**: the whole of what follows ends in time, connecting and repeating included, and the server is told;
//! 3. **retry**: what was certainly not executed is sent again, and what may have been only where twice is as good as once;
//! 4. the choice of an endpoint: the one that answered last, or the next after one that failed.
//!
//! The layers work on any transport: [`layers::Layered`] puts them over the one in memory, for tests.
//!
//! Waiting calls (`Lock`, watches, keep-alives) have connections of their own, so that they can't keep an unlock from
//! getting through. An `https://` endpoint has TLS ([`TlsOptions`]). With [`Options::with_login`] it logs in, and again when
//! the token has ended. [`Config`] reads all of that from the environment variables of `etcdctl`.
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

mod auth;
mod builder;
mod config;
mod connection;
mod connector;
mod endpoint;
mod endpoints;
mod health;
mod info;
pub mod layers;
mod ledger;
mod lock;
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
pub use config::{Config, parse_duration};
pub use connector::Address;
pub use info::{EndpointInfo, EndpointState, Info};
pub use options::{EndpointChoice, Options};
pub use secrecy::{ExposeSecret, SecretString};
pub use tls::TlsOptions;
pub use transport::GrpcTransport;
