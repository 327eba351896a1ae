//! etcd's messages for locks, leases, keys and watches, generated from our own `.proto` files with etcd's contract.
//!
//! By default there are messages alone, on prost: no gRPC, no `protoc`. `bytes` fields are [`bytes::Bytes`](prost::bytes::Bytes).
//!
//! ```
//! use etcd_lock_proto::v3lockpb::LockRequest;
//! use prost::Message;
//!
//! let request = LockRequest { name: "report".into(), lease: 0x1f };
//! let wire = request.encode_to_vec();
//! assert_eq!(LockRequest::decode(&*wire)?, request);
//! # Ok::<(), prost::DecodeError>(())
//! ```
//!
//! | feature | what it adds |
//! | --- | --- |
//! | `client` | tonic client stubs, over any tower service |
//! | `server` | tonic server traits |
//! | `core` | conversions from and to the types of `etcd-lock-core` |
//! | `reflection` | `FILE_DESCRIPTOR_SET`, for gRPC reflection |

#![cfg_attr(docsrs, feature(doc_cfg))]

#[cfg(feature = "core")]
mod convert;

#[allow(
    clippy::all,
    clippy::exhaustive_enums,
    clippy::missing_const_for_fn,
    clippy::must_use_candidate,
    clippy::return_self_not_must_use,
    clippy::use_self,
    clippy::uninlined_format_args,
    missing_docs,
    unnameable_types,
    unreachable_pub,
    unused_qualifications,
    reason = "the generator writes as it likes"
)]
#[rustfmt::skip]
mod generated {
    pub mod authpb;
    pub mod etcdserverpb;
    pub mod mvccpb;
    pub mod v3lockpb;
}

/// Users and what they may do.
pub mod authpb {
    pub use crate::generated::authpb::*;
}

/// Keys, leases, watches, and the services around them.
pub mod etcdserverpb {
    pub use crate::generated::etcdserverpb::*;
}

/// Keys as the store keeps them, and their changes.
pub mod mvccpb {
    pub use crate::generated::mvccpb::*;
}

/// Locks with their waiting done by the server.
pub mod v3lockpb {
    pub use crate::generated::v3lockpb::*;
}

/// All of the `.proto` files as an encoded `FileDescriptorSet`.
#[cfg(feature = "reflection")]
pub const FILE_DESCRIPTOR_SET: &[u8] = include_bytes!("generated/descriptor.bin");
